/**
 * Zones of the user's own: static records that the gateway answers with authority.
 *
 * Theory of operation. The zone with the longest name that a question is within decides about it. Within a zone a name is
 * looked for as written; then by the zone's regular expressions, which see the name without the zone, in their order; then by
 * the wildcard of the closest name around it that exists (RFC 4592); then the zone's default address holds; and then there is
 * no such name. A name that exists without the asked type is NODATA, as is a name that only has names below it (RFC 8020);
 * both negative answers bring the zone's SOA. An alias is followed within all own zones; where it leads out of them, the
 * names are not known here and `chain` tells as far as they are (alias.ts goes on with them).
 *
 * Limits: MAX_ZONES zones, MAX_RECORDS records in all, MAX_REGEXPS regular expressions in a zone, MAX_ANSWER bytes of one
 * name and type, MAX_CHAIN aliases.
 *
 * Not supported: other types than `ZONE_TYPES` (NS and SOA are made), delegation, DNSSEC.
 */
import { NetproxyError } from '../core/index.js';
import { addressRecord, recordData, soaRecord, type AnswerParts, type DnsRecord } from './answer.js';
import { CLASS_IN, ExtendedError, Rcode, RecordType } from './codes.js';
import type { Question } from './message.js';
import { isWithin, normalName } from './names.js';
import type { LocalNames } from './types.js';
import { ZONE_TYPES, aliasTarget, dataOfText, typeNumber, type ZoneType } from './record-text.js';
import { LinearRegExp } from './regexp.js';

export const MAX_ZONES = 1000;
export const MAX_RECORDS = 50_000;
export const MAX_REGEXPS = 64;
/** What one name and type may be, so that an answer with it fits a message, bytes. */
export const MAX_ANSWER = 60_000;
export const MAX_CHAIN = 8;
/** The largest TTL (RFC 2181 section 8), seconds. */
const MAX_TTL = 2 ** 31 - 1;
const DEFAULT_TTL = 60;

/** One name of a zone, or all that a pattern fits, with records of one type. */
export interface ZoneRecord {
  /** Relative to the zone: `www`, `*.apps`, `@` for the zone itself. With a dot at the end: whole. */
  readonly name?: string | undefined;
  /** Instead of `name`: fits names without the zone, anywhere in them unless it has `^` and `$`. */
  readonly regexp?: string | undefined;
  readonly type: ZoneType;
  /** As in zone files, names whole: `10.0.0.1`, `10 mail.example`. A list: as many records. */
  readonly value: string | readonly string[];
  /** Seconds. Default the zone's. */
  readonly ttl?: number | undefined;
}

export interface ZoneConfig {
  readonly name: string;
  /** Seconds, of records that do not say, and of negative answers. Default 60. */
  readonly ttl?: number | undefined;
  /** IPv4 address of every name in the zone that has no records. */
  readonly defaultIp?: string | undefined;
  readonly records?: readonly ZoneRecord[] | undefined;
}

/** The records of a name by their types. */
interface Node {
  readonly records: Map<number, DnsRecord[]>;
  /** Normal name that an alias leads to. */
  alias: string | undefined;
  bytes: Map<number, number>;
}

/** A zone ready to answer. */
interface Zone {
  readonly config: ZoneConfig;
  readonly name: string;
  readonly ttl: number;
  readonly nodes: Map<string, Node>;
  readonly patterns: readonly { readonly regexp: LinearRegExp; readonly node: Node }[];
  readonly defaultNode: Node | undefined;
  readonly size: number;
}

/** What own zones know about a question. */
export interface ZoneChain {
  readonly zone: string;
  /** Aliases, and then what they lead to. */
  readonly answers: readonly DnsRecord[];
  /** Normal name that the last alias leads to, outside of own zones. */
  readonly outside: string | undefined;
  readonly rcode: number;
  /** The SOA, with negative answers. */
  readonly authorities: readonly DnsRecord[];
}

export class Zones implements LocalNames {
  readonly source = 'zone';
  private readonly zones = new Map<string, Zone>();
  private readonly primary: string;
  private records = 0;
  /** Grows with each change: what was answered before may be wrong then. */
  changes = 0;

