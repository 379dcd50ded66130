/**
 * Zones in the form of gvproxy: `{"Name": "containers.internal.", "Records": [{"Name": "gateway", "IP": "192.168.127.1"}],
 * "DefaultIP": ""}`. It knows A records only, by name or `Regexp`, and the first that fits answers alone; here names as
 * written go before regular expressions. A record without both is the zone's own.
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

/** The zone as ours. Throws ERR_NETPROXY_CONFIG. */
export function fromGvproxy({ Name: name, Records, DefaultIP }: GvproxyZone): ZoneConfig {
  const seen = new Set<string>();
  // The first that fits answers alone: of several of one name, that one is kept.
  const records = (Records ?? [])
    .map((record) => recordOf(record, name))
    .filter(({ name: own, regexp }) => {
      const key = regexp === undefined ? `name ${normalName(own ?? '') ?? ''}` : `regexp ${regexp}`;
      return seen.size < seen.add(key).size;
    });
  const defaultIp = text(DefaultIP);
  return { name, ttl: 0, ...(defaultIp === undefined ? {} : { defaultIp }), records };
}

function recordOf({ Name, IP, Regexp }: GvproxyRecord, zone: string): ZoneRecord {
  const [name, value, regexp] = [text(Name), text(IP), text(Regexp)];
  if (value === undefined || (name !== undefined && regexp !== undefined))
    throw new NetproxyError('ERR_NETPROXY_CONFIG', `a record of the zone ${zone} is not complete`, {
      remedy: 'Allowed is {"Name", "IP"} or {"Regexp", "IP"}.',
    });
  return { type: 'A', value, ...(regexp === undefined ? { name: name ?? '@' } : { regexp }) };
}

function text(value: string | null | undefined): string | undefined {
  return value === null || value === '' ? undefined : value;
}
