/** The logger of a command: on standard error, as the configuration says. */
import type { Config } from '../config/index.js';
import type { Logger } from '../core/index.js';
import { createLogger, withFields } from '../observe/index.js';
import type { Terminal } from './terminal.js';

/** `level` holds where the configuration names none. */
export function commandLogger(config: Config, terminal: Terminal, level: 'info' | 'warn'): Logger {
  const logger = createLogger({
    level: config.log?.level ?? level,
    format: config.log?.format ?? 'text',
    color: terminal.color.err,
    write: (line) => {
      terminal.err(line);
    },
  });
  return config.name === undefined ? logger : withFields(logger, { network: config.name });
}