  /** `primary`: the name server that SOA and NS name. Throws ERR_NETPROXY_CONFIG. */
  constructor(configs: readonly ZoneConfig[] = [], primary = 'gateway.netproxy.internal') {
    this.primary = primary;
    for (const config of configs) {
      const name = normalName(config.name);
      if (name !== undefined && this.zones.has(name))
        throw bad(`the zone ${name} is there twice`, 'Put its records into one zone.');
      this.put(config);
    }
    this.changes = 0;
  }

  /** The zones as they were given, by name. */
  list(): readonly ZoneConfig[] {
    return [...this.zones.values()].sort((a, b) => (a.name < b.name ? -1 : 1)).map(({ config }) => config);
  }

  get(name: string): ZoneConfig | undefined {
    return this.zones.get(normalName(name) ?? '-')?.config;
  }

  /** Adds or replaces a zone; false: it was there. Throws ERR_NETPROXY_CONFIG and changes nothing when it is wrong. */
  put(config: ZoneConfig): boolean {
    const zone = compile(config);
    const old = this.zones.get(zone.name);
    if (old === undefined && this.zones.size >= MAX_ZONES)
      throw bad(`${MAX_ZONES} zones are there; that is the limit`, 'Remove one.');
    const records = this.records - (old?.size ?? 0) + zone.size;
    if (records > MAX_RECORDS)
      throw bad(`all zones would have ${records} records`, `Allowed are ${MAX_RECORDS}.`);
    this.records = records;
    this.zones.set(zone.name, zone);
    this.changes++;
    return old === undefined;
  }

  /** false: there is no such zone. */
  delete(name: string): boolean {
    const normal = normalName(name) ?? '-';
    const zone = this.zones.get(normal);
    if (zone === undefined) return false;
    this.zones.delete(normal);
    this.records -= zone.size;
    this.changes++;
    return true;
  }

  /** Whether a name (normal) is in one of the zones. */
  covers(name: string): boolean {
    return this.zoneOf(name) !== undefined;
  }

  /** The answer to a question about a name in a zone; undefined for every other name, and where an alias leads out. */
  resolve(question: Question): AnswerParts | undefined {
    if (this.zones.size === 0 || question.class !== CLASS_IN) return undefined;
    const chain = this.chain(question);
    if (chain === 'loop') return LOOP;
    if (chain === undefined || chain.outside !== undefined) return undefined;
    const { rcode, answers, authorities } = chain;
    return { rcode, authoritative: true, answers, authorities };
  }

  /** The zone that a name (normal) is in. */
  zoneName(name: string): string | undefined {
    return this.zoneOf(name)?.name;
  }

  /** Whether a name (normal) is an alias that leads out of own zones. */
  leadsOut(name: string): boolean {
    if (!this.covers(name)) return false;
    const chain = this.chain({ name, type: RecordType.A });
    return chain !== 'loop' && chain?.outside !== undefined;
  }

  /** What is known of a name, whatever the class; undefined: it is in no zone. */
  chain({ name: asked, type }: Pick<Question, 'name' | 'type'>): ZoneChain | 'loop' | undefined {
    const answers: DnsRecord[] = [];
    const seen = new Set<string>();
    let last = '';
    for (let name = asked; ;) {
      const zone = this.zoneOf(name);
      if (zone === undefined)
        return seen.size === 0
          ? undefined
          : { zone: last, rcode: Rcode.noError, answers, authorities: [], outside: name };
      last = zone.name;
      const node = find(zone, name);
      answers.push(...named(this.recordsOf(zone, name, node, type), seen.size === 0 ? undefined : name));
      const alias = isAliasAnswer(type) ? undefined : node?.alias;
      if (alias === undefined) {
        const rcode = node === undefined ? Rcode.nxDomain : Rcode.noError;
        const authorities = answers.length > seen.size ? [] : [soaRecord(zone.name, this.primary, zone.ttl)];
        return { zone: last, rcode, answers, authorities, outside: undefined };
      }
      seen.add(name);
      if (seen.has(alias) || seen.size > MAX_CHAIN) return 'loop';
      name = alias;
    }
  }

