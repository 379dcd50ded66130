/**
 * Who pins memory: endpoints whose application leaves received bytes lying. Their slices stand in the batches that the frames
 * landed in, each of which is as large as a hundred frames and more, so a few flows that nobody drains could keep all
 * batches from being used again. When the pool is low their slices are copied out; fast flows go on without a copy.
 */
import type { BlockPool, Millis } from '../core/index.js';
import type { TcpEndpoint } from './tcp-endpoint.js';

/** At most this often, ms, and this much at a time, bytes. */
const EVERY: Millis = 20;
const AT_ONCE = 4 * 1024 * 1024;

export class Pins {
  private readonly pool: BlockPool;
  private readonly endpoints = new Set<TcpEndpoint>();
  private relievedAt: Millis = Number.NEGATIVE_INFINITY;
  /** Bytes copied out so far. */
  copied = 0;

  constructor(pool: BlockPool) {
    this.pool = pool;
  }

  /** Endpoints that were seen with bytes lying. */
  get size(): number {
    return this.endpoints.size;
  }

  /** An endpoint was served and has bytes lying still. */
  note(endpoint: TcpEndpoint): void {
    if (endpoint.pins) return;
    endpoint.pins = true;
    this.endpoints.add(endpoint);
  }

  forget(endpoint: TcpEndpoint): void {
    if (!endpoint.pins) return;
    endpoint.pins = false;
    this.endpoints.delete(endpoint);
  }

  /** Copies out when the pool is low; returns how many bytes. */
  relieve(now: Millis): number {
    if (!this.pool.low || this.endpoints.size === 0 || now - this.relievedAt < EVERY) return 0;
    this.relievedAt = now;
    let copied = 0;
    for (const endpoint of this.endpoints) {
      const { received } = endpoint.connection;
      copied += received.compact();
      // Comes back when it is served again and has bytes lying.
      this.forget(endpoint);
      if (copied >= AT_ONCE) break;
    }
    this.copied += copied;
    return copied;
  }
}
