/** What programs see and change of the gateway's DNS while it runs. */
import { decode } from 'dns-packet';
import { NetproxyError } from '../core/index.js';
import {
  type DnsLog,
  type DnsLogEntry,
  type DnsServer,
  type DnsSource,
  type ZoneConfig,
  type Zones,
  Rcode,
  encodeName,
  normalName,
  recordType,
  typeName,
} from '../dns/index.js';
import type { SystemDns } from '../host/index.js';

export interface DnsExplainQuery {
  readonly name: string;
  /** `A`, `TYPE257`. Default `A`. */
  readonly type?: string | undefined;
}

export interface DnsExplainedStep {
  readonly source: DnsSource;
  /** false: it goes on to the next one. */
  readonly answers: boolean;
  /** For people. */
  readonly detail: string;
}

export interface DnsExplanation {
  readonly name: string;
  readonly type: string;
  /** From the first one that was asked to the one that answers. */
  readonly steps: readonly DnsExplainedStep[];
  /** `noError`, `nxDomain`, …; absent when there was no answer. */
  readonly rcode?: string | undefined;
  /** Records of the answer section, as text. */
  readonly answers: readonly string[];
}

/** What is explained of, and by whom. */
export interface DnsControlParts {
  readonly zones: Zones;
  readonly log: DnsLog;
  readonly server: DnsServer;
  readonly system: SystemDns | undefined;
  readonly now: () => number;
  /** Lets the server's timers run after it was asked. */
  readonly arm: () => void;
}

/** Who asks for an explanation: a guest like any other, that no rule names. */
export const ANYBODY = { id: 'dns explain' } as const;
const HEADER = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
const RCODES = new Map<number, string>(Object.entries(Rcode).map(([name, rcode]) => [rcode, name]));

export class DnsControl {
  /** Hears of zones that were put there or removed. */
  zoneChanged: ((name: string) => void) | undefined;
  private readonly parts: DnsControlParts;

  constructor(parts: DnsControlParts) {
    this.parts = parts;
  }

  /** The zones of one's own, by name. */
  zones(): readonly ZoneConfig[] {
    return this.parts.zones.list();
  }

  zone(name: string): ZoneConfig | undefined {
    return this.parts.zones.get(name);
  }

  /** Adds a zone or replaces the one of that name; false: it was there. Throws ERR_NETPROXY_CONFIG. */
  putZone(zone: ZoneConfig): boolean {
    const added = this.parts.zones.put(zone);
    this.zoneChanged?.(zone.name);
    return added;
  }

  /** false: there is no such zone. */
  removeZone(name: string): boolean {
    const removed = this.parts.zones.delete(name);
    if (removed) this.zoneChanged?.(name);
    return removed;
  }

  /** The last answers to guests, the oldest first. */
  log(): readonly DnsLogEntry[] {
    return this.parts.log.recent().map((entry) => ({ ...entry }));
  }

  /** Tells each answer to a guest; the entry is lent for the call. Ends when the returned function is called. */
  watch(watcher: (entry: DnsLogEntry) => void): () => void {
    return this.parts.log.watch(watcher);
  }

  /**
   * How a name is found, by the functions that find it, and what is found. Rejects with ERR_NETPROXY_CONFIG when it is no
   * name or no type.
   */
  async explain({ name, type = 'A' }: DnsExplainQuery): Promise<DnsExplanation> {
    const encoded = encodeName(name);
    const number = recordType(type);
    if (encoded === undefined || number === undefined)
      throw new NetproxyError('ERR_NETPROXY_CONFIG', `"${name} ${type}" is no question for a name`, {
        remedy: 'Allowed is a DNS name with a type such as A, AAAA, MX or TYPE257.',
      });
    const { server, now, arm } = this.parts;
    const query = Uint8Array.from([...HEADER, ...encoded, number >>> 8, number & 255, 0, 1]);
    const normal = normalName(name) ?? '';
    const steps = server.explain(query, ANYBODY, now()).map(({ source, answers }) => ({
      source,
      answers,
      detail: this.detail(source, answers, normal),
    }));
    const asked = server.handle(query, 'tcp', ANYBODY, now());
    arm();
    const bytes = await asked;
    const told = { name, type: typeName(number), steps };
    if (bytes === undefined) return { ...told, answers: [] };
    const rcode = (bytes[3] ?? 0) & 15;
    return { ...told, rcode: RCODES.get(rcode) ?? String(rcode), answers: textsOf(bytes) };
  }

  private detail(source: DnsSource, answers: boolean, name: string): string {
    const { zones, system } = this.parts;
    switch (source) {
      case 'builtin':
        return 'built-in names and guests';
      case 'zone':
        return zones.zoneName(name) ?? 'no zone of your own';
      case 'hosts':
        return 'the hosts file';
      case 'cache':
        return answers ? 'an answer that still holds' : 'no answer that still holds';
      case 'resolver':
        return "the system's resolver (getaddrinfo)";
      case 'relay':
        return zones.leadsOut(name) ? this.aliasDetail(name) : serversFor(system, name);
      default:
        return answers ? 'denied' : 'allowed';
    }
  }

  private aliasDetail(name: string): string {
    const chain = this.parts.zones.chain({ name, type: 1 });
    const target = chain === undefined || chain === 'loop' ? undefined : chain.outside;
    return `an alias of a zone, which leads to ${target ?? 'nothing'}`;
  }
}

/** Which servers a name goes to, and who says so. */
function serversFor(system: SystemDns | undefined, name: string): string {
  if (system === undefined) return "the program's own servers";
  const route = system.chosen.find(name) ?? system.own.find(name);
  const list = (servers: readonly { readonly host: string; readonly port: number }[]): string =>
    servers.map(({ host, port }) => (port === 53 ? host : `${host}#${port}`)).join(', ');
  if (route === undefined) return `servers of all names: ${list(system.servers())}`;
  const tiers = route.group.tiers.map(({ servers }) => list(servers)).join('; then ');
  return `servers of ${route.domain === '' ? 'all names' : route.domain} (${route.group.from}): ${tiers}`;
}

/** The answer section in words; data that is not known in words is left in hexadecimal. */
function textsOf(bytes: Uint8Array): string[] {
  try {
    return (decode(Buffer.from(bytes)).answers ?? []).map((record) => {
      const { name, type, ttl, data } = record as {
        name: string;
        type: string;
        ttl?: number;
        data?: unknown;
      };
      return `${name} ${ttl ?? 0} ${type} ${textOf(data)}`;
    });
  } catch {
    return [];
  }
}

function textOf(data: unknown): string {
  if (typeof data === 'string') return data;
  if (Buffer.isBuffer(data)) return data.toString('latin1');
  if (Array.isArray(data)) return data.map((part) => JSON.stringify(textOf(part))).join(' ');
  return JSON.stringify(data);
}