  private recordsOf(zone: Zone, name: string, node: Node | undefined, type: number): readonly DnsRecord[] {
    const own =
      type === RecordType.ANY ? [...(node?.records.values() ?? [])].flat() : node?.records.get(type);
    const alias = isAliasAnswer(type) ? undefined : node?.records.get(RecordType.CNAME);
    const made = name === zone.name ? this.apex(zone, type) : [];
    return [...(own ?? []), ...(alias ?? []), ...made];
  }

  /** What each zone has without being told. */
  private apex(zone: Zone, type: number): readonly DnsRecord[] {
    const any = type === RecordType.ANY;
    const data = any || type === RecordType.NS ? recordData({ type: 'NS', data: this.primary }) : undefined;
    return [
      ...(any || type === RecordType.SOA ? [soaRecord(zone.name, this.primary, zone.ttl)] : []),
      ...(data === undefined ? [] : [{ type: RecordType.NS, ttl: zone.ttl, data }]),
    ];
  }

  /** The zone with the longest name. */
  private zoneOf(name: string): Zone | undefined {
    if (this.zones.size === 0) return undefined;
    for (let at = name; ; at = parentOf(at)) {
      const zone = this.zones.get(at);
      if (zone !== undefined || at === '') return zone;
    }
  }
}

/** Aliases that lead to each other, or too far. */
const LOOP: AnswerParts = {
  rcode: Rcode.servFail,
  error: { code: ExtendedError.other, text: 'an alias of an own zone leads in a circle, or too far' },
};

/** Questions that an alias answers by itself. */
function isAliasAnswer(type: number): boolean {
  return type === RecordType.CNAME || type === RecordType.ANY;
}

function named(records: readonly DnsRecord[], name: string | undefined): readonly DnsRecord[] {
  return records.map((record) => ({ ...record, name }));
}

function parentOf(name: string): string {
  const dot = name.indexOf('.');
  return dot < 0 ? '' : name.slice(dot + 1);
}

function find(zone: Zone, name: string): Node | undefined {
  const exact = zone.nodes.get(name);
  if (exact !== undefined && (exact.records.size > 0 || name === zone.name)) return exact;
  const relative = name === zone.name ? '' : name.slice(0, name.length - zone.name.length - 1);
  for (const { regexp, node } of zone.patterns) if (relative !== '' && regexp.test(relative)) return node;
  if (exact === undefined) {
    // RFC 4592 section 3.3.1: only the wildcard of the closest encloser counts.
    let encloser = parentOf(name);
    while (!zone.nodes.has(encloser)) encloser = parentOf(encloser);
    const wildcard = zone.nodes.get(encloser === '' ? '*' : `*.${encloser}`);
    if (wildcard !== undefined) return wildcard;
  }
  return zone.defaultNode ?? exact;
}

/** Reads a zone. Throws ERR_NETPROXY_CONFIG. */
function compile(config: ZoneConfig): Zone {
  const name = normalName(config.name);
  if (name === undefined || name === '')
    throw bad(
      `"${config.name.slice(0, 80)}" is no name of a zone`,
      'Allowed is a DNS name such as corp.example.',
    );
  const ttl = checkTtl(config.ttl ?? DEFAULT_TTL, name);
  const nodes = new Map<string, Node>([[name, emptyNode()]]);
  const patterns = new Map<string, { regexp: LinearRegExp; node: Node }>();
  let size = 0;
  for (const record of config.records ?? []) {
    const { node, owner } = nodeOf(record, name, nodes, patterns);
    const values = typeof record.value === 'string' ? [record.value] : record.value;
    if (values.length === 0) throw bad(`${owner} has a ${record.type} record without a value`);
    if (record.type === 'CNAME' && owner === name)
      throw bad(`the zone ${name} itself cannot be an alias (CNAME)`, 'Give it addresses.');
    for (const value of values) add(node, record, value, checkTtl(record.ttl ?? ttl, owner), owner);
    size += values.length;
    if (size > MAX_RECORDS) throw bad(`the zone ${name} has too many records`, `Allowed are ${MAX_RECORDS}.`);
  }
  if (patterns.size > MAX_REGEXPS)
    throw bad(`the zone ${name} has ${patterns.size} regular expressions`, `Allowed are ${MAX_REGEXPS}.`);
  const defaultNode = config.defaultIp === undefined ? undefined : defaultOf(config.defaultIp, name, ttl);
  return { config, name, ttl, nodes, patterns: [...patterns.values()], defaultNode, size };
}

