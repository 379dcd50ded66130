/** `netproxy publish` and `netproxy unpublish`. */
import type { ApiClient, ApiPort } from '../client/index.js';
import { checkFlag, field } from '../config/index.js';
import { NetproxyError } from '../core/index.js';
import { expandPublish } from '../forwarder/index.js';
import { EXIT, usageError } from './exit.js';
import { type RemoteOptions, jsonLine, withClient } from './remote.js';
import type { Terminal } from './terminal.js';

/** Ports that one request may publish; of longer ranges what was published before one fails stays. */
const RANGE = 10_000;

export interface PublishFlags extends RemoteOptions {
  /** false: they end with that netproxy. */
  readonly keep?: boolean | undefined;
}

/** Publishes ports, each range whole or not at all; what was published before one fails stays. */
export async function publish(
  specs: readonly string[],
  options: PublishFlags,
  terminal: Terminal,
): Promise<number> {
  const more = options.keep === false ? { keep: false } : {};
  const checked = specs.map((spec) => {
    const text = checkFlag('publish', field.publish, spec);
    return { text, all: expandPublish(text) };
  });
  await withClient(options, async (client) => {
    const tell = (port: ApiPort): void => {
      if (options.json === true) jsonLine(terminal, port);
      else terminal.out(`published ${port.spec} (id ${port.id})\n`);
    };
    for (const { text, all } of checked) {
      if (all.length > 1 && all.length <= RANGE) (await client.publishRange(text, more)).forEach(tell);
      else for (const one of all) tell(await client.publish(one, more));
      await terminal.taken?.();
    }
  });
  return EXIT.ok;
}

/** Withdraws ports, each named by its id or by where the host listens. */
export async function unpublish(
  names: readonly string[],
  options: RemoteOptions,
  terminal: Terminal,
): Promise<number> {
  const wanted = names.map(parseName);
  await withClient(options, async (client) => {
    for (const one of wanted) {
      const port = await find(client, one);
      await client.unpublish(port.id);
      if (options.json === true) jsonLine(terminal, port);
      else terminal.out(`withdrew ${port.spec}\n`);
    }
  });
  await terminal.taken?.();
  return EXIT.ok;
}

interface Name {
  readonly text: string;
  readonly id?: number;
  readonly host?: string;
  readonly port?: number;
  readonly protocol?: 'tcp' | 'udp';
}

/** `id:7`, `8080`, `127.0.0.1:8080`, `[::1]:53/udp`, `unix:/run/web.sock`. Throws ERR_NETPROXY_CONFIG. */
function parseName(text: string): Name {
  const id = /^id:(\d{1,15})$/.exec(text)?.[1];
  if (id !== undefined) return { text, id: Number(id) };
  if (text.startsWith('unix:/')) return { text, host: text, protocol: 'tcp' };
  const match = /^(?:(\[[\da-fA-F:.]+\]|[\d.]+|localhost|\*):)?(\d{1,5})(?:\/(tcp|udp))?$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || !(port >= 1 && port <= 65_535)) {
    throw usageError(
      `"${text}" names no published port`,
      'Allowed: PORT, HOSTIP:PORT, both with /udp, unix:/PATH, or id:N; netproxy ports lists them.',
    );
  }
  const host = match[1]?.replaceAll(/[[\]]/g, '');
  const protocol = match[3] as 'tcp' | 'udp' | undefined;
  return { text, port, protocol: protocol ?? 'tcp', ...(host === undefined ? {} : { host }) };
}

async function find(client: ApiClient, { text, id, host, port, protocol }: Name): Promise<ApiPort> {
  const none = usageError(`nothing is published at ${text}`, 'netproxy ports lists what is.');
  if (id !== undefined)
    return client.port(id).catch((error: unknown) => {
      throw error instanceof NetproxyError && error.code === 'ERR_NETPROXY_API' ? none : error;
    });
  const filter = { ...(port === undefined ? {} : { port }), ...(protocol === undefined ? {} : { protocol }) };
  const found: ApiPort[] = [];
  for await (const one of client.ports(filter)) if (host === undefined || one.host === host) found.push(one);
  const [first, second] = found;
  if (first === undefined) throw none;
  if (second === undefined) return first;
  throw usageError(
    `several ports are published at ${text}: ${found.map(({ spec }) => spec).join(', ')}`,
    'Name the address of the host, too, or id:N.',
  );
}
