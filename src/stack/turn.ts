/**
 * What waits to be served, and how much of it is served at once.
 *
 * Theory of operation. Endpoints that were touched wait in two queues: `fresh` for those that something happened to, `rest`
 * for those that used up their share and have more to do. A flush serves both in turn, each endpoint with at most its share,
 * until FLUSH_BUDGET is spent; what is left waits for the next turn of the event loop, so that timers, DNS and the control
 * API get theirs. A flow with little to say is thus never behind more than half a flush of the others' bulk.
 */
import type { Millis } from '../core/index.js';
import type { StackPort } from './port.js';
import type { TcpEndpoint } from './tcp-endpoint.js';

/**
 * What one flush may cost, in bytes moved; frames and visits count as some bytes more, so that many small ones weigh what they
 * cost. 2 MiB take 0.3 ms with offloads and 3 ms in frames of 1500 bytes.
 */
export const FLUSH_BUDGET = 2 * 1024 * 1024;
/** What a frame and a visit of an endpoint cost besides their bytes. */
const FRAME_COST = 2048;
const VISIT_COST = 4096;
/** What may be sent for one endpoint before the next one is served, bytes: alone, and among many. */
export const SHARE_ALONE = 256 * 1024;
export const SHARE = 64 * 1024;
/** So many waiting endpoints are many. */
const MANY = 4;

/** First in, first out; its memory is kept. */
class EndpointQueue {
  private slots: (TcpEndpoint | undefined)[] = new Array<TcpEndpoint | undefined>(16).fill(undefined);
  private head = 0;
  size = 0;

  push(endpoint: TcpEndpoint): void {
    if (this.size === this.slots.length) this.grow();
    this.slots[(this.head + this.size) & (this.slots.length - 1)] = endpoint;
    this.size++;
  }

  shift(): TcpEndpoint {
    const endpoint = this.slots[this.head]!;
    this.slots[this.head] = undefined;
    this.head = (this.head + 1) & (this.slots.length - 1);
    this.size--;
    return endpoint;
  }

  private grow(): void {
    const { slots, head } = this;
    this.slots = [...slots.slice(head), ...slots.slice(0, head), ...slots.map(() => undefined)];
    this.head = 0;
  }
}

export class Turn {
  private readonly fresh = new EndpointQueue();
  private readonly rest = new EndpointQueue();
  private readonly ports: (StackPort | undefined)[] = [];
  private portCount = 0;
  private left = 0;

  /** Endpoints that wait. */
  get waiting(): number {
    return this.fresh.size + this.rest.size;
  }

  touch(endpoint: TcpEndpoint): void {
    if (endpoint.dirty) return;
    endpoint.dirty = true;
    this.fresh.push(endpoint);
  }

  /** Frames stand in the port's output. */
  pending(port: StackPort): void {
    if (port.pending) return;
    port.pending = true;
    this.ports[this.portCount++] = port;
  }

  /** Counts bytes that were moved to or from the host. */
  spend(bytes: number): void {
    this.left -= bytes;
  }

  /** Counts a frame that was composed. */
  spendFrame(bytes: number): void {
    this.left -= bytes + FRAME_COST;
  }

  /** Serves who waits as far as the budget goes, then sends what stands in the outputs. */
  run(now: Millis): void {
    this.left = FLUSH_BUDGET;
    if (this.rest.size > 0) {
      this.serve(this.fresh, now, FLUSH_BUDGET / 2);
      this.serve(this.rest, now, 0);
    }
    // A served endpoint may touch others (a service that answers at once).
    while (this.left > 0 && this.waiting > 0) {
      this.serve(this.fresh, now, 0);
      this.serve(this.rest, now, 0);
    }
    this.send();
  }

  /** Serves each of a queue once while more than `keep` of the budget is left. */
  private serve(queue: EndpointQueue, now: Millis, keep: number): void {
    for (let n = queue.size; n > 0 && this.left > keep; n--) {
      const endpoint = queue.shift();
      endpoint.dirty = false;
      this.left -= VISIT_COST;
      if (endpoint.ended) continue;
      if (endpoint.process(now, this.waiting > MANY ? SHARE : SHARE_ALONE)) this.again(endpoint);
    }
  }

  /** It has more to do, and may have been touched meanwhile. */
  private again(endpoint: TcpEndpoint): void {
    if (endpoint.dirty) return;
    endpoint.dirty = true;
    this.rest.push(endpoint);
  }

  private send(): void {
    for (let i = 0; i < this.portCount; i++) {
      const port = this.ports[i]!;
      this.ports[i] = undefined;
      port.pending = false;
      if (!port.closed) port.output.flush();
    }
    this.portCount = 0;
  }
}
