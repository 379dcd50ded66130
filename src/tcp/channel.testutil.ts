/** What a simulation can be asked for: the channel of one direction, and an application at one end. */
import type { TcpSettings } from './index.js';

/** Channel in one direction. Probabilities 0 to 1, times in ms, `rate` in bytes per ms (Infinity: none). */
export interface ChannelSettings {
  readonly loss: number;
  readonly duplicate: number;
  readonly reorder: number;
  /** How much later a reordered packet comes. */
  readonly reorderBy: number;
  readonly delay: number;
  readonly jitter: number;
  readonly rate: number;
  /** Bytes that may wait for the rate, and above how many a packet that may be marked is (RFC 3168 section 5). */
  readonly queue: number;
  readonly markAbove: number;
}

export const CLEAR: ChannelSettings = {
  loss: 0,
  duplicate: 0,
  reorder: 0,
  reorderBy: 5,
  delay: 1,
  jitter: 0,
  rate: Number.POSITIVE_INFINITY,
  queue: 256 * 1024,
  markAbove: Number.POSITIVE_INFINITY,
};

export interface EndSettings {
  readonly iss?: number;
  readonly tcp?: Partial<TcpSettings>;
  /** Bytes the application will send before FIN; infinite never ends. */
  readonly send?: number;
  /** The application takes at most so many bytes per ms; default all at once. */
  readonly readRate?: number;
  /** Bytes given to `output` at once. */
  readonly budget?: number;
  /** The application aborts, or reads no more, at this time. */
  readonly abortAt?: number;
  readonly discardAt?: number;
}
