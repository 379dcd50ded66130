/** What the library takes and gives. Addresses are text here; numbers are for the data path. */
import type { Duplex } from 'node:stream';
import type { HostIo, HostResolver, Logger, Random, Scheduler } from '../core/index.js';
import type { DhcpEvent } from '../dhcp/index.js';
import type { DnsUpstream, ZoneConfig } from '../dns/index.js';
import type { StateDisk, SystemProxySource } from '../host/index.js';
import type { Route } from '../httpproxy/index.js';
import type { PublishSpec, UdpNatMode } from '../forwarder/index.js';
import type { AuditEntry, Decision } from '../policy/index.js';
import type { TcpInfo } from '../tcp/index.js';
import type { Guest } from './guest.js';
import type { ProxyChoice } from './proxy-config.js';

/** One virtual network. Every field has a default. */
export interface NetworkConfig {
  /** Name in logs. Default `netproxy`. */
  readonly name?: string | undefined;
  /** IPv4 network of the guests. Default 192.168.127.0/24, or the next free one when the host has a route into that. */
  readonly subnet?: string | undefined;
  /** Default: the first address of the subnet. */
  readonly gatewayIp?: string | undefined;
  /** Default 5a:94:ef:e4:0c:dd. */
  readonly gatewayMac?: string | undefined;
  /** Address of the first guest. Default: the second address of the subnet. */
  readonly guestIp?: string | undefined;
  /** The address by which guests reach the host itself; false: none. Default: the last but one of the subnet. */
  readonly hostAlias?: string | false | undefined;
  /** Largest IP packet, bytes, 576 to 65520. Default 1500. */
  readonly mtu?: number | undefined;
  /** Who may answer a guest's UDP port: anybody (`full-cone`), or only whom it talks to. Default `full-cone`. */
  readonly udpNat?: UdpNatMode | undefined;
  readonly dhcp?: DhcpOptionsConfig | undefined;
  readonly dns?: DnsConfig | undefined;
  readonly httpProxy?: HttpProxyConfig | undefined;
  readonly policy?: PolicyOptions | undefined;
  /** Ports of the host that lead into guests, as `--publish` takes them. */
  readonly publish?: readonly (string | PublishSpec)[] | undefined;
  /** Socket of a `netproxy bind-helper`, which is asked for ports that this process may not bind. Needs the addon. */
  readonly bindHelper?: string | undefined;
  readonly limits?: LimitsConfig | undefined;
  /** File that keeps leases, and ports, zones and rules that were set live, over a restart; made when it does not exist. Default: nothing is kept. */
  readonly stateFile?: string | undefined;
  readonly switch?: SwitchConfig | undefined;
  /** MAC addresses for vpnkit guests, by their UUIDs. Default: one is made. */
  readonly vpnkitMacs?: Readonly<Record<string, string>> | undefined;
}

/** Guests among each other. */
export interface SwitchConfig {
  /** true: guests see the gateway and not each other, and clones with the same addresses work. Default false. */
  readonly isolation?: boolean | undefined;
  /** false: guests may take over each other's addresses (a service that moves between them). Default true. */
  readonly antiSpoof?: boolean | undefined;
  /** Broadcasts a second of one guest that reach others; as many multicasts and unknown addresses. Default 1,000. */
  readonly floods?: number | undefined;
  /** Bits per second from each guest, and to each. Default: no limit. */
  readonly rateUp?: number | undefined;
  readonly rateDown?: number | undefined;
}

/** What clients are told by DHCP beside their address. */
export interface DhcpAnswers {
  /** 60 to 2^32 - 1, which never ends. Default 86,400 s. */
  readonly leaseSeconds?: number | undefined;
  /** T1, seconds. Default: half of the lease. */
  readonly renewalSeconds?: number | undefined;
  /** T2, seconds. Default: 7/8 of the lease. */
  readonly rebindingSeconds?: number | undefined;
  readonly domain?: string | undefined;
  /** Search domains (RFC 3397). */
  readonly search?: readonly string[] | undefined;
  /** Default route; false: none. Default: the gateway. */
  readonly router?: string | false | undefined;
  /** Name servers. Default: the gateway. */
  readonly dns?: readonly string[] | undefined;
  /** Time servers. Default: the gateway. */
  readonly ntp?: readonly string[] | undefined;
  /** Classless static routes (RFC 3442) beside the default route: network and next hop (default: the gateway). */
  readonly routes?: readonly { readonly to: string; readonly via?: string | undefined }[] | undefined;
  /** Told to the client as its host name. */
  readonly hostname?: string | undefined;
}

