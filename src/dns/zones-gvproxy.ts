/**
 * Zones in the form of gvproxy: `{"Name": "containers.internal.", "Records": [{"Name": "gateway", "IP": "192.168.127.1"}],
 * "DefaultIP": ""}`. It knows A records only, by name or `Regexp`, and the first that fits answers alone; here names as
 * written go before regular expressions.
 */
import { NetproxyError } from '../core/index.js';
import { normalName } from './names.js';
import type { ZoneConfig, ZoneRecord } from './zones.js';

export interface GvproxyRecord {
  readonly Name?: string | undefined;
  readonly IP?: string | undefined;
  readonly Regexp?: string | null | undefined;
}

export interface GvproxyZone {
  readonly Name: string;
  readonly Records?: readonly GvproxyRecord[] | null | undefined;
  readonly DefaultIP?: string | undefined;
}

/** Whether a value has that form, told by its capitals; what is in it is checked by `fromGvproxy`. */
export function isGvproxyZone(value: unknown): value is GvproxyZone {
  return typeof value === 'object' && value !== null && 'Name' in value;
}

/**
 * The zone as ours. With `before`, what gvproxy makes of adding it to a zone that is there: new records go first, the default
 * address is replaced. Throws ERR_NETPROXY_CONFIG.
 */
export function fromGvproxy(zone: GvproxyZone, before?: ZoneConfig): ZoneConfig {
  const { Name: name, Records: given, DefaultIP: defaultIp } = zone;
  const old = (before?.records ?? []).filter((record) => record.type === 'A' || record.regexp === undefined);
  const rest = (before?.records ?? []).filter((record) => !old.includes(record));
  const all = [...(given ?? []).map((record) => recordOf(record, name)), ...old];
  const seen = new Set<string>();
  // The first that fits answers alone: of several of one name and type, that one is kept.
  const first = all.filter(({ name: own, regexp, type }) => {
    const key = `${type} ${regexp ?? ''} ${regexp === undefined ? (normalName(own ?? '') ?? '') : ''}`;
    return seen.size < seen.add(key).size;
  });
  const ip = text(defaultIp) ?? before?.defaultIp;
  return {
    ...(before ?? { name, ttl: 0 }),
    ...(ip === undefined ? {} : { defaultIp: ip }),
    records: [...first, ...rest],
  };
}

/** The part of a zone that gvproxy could have: one record for each address. */
export function toGvproxy({ name, records, defaultIp }: ZoneConfig): GvproxyZone {
  return {
    Name: name.endsWith('.') ? name : `${name}.`,
    Records: (records ?? [])
      .filter(({ type }) => type === 'A')
      .flatMap(({ name: own, regexp, value }) =>
        [value]
          .flat()
          .map((IP) => (regexp === undefined ? { Name: own ?? '', IP } : { Name: '', IP, Regexp: regexp })),
      ),
    DefaultIP: defaultIp ?? '',
  };
}

function recordOf({ Name, IP, Regexp }: GvproxyRecord, zone: string): ZoneRecord {
  const [name, value, regexp] = [text(Name), text(IP), text(Regexp)];
  if (value === undefined || (name === undefined) === (regexp === undefined))
    throw new NetproxyError('ERR_NETPROXY_CONFIG', `a record of the zone ${zone} is not complete`, {
      remedy: 'Allowed is {"Name", "IP"} or {"Regexp", "IP"}.',
    });
  return { type: 'A', value, ...(regexp === undefined ? { name } : { regexp }) };
}

function text(value: string | null | undefined): string | undefined {
  return value === null || value === '' ? undefined : value;
}
