/** `netproxy dns zones`: what the gateway answers of its own. */
import { readFileSync } from 'node:fs';
import type { ApiZone } from '../client/index.js';
import { MAX_CONFIG_SIZE, checkFlag, field, zoneSchema } from '../config/index.js';
import { NetproxyError } from '../core/index.js';
import { fromGvproxy, isGvproxyZone } from '../dns/index.js';
import { EXIT } from './exit.js';
import { type RemoteOptions, jsonLine, withClient } from './remote.js';
import { printList } from './remote-lists.js';
import type { Column } from './table.js';
import type { Terminal } from './terminal.js';

interface Row {
  readonly zone: string;
  readonly name: string;
  readonly type: string;
  readonly value: string;
}

const ROWS: readonly Column<Row>[] = [
  ['ZONE', ({ zone }) => zone],
  ['NAME', ({ name }) => name],
  ['TYPE', ({ type }) => type],
  ['VALUE', ({ value }) => (value.length > 80 ? `${value.slice(0, 79)}…` : value)],
];

/** Prints all zones, a line for each record; as JSON, an object for each zone. */
export async function listZones(options: RemoteOptions, terminal: Terminal): Promise<number> {
  await withClient(options, async (client) => {
    if (options.json === true) for await (const zone of client.zones()) jsonLine(terminal, zone);
    else await printList(rowsOf(client.zones()), ROWS, options, terminal);
  });
  return EXIT.ok;
}

async function* rowsOf(zones: AsyncIterable<ApiZone>): AsyncGenerator<Row> {
  for await (const { name: zone, records, defaultIp } of zones) {
    for (const { name, regexp, type, value } of records ?? [])
      for (const one of [value].flat()) yield { zone, name: name ?? `/${regexp ?? ''}/`, type, value: one };
    if (defaultIp !== undefined) yield { zone, name: '(all others)', type: 'A', value: defaultIp };
    else if ((records ?? []).length === 0) yield { zone, name: '-', type: '-', value: '-' };
  }
}

/** Adds or replaces the zones of a file. */
export async function setZones(file: string, options: RemoteOptions, terminal: Terminal): Promise<number> {
  const zones = await readZones(file);
  await withClient(options, async (client) => {
    for (const zone of zones) {
      await client.putZone(zone);
      if (options.json === true) jsonLine(terminal, { set: zone.name });
      else terminal.out(`${zone.name}: ${(zone.records ?? []).length} records\n`);
    }
  });
  return EXIT.ok;
}

/** YAML or JSON: one zone or a list of them, in our form or in gvproxy's. */
async function readZones(file: string): Promise<ApiZone[]> {
  const { parse } = await import('yaml');
  let value: unknown;
  try {
    const text = readFileSync(file === '-' ? 0 : file, 'utf8');
    if (text.length > MAX_CONFIG_SIZE) throw new Error(`it is longer than ${MAX_CONFIG_SIZE} bytes`);
    value = parse(text, { maxAliasCount: 0 });
  } catch (error) {
    throw new NetproxyError(
      'ERR_NETPROXY_CONFIG',
      `cannot read zones from ${file}: ${(error as Error).message}`,
      {
        cause: error,
        remedy: 'Allowed is YAML or JSON: a zone, or a list of zones.',
      },
    );
  }
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.map((zone) => checkFlag(file, zoneSchema, isGvproxyZone(zone) ? fromGvproxy(zone) : zone));
}

export async function removeZones(
  names: readonly string[],
  options: RemoteOptions,
  terminal: Terminal,
): Promise<number> {
  const checked = names.map((name) => checkFlag('<name>', field.dnsName, name));
  await withClient(options, async (client) => {
    for (const name of checked) {
      await client.removeZone(name);
      if (options.json === true) jsonLine(terminal, { removed: name });
      else terminal.out(`${name} was removed\n`);
    }
  });
  return EXIT.ok;
}
