/** What a person should know is an event of the network too; and what repeats is told once in a while. */
import type { Clock, Logger } from '../core/index.js';
import { createLogEvery } from '../observe/index.js';

/**
 * A logger that hands every warning on, too. A warning with `every` (ms) among its fields is told at most so often for each text;
 * the next one says how many were left out, as `suppressed`.
 */
export function telling(logger: Logger, clock: () => Clock, onWarning: (message: string) => void): Logger {
  const warn: Logger['warn'] = (message, fields) => {
    logger.warn(message, fields);
    onWarning(message);
  };
  const debug: Logger['debug'] = (message, fields) => logger.debug(message, fields);
  const info: Logger['info'] = (message, fields) => logger.info(message, fields);
  const error: Logger['error'] = (message, fields) => logger.error(message, fields);
  const now = (): number => clock().now();
  const wall = (): number => clock().wall();
  const limited = createLogEvery({ debug, info, warn, error }, { now, wall });
  return {
    debug,
    info,
    error,
    warn: (message, fields) => {
      if (typeof fields?.['every'] !== 'number') {
        warn(message, fields);
        return;
      }
      const { every, ...rest } = fields;
      limited(message, every, 'warn', message, rest);
    },
  };
}