/** An address kept for a machine, by MAC address and client id, or for a guest, by its name; and what it is told. */
export interface StaticLeaseConfig extends DhcpAnswers {
  readonly ip: string;
  readonly mac?: string | undefined;
  /** Option 61 in hexadecimal. */
  readonly clientId?: string | undefined;
  readonly guest?: string | undefined;
}

export interface DhcpOptionsConfig extends Omit<DhcpAnswers, 'hostname'> {
  readonly statics?: readonly StaticLeaseConfig[] | undefined;
}

export type { ZoneConfig, ZoneRecord } from '../dns/index.js';

/** Split DNS: servers for some domains. */
export interface DnsDomainConfig {
  /** Domains, with all names below them: `corp.example`, `10.in-addr.arpa`. */
  readonly names: readonly string[];
  /** `IP` or `IP#PORT`. */
  readonly servers: readonly string[];
  /** One after the other, or all at once. Default `strict`. */
  readonly order?: 'strict' | 'race' | undefined;
  /** ms until `fallback` is asked. Default: half of what is left. */
  readonly timeout?: number | undefined;
  /** Asked when `servers` failed or kept silent. */
  readonly fallback?: readonly string[] | undefined;
}

export interface DnsConfig {
  /** More names for the built-in zone: full name to IPv4 address. */
  readonly hosts?: Readonly<Record<string, string>> | undefined;
  /** Zones of one's own, answered with authority. More by `network.dns.putZone`. */
  readonly zones?: readonly ZoneConfig[] | undefined;
  /** Milliseconds until SERVFAIL. Default 5,000. */
  readonly deadline?: number | undefined;
  /** Servers instead of the system's: `IP`, `IP#PORT`, `tls://IP#NAME`, `https://IP/PATH#NAME`. */
  readonly servers?: readonly string[] | undefined;
  /** Servers of single domains: nobody else is asked about names in them. The longest domain decides. */
  readonly domains?: readonly DnsDomainConfig[] | undefined;
  /** vpnkit's file of servers, instead of the system's; read again when it changes. */
  readonly serversFile?: string | undefined;
  /** Bytes of answers that are kept; 0: none. Default 4 MiB. */
  readonly cacheBytes?: number | undefined;
  /** Seconds that an answer is kept at most. Default 86,400. */
  readonly cacheSeconds?: number | undefined;
  /** Seconds that NXDOMAIN and NODATA are kept at most. Default 900. */
  readonly negativeSeconds?: number | undefined;
  /** Seconds that an answer is given after its end when no server answers. Default 0. */
  readonly staleSeconds?: number | undefined;
  /** Refuses names of the open network whose addresses are private ones. Default false. */
  readonly rebindProtection?: boolean | undefined;
  /** Domains that may have private addresses all the same. */
  readonly privateNames?: readonly string[] | undefined;
  /** Queries of one guest a second, as many at once; 0: no limit. Default 0. */
  readonly rate?: number | undefined;
}

/** Whom HTTP requests of guests go to. The first of `http` and `https`, `file`, `environment` that says something holds. */
export interface HttpProxyConfig extends ProxyChoice {
  /** false: no proxy on the gateway. Default true. */
  readonly explicit?: boolean | undefined;
  /** Its port. Default 3128. */
  readonly port?: number | undefined;
  /** Its names, beside those of the gateway. Default `proxy.netproxy.internal`. */
  readonly names?: readonly string[] | undefined;
  /**
   * Connections of guests to web servers go by the proxy though they know of none: `auto`, where an upstream is set or a list of what is
   * allowed; `on`, always: the policy hears the names that are said in TLS and HTTP; `off`, never. Default `auto`.
   */
  readonly transparent?: 'auto' | 'on' | 'off' | undefined;
  /** Ports of such connections. Default 80, or those of the file. */
  readonly httpPorts?: readonly number[] | undefined;
  /** Default 443, or those of the file. */
  readonly httpsPorts?: readonly number[] | undefined;
  /** http_proxy.json as of vpnkit; read again when it changes. */
  readonly file?: string | undefined;
  /** `http_proxy`, `https_proxy`, `no_proxy`: true, those of this process. Default false. */
  readonly environment?: boolean | Readonly<Record<string, string | undefined>> | undefined;
  /** Proxies that are set in the operating system, where nothing else says whom to ask. Default false. */
  readonly system?: boolean | undefined;
  /** What happens while a proxy auto-config file does not work and there are no lists: straight, or 503. Default `direct`. */
  readonly pacFailure?: 'direct' | 'deny' | undefined;
  /** Seconds until a proxy auto-config file is fetched again, 10 to 86,400. Default 600. */
  readonly pacRefresh?: number | undefined;
  /** Prints credentials for upstreams that have none in their URL (docs/http-proxy.md); run by the shell. */
  readonly credentialsCommand?: string | undefined;
  /** Certificates in PEM that are believed beside Node's, for upstreams by https. */
  readonly caFile?: string | undefined;
}