function nodeOf(
  record: ZoneRecord,
  zone: string,
  nodes: Map<string, Node>,
  patterns: Map<string, { regexp: LinearRegExp; node: Node }>,
): { readonly node: Node; readonly owner: string } {
  if (!ZONE_TYPES.includes(record.type))
    throw bad(`"${record.type}" is no type of a record`, `Allowed are ${ZONE_TYPES.join(', ')}.`);
  if ((record.name === undefined) === (record.regexp === undefined))
    throw bad(`a record of the zone ${zone} needs a name or a regexp, and not both`);
  if (record.regexp !== undefined) {
    const known = patterns.get(record.regexp) ?? {
      regexp: new LinearRegExp(record.regexp),
      node: emptyNode(),
    };
    patterns.set(record.regexp, known);
    return { node: known.node, owner: `${record.regexp} in ${zone}` };
  }
  const owner = ownerOf(record.name ?? '', zone);
  // Names between a name and the zone exist, too.
  for (let at = owner; !nodes.has(at); at = parentOf(at)) nodes.set(at, emptyNode());
  return { node: nodes.get(owner)!, owner };
}

function ownerOf(text: string, zone: string): string {
  if (text === '@' || text === '') return zone;
  const whole = normalName(text.endsWith('.') ? text : `${text}.${zone}`);
  if (whole === undefined || !isWithin(whole, zone))
    throw bad(
      `"${text.slice(0, 80)}" is no name in the zone ${zone}`,
      'Allowed is a name relative to the zone, @ for the zone itself, or a whole name with a dot at its end.',
    );
  return whole;
}

function add(node: Node, record: ZoneRecord, value: string, ttl: number, owner: string): void {
  const data = dataOfText(record.type, value);
  const type = typeNumber(record.type);
  const list = node.records.get(type) ?? [];
  node.records.set(type, list);
  list.push({ type, ttl, data });
  const bytes = (node.bytes.get(type) ?? 0) + data.length + 16;
  node.bytes.set(type, bytes);
  if (bytes > MAX_ANSWER)
    throw bad(
      `${owner} has more ${record.type} records than fit an answer`,
      `Allowed are ${MAX_ANSWER} bytes.`,
    );
  if (record.type === 'CNAME') node.alias = aliasTarget(value);
  // RFC 1034 section 3.6.2, RFC 2181 section 10.1.
  if (node.alias !== undefined && (node.records.size > 1 || list.length > 1))
    throw bad(
      `${owner} is an alias (CNAME) and has another record`,
      'An alias is the only record of its name.',
    );
}

function emptyNode(): Node {
  return { records: new Map(), alias: undefined, bytes: new Map() };
}

function defaultOf(address: string, zone: string, ttl: number): Node {
  const record = addressRecord(address, 4, ttl);
  if (record === undefined)
    throw bad(
      `"${address.slice(0, 80)}" is no default address of the zone ${zone}`,
      'Allowed is an IPv4 address.',
    );
  return { ...emptyNode(), records: new Map([[RecordType.A, [record]]]) };
}

function checkTtl(ttl: number, what: string): number {
  if (!Number.isInteger(ttl) || ttl < 0 || ttl > MAX_TTL)
    throw bad(`the TTL ${ttl} of ${what} is none`, `Allowed are 0 to ${MAX_TTL} seconds.`);
  return ttl;
}

function bad(what: string, remedy?: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', what, remedy === undefined ? {} : { remedy });
}
