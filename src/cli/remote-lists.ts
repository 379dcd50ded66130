/** What a running netproxy has, in columns: guests, leases, ports, counters. */
import type { ApiClient, ApiGuest, ApiLease, ApiPort } from '../client/index.js';
import { checkFlag, field } from '../config/index.js';
import { formatBytes, formatDuration } from '../observe/index.js';
import { EXIT } from './exit.js';
import { type RemoteOptions, jsonLine, withClient } from './remote.js';
import { type Column, formatTable } from './table.js';
import type { Terminal } from './terminal.js';

/** Rows whose columns are aligned with each other. */
const BLOCK = 1000;

/** Prints a list as it comes: aligned in blocks under headings, or as JSON lines. `below`: a line under a row. */
export async function printList<T>(
  items: AsyncIterable<T>,
  columns: readonly Column<T>[],
  options: RemoteOptions,
  terminal: Terminal,
  below: (item: T) => string | undefined = () => undefined,
): Promise<void> {
  let block: T[] = [];
  let printed = 0;
  const print = (): void => {
    const [heading = '', ...lines] = formatTable(block, columns);
    if (lines.length > 0) terminal.out(heading);
    block.forEach((item, i) => {
      terminal.out(lines[i] ?? '');
      const more = below(item);
      if (more !== undefined) terminal.out(`         ${more}\n`);
    });
    block = [];
  };
  for await (const item of items) {
    if (options.json === true) jsonLine(terminal, item);
    else if (block.push(item) === BLOCK) print();
    if (++printed % BLOCK === 0) await terminal.taken?.();
  }
  print();
  await terminal.taken?.();
}

type List<T> = (client: ApiClient) => AsyncIterable<T>;

async function list<T>(
  items: List<T>,
  columns: readonly Column<T>[],
  options: RemoteOptions,
  terminal: Terminal,
): Promise<number> {
  await withClient(options, (client) => printList(items(client), columns, options, terminal));
  return EXIT.ok;
}

const GUESTS: readonly Column<ApiGuest>[] = [
  ['ID', ({ id }) => id, 'right'],
  ['NAME', ({ name }) => name],
  ['IP', ({ ip }) => ip ?? '-'],
  ['MAC', ({ mac }) => mac ?? '-'],
  ['LINK', ({ link }) => `${link.kind} ${link.name}`],
  ['IN', ({ counters }) => formatBytes(counters['bytesIn'] ?? 0), 'right'],
  ['OUT', ({ counters }) => formatBytes(counters['bytesOut'] ?? 0), 'right'],
];

export interface GuestsOptions extends RemoteOptions {
  readonly detach?: string | undefined;
}

/** Prints the guests, or takes one off the network. */
export async function guests(options: GuestsOptions, terminal: Terminal): Promise<number> {
  if (options.detach === undefined) return list((client) => client.guests(), GUESTS, options, terminal);
  const name = checkFlag('--detach', field.guestName, options.detach);
  await withClient(options, (client) => client.detach(name));
  if (options.json === true) jsonLine(terminal, { detached: name });
  else terminal.out(`${name} was detached\n`);
  return EXIT.ok;
}

const LEASES: readonly Column<ApiLease>[] = [
  ['IP', ({ ip }) => ip],
  ['MAC', ({ mac }) => mac],
  ['HOSTNAME', ({ hostname }) => hostname ?? '-'],
  ['GUEST', ({ guest }) => guest ?? '-'],
  ['EXPIRES IN', ({ expiresIn }) => (expiresIn === null ? 'never' : formatDuration(expiresIn)), 'right'],
];

export function leases(options: RemoteOptions, terminal: Terminal): Promise<number> {
  return list((client) => client.leases(), LEASES, options, terminal);
}

const PORTS: readonly Column<ApiPort>[] = [
  ['ID', ({ id }) => id, 'right'],
  ['PROTO', ({ protocol }) => protocol],
  ['HOST', ({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`],
  ['TARGET', ({ target, guestPort }) => `${target}, port ${guestPort}`],
  ['STATE', ({ waiting }) => (waiting === undefined ? 'listening' : 'waiting')],
  ['CLIENTS', ({ clients }) => clients, 'right'],
  ['ALL', ({ counters }) => counters['connections'] ?? 0, 'right'],
  ['REFUSED', ({ counters }) => (counters['refused'] ?? 0) + (counters['noGuest'] ?? 0), 'right'],
];

export function ports(options: RemoteOptions, terminal: Terminal): Promise<number> {
  return list((client) => client.ports(), PORTS, options, terminal);
}

/** Prints all counters, one `part.name value` a line. */
export async function stats(options: RemoteOptions, terminal: Terminal): Promise<number> {
  const all = await withClient(options, (client) => client.stats());
  if (options.json === true) jsonLine(terminal, all);
  else for (const [name, value] of flat(all)) terminal.out(`${name} ${String(value)}\n`);
  return EXIT.ok;
}

function flat(value: unknown, prefix = ''): [name: string, value: unknown][] {
  if (typeof value !== 'object' || value === null) return [[prefix, value]];
  return Object.entries(value).flatMap(([key, inner]) =>
    flat(inner, prefix === '' ? key : `${prefix}.${key}`),
  );
}