export interface PolicyOptions {
  /** Default `allow`. */
  readonly default?: 'allow' | 'deny' | 'ask' | undefined;
  /** ms until a question of an `ask` rule is answered by no. Default 30,000. */
  readonly askTimeout?: number | undefined;
  /** `allow tcp:10.0.0.0/8:443`, `deny *.example.com`, `redirect …`; the first match decides. */
  readonly rules?: readonly string[] | undefined;
  /** What the audit log tells: what was denied, or all decisions. Default `denied`. */
  readonly log?: 'denied' | 'all' | undefined;
}

export interface LimitsConfig {
  readonly dialsPerGuest?: number | undefined;
  readonly dialsPerDestination?: number | undefined;
  readonly flowsPerGuest?: number | undefined;
  /** ms. */
  readonly dialTimeout?: number | undefined;
  readonly udpPerGuest?: number | undefined;
  readonly udpTotal?: number | undefined;
  /** ms until a quiet mapping of one request and one reply goes. Default 30,000. */
  readonly udpIdle?: number | undefined;
  /** ms until a quiet mapping goes on which traffic went both ways repeatedly. Default 180,000. */
  readonly udpStreamIdle?: number | undefined;
  /** Bytes a flow advertises and buffers at most, each way; a power of two, 64 KiB to 16 MiB. Default 1 MiB. */
  readonly flowBuffer?: number | undefined;
  /** Bytes that all flows buffer together before they are held back. Default 512 MiB. */
  readonly totalMemory?: number | undefined;
  /** Bytes that one guest's flows buffer. Default 128 MiB. */
  readonly guestMemory?: number | undefined;
  /** ms of silence after which a guest is asked whether its TCP connection still stands. Default: never. */
  readonly keepAlive?: number | undefined;
  /** µs that the process looks for more to do before it sleeps, where that has paid lately; 0: never. Needs the addon. Default 80. */
  readonly busyPoll?: number | undefined;
}

/** What a network uses of the world; everything has a real default. */
export interface NetworkDeps {
  readonly logger?: Logger | undefined;
  readonly scheduler?: Scheduler | undefined;
  readonly random?: Random | undefined;
  readonly io?: HostIo | undefined;
  readonly resolver?: HostResolver | undefined;
  /** Relays DNS queries that are not about addresses. */
  readonly upstream?: DnsUpstream | undefined;
  /** Whether the host has this address on an interface. */
  readonly isOwnAddress?: ((ip: string) => boolean) | undefined;
  /** The networks that the host has routes or addresses in, as CIDR. Default: looked up, every five seconds. */
  readonly hostNetworks?: (() => readonly string[]) | undefined;
  /** How the system is asked for its proxies, when `httpProxy.system` is true. Default: by the tool of this platform. */
  readonly systemProxy?: SystemProxySource | undefined;
  /** Where the state file is. Default: the host's file system. */
  readonly disk?: StateDisk | undefined;
  /** false: do without the native addon though it is there. */
  readonly native?: boolean | undefined;
}

export interface AttachOptions {
  /** Default `guest1`, `guest2`, … */
  readonly name?: string | undefined;
  /** Address kept for this guest. */
  readonly ip?: string | undefined;
  /** The only MAC address that it may send from; frames from others are dropped and counted. */
  readonly mac?: string | undefined;
  /** Largest IP packet towards this guest, bytes; default the network's. */
  readonly mtu?: number | undefined;
  /** Rules that go before the network's, for this guest alone. */
  readonly policy?: readonly string[] | undefined;
  /** What this guest is told by DHCP, before what all are. */
  readonly dhcp?: DhcpAnswers | undefined;
  /** Bytes that this guest's flows buffer before they are held back. Default the network's `guestMemory`. */
  readonly memory?: number | undefined;
  /** true: it sees the gateway and no other guest. Default the network's. */
  readonly isolation?: boolean | undefined;
  /** Bits per second from this guest, and to it. Default the network's. */
  readonly rateUp?: number | undefined;
  readonly rateDown?: number | undefined;
  /** Connections this guest may have at once. Default the network's `flowsPerGuest`. */
  readonly maxFlows?: number | undefined;
}

