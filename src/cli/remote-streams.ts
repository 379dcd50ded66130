/** `netproxy events` and `netproxy capture`: what goes on until somebody ends it. */
import { createWriteStream } from 'node:fs';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ApiEvent } from '../client/index.js';
import { checkFlag, field } from '../config/index.js';
import { NetproxyError } from '../core/index.js';
import { formatAudit } from '../policy/index.js';
import { EXIT, usageError } from './exit.js';
import { describeQuestion } from './policy-asks.js';
import { type RemoteOptions, jsonLine, withClient } from './remote.js';
import type { Terminal } from './terminal.js';

export interface EventsOptions extends RemoteOptions {
  readonly follow?: boolean | undefined;
  readonly last?: string | undefined;
  readonly types?: string | undefined;
}

/** Prints what happened lately, and with --follow what happens until the end of netproxy. */
export async function events(options: EventsOptions, terminal: Terminal): Promise<number> {
  const follow = options.follow === true;
  const last = lastOf(options);
  const types = options.types?.split(',') as ApiEvent['event'][] | undefined;
  let dropped: string | undefined;
  await withClient(options, async (client) => {
    for await (const event of client.events({ types, last, follow })) {
      if (options.json === true) jsonLine(terminal, event);
      else terminal.out(`${event.time.slice(11, 23)} ${describe(event)}\n`);
      if (event.event === 'dropped') dropped = event.message;
    }
  });
  if (dropped !== undefined)
    throw new NetproxyError('ERR_NETPROXY_API', `events were written faster than they were read: ${dropped}`);
  return EXIT.ok;
}

/** How many of those that were told already come first. */
export function lastOf({ last, follow }: Pick<EventsOptions, 'last' | 'follow'>): number {
  if (last === undefined) return follow === true ? 0 : 256;
  return checkFlag('--last', field.whole('events', 0, 256), Number(last));
}

/** An event in a line for people. */
function describe(event: ApiEvent): string {
  switch (event.event) {
    case 'started':
      return `started: network ${String(event.addresses['subnet'])}`;
    case 'attached':
      return `attached ${event.guest} over ${event.link.kind} (${event.link.name})`;
    case 'detached':
      return `detached ${event.guest}${event.reason === undefined ? '' : `: ${event.reason}`}`;
    case 'lease':
      return `lease ${event.kind} ${event.ip} ${event.mac}${event.hostname === undefined ? '' : ` ${event.hostname}`}`;
    case 'published':
    case 'unpublished':
      return `${event.event} ${event.port.spec}`;
    case 'ask':
      return `may ${describeQuestion(event.question)}?`;
    case 'answered':
      return `answered ${event.question.id}: ${event.outcome}`;
    case 'decision':
      return formatAudit(event.decision);
    case 'warning':
    case 'dropped':
      return `${event.event}: ${event.message}`;
    case 'stopped':
      return 'stopped';
  }
}

export interface CaptureOptions extends RemoteOptions {
  readonly write?: string | undefined;
  readonly guest?: string | undefined;
}

/** Writes frames as pcapng until it is interrupted or netproxy ends. `output`: what `-` stands for. */
export async function capture(
  options: CaptureOptions,
  terminal: Terminal,
  output: () => Writable = () => process.stdout,
): Promise<number> {
  const { write } = options;
  if (write === undefined)
    throw usageError('capture needs --write', 'For example --write guest.pcapng, or --write - for a pipe.');
  const guest =
    options.guest === undefined ? undefined : checkFlag('--guest', field.guestName, options.guest);
  if (write === '-' && process.stdout.isTTY)
    throw usageError('standard output is a terminal', 'Pipe it: netproxy capture -w - | tshark -r -');
  const stop = new AbortController();
  const interrupt = (): void => {
    stop.abort();
  };
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    await withClient(options, async (client) => {
      const frames = await client.capture({ guest, signal: stop.signal });
      const target = write === '-' ? output() : createWriteStream(write, { mode: 0o600 });
      if (write !== '-') terminal.err(`capturing to ${write}; end with Ctrl-C\n`);
      await pipeline(frames, target, { end: write !== '-' });
    });
  } catch (error) {
    if (!isEnd(error)) throw error;
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
  return EXIT.ok;
}

/** The interruption, a reader that has enough, or the end of netproxy. */
function isEnd(error: unknown): boolean {
  const { name, code } = error as NodeJS.ErrnoException;
  return (
    name === 'AbortError' ||
    code === 'EPIPE' ||
    code === 'ECONNRESET' ||
    code === 'ERR_STREAM_PREMATURE_CLOSE'
  );
}
