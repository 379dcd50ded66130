/**
 * Answers that go on: events as server-sent events, captures. One list of what happened is kept for all clients; a client
 * gets what the system takes for it, and one that reads too slowly is told so and let go: nobody waits for it.
 *
 * Limits: MAX_STREAMS at once, REMEMBERED events for those who come later, MAX_QUEUED bytes that wait for one client.
 */
import type { ServerResponse } from 'node:http';
import type { Network } from '../index.js';
import { watchEvents } from './events.js';
import { Problem } from './problem.js';
import type { ApiEvent } from './types.js';

export const MAX_STREAMS = 64;
export const REMEMBERED = 256;
export const MAX_QUEUED = 256 * 1024;
/** Something is sent this often, so that a connection that nobody holds any more is noticed, ms. */
const HEARTBEAT = 15_000;
/** Time for the last bytes of a client that is let go, ms. */
const FAREWELL = 2_000;

/** Events that are not remembered: there may be many. */
const FLEETING: ReadonlySet<ApiEvent['event']> = new Set(['decision', 'ask', 'answered']);

interface Told {
  readonly id: number;
  readonly event: ApiEvent;
}

interface Client {
  readonly response: ServerResponse;
  readonly wants: (event: ApiEvent) => boolean;
}

export interface EventsRequest {
  readonly wants: (event: ApiEvent) => boolean;
  /** This many of those that happened already. */
  readonly last: number;
  /** Only events behind this one, of those that happened already. */
  readonly after: number | undefined;
  /** false: the end comes behind those that happened already. */
  readonly follow: boolean;
}

export class Streams {
  private readonly open = new Set<ServerResponse>();
  private readonly clients = new Set<Client>();
  private readonly remembered: Told[] = [];
  private readonly unwatch: () => void;
  private heartbeat: NodeJS.Timeout | undefined;
  private serial = 0;

  constructor(network: Network) {
    this.unwatch = watchEvents(network, (event) => {
      this.tell(event);
    });
  }

  /** Counts a response among the open streams until it closes. Throws 503 where there are too many. */
  enter(response: ServerResponse): void {
    this.open.add(response);
    response.once('close', () => this.open.delete(response));
  }

  /** Throws 503 where one more would be too many. */
  check(): void {
    if (this.open.size >= MAX_STREAMS)
      throw new Problem(503, `${MAX_STREAMS} streams of events and captures are open; that is the limit`);
  }

  /** Sends events to a response that is open. */
  events(response: ServerResponse, { wants, last, after, follow }: EventsRequest): void {
    this.enter(response);
    const past = this.remembered.filter(({ id, event }) => id > (after ?? 0) && wants(event));
    for (const told of after === undefined ? past.slice(Math.max(0, past.length - last)) : past)
      response.write(frameOf(told));
    if (!follow) {
      response.end();
      return;
    }
    const client = { response, wants };
    this.clients.add(client);
    response.once('close', () => this.clients.delete(client));
    this.heartbeat ??= setInterval(() => {
      this.beat();
    }, HEARTBEAT).unref();
  }

  /** Ends all streams. */
  close(): void {
    this.unwatch();
    clearInterval(this.heartbeat);
    for (const response of this.open) response.end();
  }

  private tell(event: ApiEvent): void {
    const told = { id: ++this.serial, event };
    // The audit log keeps decisions and GET /v1/policy/asks questions; here they would drive out the rest.
    if (!FLEETING.has(event.event)) this.remembered.push(told);
    if (this.remembered.length > REMEMBERED) this.remembered.shift();
    if (this.clients.size === 0) return;
    const frame = frameOf(told);
    for (const client of this.clients) if (client.wants(event)) this.send(client, frame);
  }

  private beat(): void {
    for (const client of this.clients) this.send(client, ': still here\n\n');
  }

  private send(client: Client, text: string): void {
    const { response } = client;
    if (response.writableLength + text.length <= MAX_QUEUED) {
      response.write(text);
      return;
    }
    this.clients.delete(client);
    const message = `${MAX_QUEUED} bytes wait for you; come back with last-event-id`;
    response.end(frameOf({ id: 0, event: { time: new Date().toISOString(), event: 'dropped', message } }));
    setTimeout(() => response.destroy(), FAREWELL).unref();
  }
}

/** Resolves when the reader has taken what waits, or went away. Leaves no listener behind, however often it is asked. */
export function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}

function frameOf({ id, event }: Told): string {
  return `${id === 0 ? '' : `id: ${id}\n`}event: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`;
}