/** What the answer to a question is to be. */
export interface AnswerOptions {
  /** true: a rule is made of it, before the one that asked: for this guest, protocol, name or address, and port. */
  readonly remember?: boolean | undefined;
}

/** What became of a question; `gone`: the guest gave up. */
export type AskOutcome = 'allowed' | 'denied' | 'timedOut' | 'gone';

/** A flow that waits for an answer. */
export interface AskQuestion {
  /** The number of the decision to ask. */
  readonly id: number;
  readonly guest: string;
  readonly protocol: 'tcp' | 'udp' | 'icmp';
  readonly source: string;
  readonly address: string;
  readonly port: number | undefined;
  /** The name that led the guest there. */
  readonly name: string | undefined;
  /** The rule that wants somebody asked. */
  readonly rule: string;
  /** ms from when it was asked. */
  readonly timeout: number;
  /** False: it was answered before. */
  allow(options?: AnswerOptions): boolean;
  deny(options?: AnswerOptions): boolean;
}

export interface FlowInfo {
  /** Unique in its network, never used again. */
  readonly id: number;
  readonly protocol: 'tcp' | 'udp';
  readonly direction: 'out' | 'in';
  readonly guest: string;
  readonly guestAddress: string;
  /** Where it goes on the host's side, or who came. */
  readonly peer: string;
  readonly state: string;
  readonly bytesToHost: number;
  readonly bytesToGuest: number;
  /** ms since it began. */
  readonly age: number;
  /** The connection with the guest in numbers, when `flows` was asked for it. */
  readonly tcp?: TcpInfo | undefined;
}

/** What `flows` tells besides. */
export interface FlowsOptions {
  /** Only flows with a greater `id`. */
  readonly after?: number | undefined;
  /** Also `tcp` of each TCP flow. Default false: it is many numbers. */
  readonly tcp?: boolean | undefined;
}

export interface PortInfo {
  /** Unique in its network, never used again. */
  readonly id: number;
  readonly protocol: 'tcp' | 'udp';
  /** An address, `localhost` or `*` (IPv4 and IPv6), or `unix:/PATH`. */
  readonly host: string;
  /** 0 of a unix socket. */
  readonly port: number;
  /** `first guest`, a name, or an address. */
  readonly target: string;
  readonly guestPort: number;
  /** As `--publish` takes it, with the chosen port. */
  readonly spec: string;
  /** It comes back after a restart: it is in the state file. */
  readonly kept: boolean;
  /** Why it does not listen yet, where it came back and somebody else has its place. */
  readonly waiting?: string;
  /** Connections, or UDP clients, of now. */
  readonly clients: number;
  readonly counters: Readonly<Record<string, number>>;
}

export interface LeaseView {
  readonly ip: string;
  readonly mac: string;
  readonly hostname?: string | undefined;
  readonly guest?: string | undefined;
  /** ms from now; Infinity for never. */
  readonly expiresIn: number;
}

export interface ExplainQuery {
  readonly protocol?: 'tcp' | 'udp' | 'icmp' | undefined;
  /** IPv4 address or a name. */
  readonly host: string;
  readonly port?: number | undefined;
  readonly guest?: string | undefined;
}

export interface KeepOptions {
  /** false: the port ends with this process, also where there is a state file. Default true. */
  readonly keep?: boolean | undefined;
}

/** A published port: `close` withdraws it. */
export interface Published {
  readonly id: number;
  readonly host: string;
  /** The chosen one where 0 was asked for. */
  readonly port: number;
  readonly spec: PublishSpec;
  close(): void;
}

/** A service inside the virtual network. */
export interface GuestService {
  close(): void;
}

export interface NetworkEvents {
  attached: [guest: Guest];
  detached: [guest: Guest, reason: Error | undefined];
  lease: [event: DhcpEvent];
  published: [port: PortInfo];
  unpublished: [port: PortInfo];
  /** Something a person should know; also logged. */
  warning: [message: string];
  /** A flow waits for an answer; without one within the timeout it is denied. */
  ask: [question: AskQuestion];
  /** What became of a question. */
  answered: [question: AskQuestion, outcome: AskOutcome];
  /** The policy decided; see docs/policy.md for which decisions are told. */
  decision: [entry: AuditEntry];
  started: [];
  stopped: [];
}

/** `guest`: the name of who connected. */
export type StreamHandler = (stream: Duplex, guest: string) => void;
/** `route`: by whom an intercepted connection goes. */
export type Explanation = Decision & { readonly address: string; readonly route?: Route | undefined };
