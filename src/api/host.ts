/** What the program around a network lends its control API. An endpoint whose part is missing answers 501. */
import { type Logger, NetproxyError } from '../core/index.js';
import type { LogThreshold } from '../observe/index.js';

export interface ApiHost {
  /** Gets what went wrong inside. Default silent. */
  readonly logger?: Logger | undefined;
  /** The level of the logs, to be read and changed. */
  readonly logLevel?: { level: LogThreshold } | undefined;
  /** Ends the program; it may take its time. */
  readonly shutdown?: (() => void) | undefined;
}

/** The part of the host, or the error of its absence. */
export function lent<T>(part: T | undefined, what: string): T {
  if (part !== undefined) return part;
  throw new NetproxyError('ERR_NETPROXY_UNSUPPORTED', `${what}: not offered by this program`, {
    remedy: 'It embeds netproxy without that part; netproxy serve has it.',
  });
}
