/** DNS on the gateway, UDP and TCP 53: the server on the wire, fed by leases and by the host's own resolving. */
import { decode, encode } from 'dns-packet';
import {
  formatIpv4,
  type HostIo,
  type Ipv4,
  type Logger,
  NetproxyError,
  parseIpv4,
  Timer,
} from '../core/index.js';
import {
  BuiltinNames,
  CLASS_IN,
  DNS_PORT,
  type DnsCacheOptions,
  DnsLog,
  type DnsGuest,
  DnsServer,
  DnsTcpServer,
  HostsFileNames,
  type LocalNames,
  RecordType,
  eachAddress,
  encodeName,
  normalName,
} from '../dns/index.js';
import { type SystemDns, systemDns } from '../host/index.js';
import type { NativeLookups } from '../native/index.js';
import type { Stack, UdpIn } from '../stack/index.js';
import type { Addresses } from './addresses.js';
import type { DhcpService } from './dhcp-service.js';
import { ANYBODY, DnsControl } from './dns-control.js';
import { ZoneKeeper } from './live-keepers.js';
import { domainGroups } from './dns-domains.js';
import { DnsNames } from './dns-names.js';
import { Guest } from './guest.js';
import type { Judge } from './judge.js';
import type { NameMemories } from './name-memories.js';
import { DEFAULT_PROXY_NAMES } from './proxy-service.js';
import type { Services } from './services.js';
import type { NetworkConfig, NetworkDeps } from './types.js';

/** What a question costs that is asked of others: sending it, its answer. µs. */
const RELAYED = 30;

export class DnsService {
  readonly control: DnsControl;
  /** What of its zones is set live, for the state file. */
  readonly keeper: ZoneKeeper;
  private readonly log = new DnsLog(() => Date.now());
  private readonly server: DnsServer;
  /** Names that netproxy answers by itself. */
  private readonly own: readonly LocalNames[];
  private readonly tcp: DnsTcpServer;
  private readonly stack: Stack;
  private readonly system: SystemDns | undefined;
  private readonly timer = new Timer((now) => {
    this.server.poll(now);
    this.tcp.poll(now);
    this.arm();
  });

  constructor(
    services: Services,
    stack: Stack,
    addresses: Addresses,
    config: NetworkConfig,
    deps: NetworkDeps,
    dhcp: DhcpService,
    logger: Logger,
    native: { readonly lookups: NativeLookups | undefined; readonly io: HostIo | undefined },
    judge: Judge,
    names: NameMemories,
  ) {
    this.stack = stack;
    const { gatewayIp, hostAlias, subnet } = addresses;
    this.system =
      deps.upstream === undefined
        ? systemDns({
            logger,
            servers: config.dns?.servers,
            serversFile: config.dns?.serversFile,
            domains: domainGroups(config.dns?.domains ?? []),
            calls: callsOf(native.lookups),
            io: native.io,
          })
        : undefined;
    const { system } = this;
    const mode = systemMode(deps, this.system);
    const builtin = new BuiltinNames({
      gateway: gatewayIp,
      hostAlias,
      subnet,
      hosts: [...proxyHosts(config, gatewayIp), ...extraHosts(config)],
      guests: {
        addressOf: (name) => dhcp.server.addressOf(name),
        nameOf: (ip) => dhcp.server.leaseAt(ip)?.hostname,
      },
    });
    const sources = new DnsNames({
      builtin,
      hosts: system && new HostsFileNames(system.hosts, mode),
      zones: config.dns?.zones ?? [],
      now: () => stack.now(),
      chosen: system && ((name) => system.chosen.find(name)?.upstream),
    });
    this.own = [builtin, sources.zones];
    this.server = new DnsServer({
      local: sources.local,
      route: (name) => sources.route(name),
      upstream: deps.upstream ?? this.system!.upstream,
      resolver: deps.resolver ?? this.system?.resolver,
      mode,
      decide: (name, guest) => {
        if (guest instanceof Guest) return judge.deniedName(name, guest, () => this.isOwnName(name, guest));
        return guest === ANYBODY ? judge.wouldDenyName(name, this.isOwnName(name, guest)) : undefined;
      },
      observe: (event) => {
        const { guest, question, answer } = event;
        if (!(guest instanceof Guest)) return;
        this.log.add(event, guest.name);
        if (question === undefined) return;
        const memory = names.for(guest.name);
        eachAddress(answer, (ip, ttl) => {
          memory.learn(question.name, ip, ttl);
        });
      },
      deadline: config.dns?.deadline,
      privateNames: privateNames(config),
      maxRate: config.dns?.rate,
      cache: cacheOptions(config),
      settings: () => sources.zones.changes + (system?.settings() ?? 0),
      clock: stack,
      seed: stack.deps.random.u32(),
    });
    sources.server = this.server;
    this.control = new DnsControl({
      zones: sources.zones,
      log: this.log,
      server: this.server,
      system,
      now: () => stack.now(),
      arm: () => {
        this.arm();
      },
    });
    this.keeper = new ZoneKeeper(sources.zones, config.dns?.zones ?? []);
    this.control.zoneChanged = (name) => {
      this.keeper.note(name);
    };
    this.tcp = new DnsTcpServer(this.server, stack.deps.scheduler);
    services.addUdp(gatewayIp, DNS_PORT, 'dns', (datagram, guest) => {
      this.udp(datagram, guest);
    });
    services.addTcp(gatewayIp, DNS_PORT, 'dns', (stream, guest) => {
      this.tcp.accept(stream, guest);
      this.arm();
    });
  }

