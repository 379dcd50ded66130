/** What a person should know is an event, too. */
import type { Logger } from '../core/index.js';

/** A logger whose warnings are also given to `onWarning`. */
export function telling(logger: Logger, onWarning: (message: string) => void): Logger {
  return {
    warn: (message, fields) => {
      logger.warn(message, fields);
      onWarning(message);
    },
    debug: (message, fields) => logger.debug(message, fields),
    info: (message, fields) => logger.info(message, fields),
    error: (message, fields) => logger.error(message, fields),
  };
}
