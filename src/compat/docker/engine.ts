/**
 * The engine's API as its watcher uses it: containers, and what happens to them.
 *
 * Limits: MAX_LIST and MAX_INSPECT bytes of an answer, MAX_LINE of an event, MAX_HEAD of a head; ANSWER_TIME for an answer.
 */
import { type IncomingMessage, request } from 'node:http';
import type { Duplex } from 'node:stream';
import * as z from 'zod';
import { NetproxyError } from '../../core/index.js';
import { type Container, readContainer } from './container.js';

export const MAX_LIST = 32 * 1024 * 1024;
export const MAX_INSPECT = 4 * 1024 * 1024;
export const MAX_LINE = 1024 * 1024;
const MAX_HEAD = 65_536;
/** For a whole answer, ms. */
const ANSWER_TIME = 30_000;

/** What is watched; other events are not sent. */
const ACTIONS = ['start', 'die', 'destroy'] as const;
const FILTERS = JSON.stringify({ type: ['container'], event: ACTIONS });

const eventSchema = z.object({
  Type: z.literal('container'),
  Action: z.literal(ACTIONS),
  Actor: z.object({ ID: z.string().max(256) }),
});
export interface EngineEvent {
  readonly action: (typeof ACTIONS)[number];
  readonly id: string;
}
const listSchema = z.array(z.object({ Id: z.string().max(256) }));

/** Resolves with an open connection. */
export type Dial = () => Promise<Duplex>;

export class Engine {
  private readonly dial: Dial;

  constructor(dial: Dial) {
    this.dial = dial;
  }

  /** Ids of the containers that run. Rejects with ERR_NETPROXY_DIAL or ERR_NETPROXY_PROTOCOL. */
  async running(signal?: AbortSignal): Promise<readonly string[]> {
    const list = listSchema.safeParse(await this.json('/containers/json', MAX_LIST, signal));
    if (!list.success) throw wrong('its list of containers');
    return list.data.map(({ Id }) => Id);
  }

  /** One container by its id or name; undefined when there is none. Rejects as `running` does. */
  async inspect(name: string, signal?: AbortSignal): Promise<Container | undefined> {
    const value = await this.json(`/containers/${encodeURIComponent(name)}/json`, MAX_INSPECT, signal);
    if (value === undefined) return undefined;
    const container = readContainer(value);
    if (container === undefined) throw wrong('a container');
    return container;
  }

  /** What happens from now on; `opened` is called when the engine listens. Ends with the connection, rejects when it breaks. */
  async *events(opened: () => void, signal: AbortSignal): AsyncGenerator<EngineEvent> {
    const response = await this.open(`/events?filters=${encodeURIComponent(FILTERS)}`, signal);
    if (response.statusCode !== 200) throw refused(response);
    opened();
    response.setEncoding('utf8');
    let rest = '';
    for await (const chunk of response) {
      const lines = (rest + (chunk as string)).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > MAX_LINE) throw wrong('an event');
      for (const line of lines) {
        const event = eventSchema.safeParse(parsed(line));
        if (event.success) yield { action: event.data.Action, id: event.data.Actor.ID };
      }
    }
  }

  /** The answer as JSON; undefined for 404. */
  private async json(path: string, limit: number, signal: AbortSignal | undefined): Promise<unknown> {
    const late = AbortSignal.timeout(ANSWER_TIME);
    const response = await this.open(path, signal === undefined ? late : AbortSignal.any([late, signal]));
    if (response.statusCode === 404) {
      response.destroy();
      return undefined;
    }
    if (response.statusCode !== 200) throw refused(response);
    const pieces: Buffer[] = [];
    let size = 0;
    for await (const piece of response as AsyncIterable<Buffer>) {
      size += piece.length;
      if (size > limit)
        throw new NetproxyError('ERR_NETPROXY_PROTOCOL', `the engine's answer to ${path} is too long`);
      pieces.push(piece);
    }
    const value = parsed(Buffer.concat(pieces).toString());
    if (value === undefined) throw wrong(path);
    return value;
  }

  /** A connection that comes when nobody wants it any more is closed. */
  private dialUntil(signal: AbortSignal): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const stop = (): void => reject(new NetproxyError('ERR_NETPROXY_DIAL', 'the engine cannot be reached'));
      signal.addEventListener('abort', stop);
      if (signal.aborted) stop();
      this.dial()
        .then((connection) => {
          if (signal.aborted) connection.destroy();
          else resolve(connection);
        }, reject)
        .finally(() => {
          signal.removeEventListener('abort', stop);
        });
    });
  }

  private async open(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    const connection = await this.dialUntil(signal);
    return new Promise((resolve, reject) => {
      const sent = request({
        createConnection: () => connection,
        path,
        headers: { host: 'docker', connection: 'close' },
        maxHeaderSize: MAX_HEAD,
        signal,
      });
      sent.once('response', resolve);
      sent.once('error', (error: NodeJS.ErrnoException) => {
        connection.destroy();
        reject(
          new NetproxyError('ERR_NETPROXY_DIAL', `the engine does not answer ${path}: ${error.message}`, {
            cause: error,
            ...(error.code === undefined ? {} : { errno: error.code }),
          }),
        );
      });
      sent.end();
    });
  }
}

/** undefined where it is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function wrong(what: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_PROTOCOL', `the engine's answer is not what it should be: ${what}`);
}

function refused(response: IncomingMessage): NetproxyError {
  response.destroy();
  return new NetproxyError('ERR_NETPROXY_PROTOCOL', `the engine answered with status ${response.statusCode}`);
}