  get counters() {
    return {
      ...this.server.counters,
      cache: { ...this.server.cacheCounters },
      tcp: { ...this.tcp.counters },
    };
  }

  /** The address of a name as a guest would get it. Rejects with ERR_NETPROXY_DIAL when there is none. */
  async resolve(name: string): Promise<Ipv4> {
    const { addresses, rcode } = await this.lookup(name, 'A');
    for (const address of addresses) {
      const ip = parseIpv4(address);
      if (ip !== undefined) return ip;
    }
    throw new NetproxyError('ERR_NETPROXY_DIAL', `the name ${name} has no IPv4 address (${rcode})`, {
      errno: 'ENOTFOUND',
    });
  }

  /** All addresses of a name as a guest would get them, IPv4 first; none where there are none. Never rejects. */
  async addressesOf(name: string): Promise<readonly string[]> {
    if (encodeName(name) === undefined) return [];
    const both = await Promise.allSettled([this.lookup(name, 'A'), this.lookup(name, 'AAAA')]);
    return both.flatMap((one) => (one.status === 'fulfilled' ? one.value.addresses : []));
  }

  private async lookup(name: string, type: 'A' | 'AAAA') {
    const query = new Uint8Array(encode({ type: 'query', id: 1, flags: 0x100, questions: [{ type, name }] }));
    const answer = this.server.handle(query, 'tcp', { id: 'explain' }, this.stack.now());
    this.arm();
    const bytes = await answer;
    const parsed = bytes === undefined ? undefined : decode(Buffer.from(bytes));
    const addresses = (parsed?.answers ?? []).flatMap((record) =>
      record.type === type ? [record.data] : [],
    );
    return { addresses, rcode: (parsed as { rcode?: string } | undefined)?.rcode ?? 'no answer' };
  }

  /** A name that netproxy answers by itself. */
  isOwnName(name: string, guest: DnsGuest = { id: 'explain' }): boolean {
    const question = { name, type: RecordType.A, class: CLASS_IN };
    return this.own.some((names) => names.resolve(question, guest) !== undefined);
  }

  stop(): void {
    this.stack.timers.cancel(this.timer);
    this.system?.close();
  }

  private udp(datagram: UdpIn, guest: Guest): void {
    const { port, neighbour, sourcePort, destination, offset } = datagram;
    if (neighbour === undefined) return;
    const query = datagram.bytes.subarray(offset, offset + datagram.length);
    const { server, stack } = this;
    const length = server.receive(query, 'udp', guest, stack.now(), () => {
      stack.shares.charge(port, RELAYED);
      return (answer, size) => {
        stack.packets.udp(neighbour, destination, DNS_PORT, sourcePort, answer, 0, size);
      };
    });
    if (length > 0) stack.packets.udp(neighbour, destination, DNS_PORT, sourcePort, server.output, 0, length);
    else this.arm();
  }

  private arm(): void {
    this.stack.timers.set(this.timer, Math.min(this.server.nextTimeout(), this.tcp.nextTimeout()));
    this.stack.rearm();
  }
}

/** Addresses come from a resolver that was injected, else from where the host gets them. */
function systemMode(
  deps: NetworkDeps,
  system: SystemDns | undefined,
): (() => 'relay' | 'resolver') | undefined {
  if (deps.resolver !== undefined) return () => 'resolver';
  return system === undefined ? undefined : () => system.mode();
}

function privateNames({ dns = {} }: NetworkConfig): readonly string[] | undefined {
  if (dns.rebindProtection !== true) return undefined;
  return (dns.privateNames ?? []).flatMap((name) => normalName(name) ?? []);
}

function cacheOptions({ dns }: NetworkConfig): DnsCacheOptions {
  return {
    maxBytes: dns?.cacheBytes,
    maxTtl: dns?.cacheSeconds,
    maxNegativeTtl: dns?.negativeSeconds,
    staleSeconds: dns?.staleSeconds,
  };
}

/** The native threads as the resolver takes them. */
function callsOf(lookups: NativeLookups | undefined) {
  if (lookups === undefined) return undefined;
  return {
    concurrency: lookups.threads,
    getaddrinfo: (name: string) => lookups.addresses(name),
    getnameinfo: (address: string) => lookups.nameOf(address),
  };
}

/** The names of the HTTP proxy, which is the gateway; those of the configuration are asked first. */
function proxyHosts({ httpProxy = {}, dns = {} }: NetworkConfig, gatewayIp: Ipv4) {
  if (httpProxy.explicit === false) return [];
  const taken = new Set(Object.keys(dns.hosts ?? {}));
  const names = httpProxy.names ?? DEFAULT_PROXY_NAMES;
  return names
    .filter((name) => !taken.has(name))
    .map((name) => ({ name, addresses: [formatIpv4(gatewayIp)] }));
}

function extraHosts(config: NetworkConfig) {
  return Object.entries(config.dns?.hosts ?? {}).map(([name, address]) => {
    if (parseIpv4(address) === undefined) {
      throw new NetproxyError('ERR_NETPROXY_CONFIG', `bad address "${address}" of the name ${name}`, {
        remedy: 'Allowed is an IPv4 address.',
      });
    }
    return { name, addresses: [address] };
  });
}
