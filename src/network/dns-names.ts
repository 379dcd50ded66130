/** Who knows which names: the order in which the gateway's DNS looks for an answer. */
import {
  AliasUpstream,
  type AnswerParts,
  type BuiltinNames,
  type DnsTransport,
  type DnsUpstream,
  type LocalNames,
  type Question,
  Rcode,
  Zones,
  type ZoneConfig,
} from '../dns/index.js';
import type { Millis } from '../core/index.js';

/** Under which the gateway asks itself, for an alias of a zone that leads elsewhere. */
export const ALIAS_GUEST = { id: 'alias' } as const;

/** What the names here need of the server that they are part of. */
export interface AsksItself {
  handle(
    bytes: Uint8Array,
    transport: DnsTransport,
    guest: typeof ALIAS_GUEST,
    now: Millis,
  ): Promise<Uint8Array | undefined> | Uint8Array | undefined;
}

export interface DnsNamesParts {
  readonly builtin: BuiltinNames;
  /** Behind the zones. */
  readonly hosts: LocalNames | undefined;
  readonly zones: readonly ZoneConfig[];
  readonly now: () => Millis;
  /** Servers that were chosen for a name. */
  readonly chosen: ((name: string) => DnsUpstream | undefined) | undefined;
}

export class DnsNames {
  readonly zones: Zones;
  readonly local: readonly LocalNames[];
  /** The server; set once it is made of these names. */
  server: AsksItself | undefined;
  private readonly alias: AliasUpstream;
  private readonly chosen: DnsNamesParts['chosen'];

  /** Throws ERR_NETPROXY_CONFIG. */
  constructor({ builtin, hosts, zones, now, chosen }: DnsNamesParts) {
    this.chosen = chosen;
    this.zones = new Zones(zones);
    this.local = [withRoomFor(builtin, this.zones), this.zones, ...(hosts === undefined ? [] : [hosts])];
    this.alias = new AliasUpstream(this.zones, (query, transport) =>
      this.server?.handle(query, transport, ALIAS_GUEST, now()),
    );
  }

  /** Whom a name goes to that is not known here; undefined: the host's own way. */
  route(name: string): DnsUpstream | undefined {
    return this.zones.leadsOut(name) ? this.alias : this.chosen?.(name);
  }
}

/** Built-in names win; but a zone of the user's may add names to theirs, so they do not say what is missing there. */
function withRoomFor(builtin: BuiltinNames, zones: Zones): LocalNames {
  return {
    source: builtin.source,
    resolve(question: Question): AnswerParts | undefined {
      const parts = builtin.resolve(question);
      return parts?.rcode === Rcode.nxDomain && zones.covers(question.name) ? undefined : parts;
    },
  };
}
