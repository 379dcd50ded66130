/** Requests to and results of client.mjs, which makes many flows from inside a namespace or a guest. */
import type { Endpoint } from './servers.js';

export type ClientRequest =
  /** Echo flows with checked bytes. `together`: all open before the first byte, all moved before the first closes. */
  | {
      readonly mode: 'flows';
      readonly targets: readonly Endpoint[];
      readonly flows?: number;
      readonly bytes?: number;
      readonly concurrency?: number;
      readonly together?: boolean;
      readonly timeoutMs?: number;
    }
  /** Sends bytes of the test stream and half-closes; the server's answer is in `text`. */
  | (Endpoint & {
      readonly mode: 'upload';
      readonly bytes: number;
      readonly offset?: number;
      readonly timeoutMs?: number;
    })
  /** Reads to the end. */
  | (Endpoint & { readonly mode: 'download'; readonly pauseMs?: number; readonly timeoutMs?: number })
  /** Sends, waits `holdMs`, then RST. */
  | (Endpoint & {
      readonly mode: 'abort';
      readonly bytes?: number;
      readonly holdMs?: number;
      readonly timeoutMs?: number;
    })
  /** Prints `{"connected":true}`, then waits for how the other side ends it. */
  | (Endpoint & { readonly mode: 'hold'; readonly bytes?: number; readonly timeoutMs?: number })
  /** Only connects, all at once; prints `{"dialling":N}` when the SYNs are out. */
  | {
      readonly mode: 'connect';
      readonly targets: readonly Endpoint[];
      readonly count?: number;
      readonly timeoutMs?: number;
    }
  /** Numbered datagrams to an echo server. */
  | (Endpoint & {
      readonly mode: 'udp';
      readonly count?: number;
      readonly bytes?: number;
      readonly rate?: number;
      readonly waitMs?: number;
      readonly anyPeer?: boolean;
    });

/** Each mode fills the fields that fit it. */
export interface ClientResult {
  /** Milliseconds the whole request took. */
  readonly ms: number;
  /** The code of what made the request as a whole fail, e.g. ECONNREFUSED. */
  readonly error?: string;
  /** flows, connect: how many went well, and failures by code (of each step, with `together`). */
  readonly ok?: number;
  readonly failed?: number;
  readonly errors?: unknown;
  /** connect: ms for each, success or failure. */
  readonly times?: readonly number[];
  /** upload, download, hold: what was received and how it ended. */
  readonly bytes?: number;
  readonly sha256?: string;
  readonly text?: string;
  readonly how?: 'fin' | 'reset' | 'error';
  /** udp */
  readonly sent?: number;
  readonly received?: number;
  readonly wrong?: number;
  readonly from?: readonly string[];
}
