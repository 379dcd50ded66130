/**
 * What waits to be served, and how much of it is served at once.
 *
 * Theory of operation. Endpoints that were touched wait at their port in two queues: `fresh` for those that something happened to,
 * `rest` for those that used up their share and have more to do. A flush takes the ports in turn, each with at most PORT_SHARE while
 * others wait, and serves both queues, each endpoint with at most its share, until FLUSH_BUDGET is spent; what is left waits
 * for the next turn of the event loop, so that timers, DNS and the control API get theirs. A flow with little to say is
 * thus never behind more than half of its own guest's bulk, and a guest never behind another one's many flows. A port that is over its
 * share of time (see Shares) waits until the others have nothing to do.
 */
import type { Millis } from '../core/index.js';
import type { StackPort } from './port.js';
import type { Shares } from './shares.js';
import type { TcpEndpoint } from './tcp-endpoint.js';
import { Queue, type Waits } from './waits.js';

/**
 * What one flush may cost, in bytes moved; frames and visits count as some bytes more, so that many small ones weigh what they
 * cost. 2 MiB take 0.3 ms with offloads and 3 ms in frames of 1500 bytes.
 */
export const FLUSH_BUDGET = 2 * 1024 * 1024;
/** What of it one port may have before the next one is served. */
const PORT_SHARE = 256 * 1024;
/** What a frame and a visit of an endpoint cost besides their bytes. */
const FRAME_COST = 2048;
const VISIT_COST = 4096;
/** What may be sent for one endpoint before the next one is served, bytes: alone, and among many. */
export const SHARE_ALONE = 256 * 1024;
export const SHARE = 64 * 1024;
/** So many waiting endpoints are many. */
const MANY = 4;

export class Turn {
  /** Endpoints that wait. */
  waiting = 0;
  private readonly shares: Shares;
  /** Ports whose endpoints wait; one is first that was not served for longest. */
  private readonly line = new Queue<StackPort>();
  /** Those of them that are over their share, while the others are served. */
  private readonly late = new Queue<StackPort>();
  private readonly ports: (StackPort | undefined)[] = [];
  private portCount = 0;
  private left = 0;

  constructor(shares: Shares) {
    this.shares = shares;
  }

  touch(endpoint: TcpEndpoint): void {
    if (endpoint.dirty) return;
    endpoint.dirty = true;
    this.waiting++;
    endpoint.port.waits.fresh.push(endpoint);
    this.enter(endpoint.port);
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
    const { line, late, shares } = this;
    while (this.left > 0 && line.size > 0) {
      const port = line.shift();
      if (shares.isOver(port) && !shares.mayGo(port)) {
        late.push(port);
        continue;
      }
      port.waits.inLine = false;
      shares.pay(port);
      this.serve(port.waits, now, line.size === 0 ? 0 : Math.max(0, this.left - PORT_SHARE));
      if (port.waits.size > 0) this.enter(port);
    }
    while (late.size > 0) line.push(late.shift());
    this.send();
    shares.pay(undefined);
  }

  /** Serves a port's endpoints while more than `keep` of the budget is left. */
  private serve(waits: Waits, now: Millis, keep: number): void {
    const { fresh, rest } = waits;
    if (rest.size > 0) {
      this.serveEach(fresh, rest, now, keep + ((this.left - keep) >> 1));
      this.serveEach(rest, rest, now, keep);
    }
    // A served endpoint may touch others (a service that answers at once).
    while (this.left > keep && fresh.size + rest.size > 0) {
      this.serveEach(fresh, rest, now, keep);
      this.serveEach(rest, rest, now, keep);
    }
  }

  /** Serves each of a queue once while more than `keep` of the budget is left. */
  private serveEach(queue: Queue<TcpEndpoint>, rest: Queue<TcpEndpoint>, now: Millis, keep: number): void {
    for (let n = queue.size; n > 0 && this.left > keep; n--) {
      const endpoint = queue.shift();
      endpoint.dirty = false;
      this.waiting--;
      this.left -= VISIT_COST;
      if (endpoint.ended) continue;
      const share = queue.size + rest.size > MANY ? SHARE : SHARE_ALONE;
      if (endpoint.process(now, share)) this.again(endpoint, rest);
    }
  }

  /** It has more to do, and may have been touched meanwhile. */
  private again(endpoint: TcpEndpoint, rest: Queue<TcpEndpoint>): void {
    if (endpoint.dirty) return;
    endpoint.dirty = true;
    this.waiting++;
    rest.push(endpoint);
  }

  private enter(port: StackPort): void {
    if (port.waits.inLine) return;
    port.waits.inLine = true;
    this.line.push(port);
  }

  private send(): void {
    for (let i = 0; i < this.portCount; i++) {
      const port = this.ports[i]!;
      this.ports[i] = undefined;
      port.pending = false;
      if (port.closed) continue;
      this.shares.pay(port);
      port.output.flush();
    }
    this.portCount = 0;
  }
}
