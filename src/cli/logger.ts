/** The logger of a command: on standard error, as the configuration says. */
import type { Config } from '../config/index.js';
import type { Logger } from '../core/index.js';
import { type LogThreshold, createLogger, withFields } from '../observe/index.js';
import type { Terminal } from './terminal.js';

/** The level of a command's logs: as configured, else `otherwise`. It may be changed while they are written. */
export function commandLevel(config: Config, otherwise: 'info' | 'warn'): { level: LogThreshold } {
  return { level: config.log?.level ?? otherwise };
}

export function commandLogger(
  config: Config,
  terminal: Terminal,
  level: { readonly level: LogThreshold },
): Logger {
  const logger = createLogger({
    level,
    format: config.log?.format ?? 'text',
    color: terminal.color.err,
    write: (line) => {
      terminal.err(line);
    },
  });
  return config.name === undefined ? logger : withFields(logger, { network: config.name });
}
