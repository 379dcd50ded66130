/** The DNS zones of gvproxy's API, as they were written; the network answers for them. */
import { parseIpv4 } from '../../core/index.js';
import type { GvproxyRecord, GvproxyZone } from '../../dns/index.js';
import { Fields, GoError, decodeObject, quoted } from '../go-values.js';

export const MAX_ZONES = 1000;
export const MAX_RECORDS = 10_000;

/** Makes the network answer for a zone, in place of what it had by that name. Throws NetproxyError. */
export type ZoneSink = (zone: GvproxyZone) => void;

export class ZoneTable {
  private readonly zones: GvproxyZone[] = [];
  private readonly sink: ZoneSink;

  constructor(sink: ZoneSink) {
    this.sink = sink;
  }

  all(): readonly GvproxyZone[] {
    return this.zones;
  }

  /** Adds a zone; of one that is there, new records go first and the default address is replaced. Throws GoError, NetproxyError. */
  add(zone: GvproxyZone): void {
    const at = this.zones.findIndex(({ Name }) => Name === zone.Name);
    const old = this.zones[at];
    const merged =
      old === undefined ? zone : { ...zone, Records: [...(zone.Records ?? []), ...(old.Records ?? [])] };
    if (old === undefined && this.zones.length >= MAX_ZONES)
      throw new GoError(`${MAX_ZONES} zones are there`);
    if ((merged.Records ?? []).length > MAX_RECORDS)
      throw new GoError(`a zone has ${MAX_RECORDS} records at most`);
    this.sink(merged);
    if (old === undefined) this.zones.push(merged);
    else this.zones[at] = merged;
  }
}

/** A zone as JSON. Throws GoError. */
export function decodeZone(text: string): GvproxyZone {
  const zone = decodeObject(text, 'Zone');
  const records = zone.list('Records', '[]types.Record').map(decodeRecord);
  const Name = zone.text('Name');
  if (Name === '') throw new GoError('a zone needs a Name');
  return { Name, Records: records, DefaultIP: address(zone.text('DefaultIP')) };
}

function decodeRecord(value: unknown): GvproxyRecord {
  const fields = new Fields(value, 'Record');
  const Regexp = fields.text('Regexp');
  const record = { Name: fields.text('Name'), IP: address(fields.text('IP')) };
  return Regexp === '' ? record : { ...record, Regexp };
}

function address(text: string): string {
  if (text === '' || parseIpv4(text) !== undefined) return text;
  throw new GoError(`invalid IP address: ${quoted(text)}`);
}
