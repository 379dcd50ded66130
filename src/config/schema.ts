/** The configuration file, version 1. Everything that the command line can say, and some more; unknown keys are refused. */
import * as z from 'zod';
import type { ListenKind } from '../link/index.js';
import { domainsSchema, zonesSchema } from './dns-names.js';
import * as field from './fields.js';
import { publishSchema } from './published.js';
import { list, section } from './section.js';

const yesNo = z.boolean({ error: 'true or false' });

const route = section({
  to: field.network.describe('Network, such as 10.1.0.0/16'),
  via: field.ipv4.optional().describe('Next hop in the subnet. Default: the gateway'),
});

/** What clients are told by DHCP beside their address. */
const answers = {
  leaseSeconds: field.whole('seconds', 60, 31_536_000).optional().describe('Default 86,400'),
  renewalSeconds: field
    .whole('seconds', 1, 31_536_000)
    .optional()
    .describe('When a lease is renewed (T1). Default: half of it'),
  rebindingSeconds: field
    .whole('seconds', 1, 31_536_000)
    .optional()
    .describe('When any server is asked to renew it (T2). Default: 7/8 of it'),
  domain: field.dnsName.optional().describe("The guests' domain"),
  search: list(field.dnsName).optional().describe('Search domains (RFC 3397)'),
  router: z
    .union([z.literal(false), field.ipv4], { error: 'false, or an IPv4 address of the subnet' })
    .optional()
    .describe('Default route; false: none. Default: the gateway'),
  dns: list(field.ipv4).optional().describe('Name servers. Default: the gateway'),
  ntp: list(field.ipv4).optional().describe('Time servers (option 42). Default: the gateway'),
  routes: list(route).optional().describe('Classless static routes (RFC 3442) beside the default route'),
};
const ownAnswers = {
  ...answers,
  hostname: field.hostname.optional().describe('Told to it as its host name'),
};

const staticLease = section({
  ip: field.ipv4,
  mac: field.mac.optional().describe('For the machine with this MAC address'),
  clientId: field.clientId.optional().describe('For the machine with this client id (option 61)'),
  guest: field.guestName.optional().describe('For the guest of this name'),
  ...ownAnswers,
}).refine(
  (entry) => (entry.mac === undefined && entry.clientId === undefined) !== (entry.guest === undefined),
  {
    error: 'ip with mac, clientId or both, or with guest',
  },
);

const dhcpSchema = section({
  ...answers,
  statics: list(staticLease)
    .optional()
    .describe('Addresses kept by MAC address, client id or guest name, and what their holders are told'),
});

/** What can be said about the guest of one link. */
const guestSchema = section({
  name: field.guestName
    .optional()
    .describe('Name in rules, published ports and logs. Default guest1, guest2, …'),
  ip: field.ipv4.optional().describe('Address kept for this guest'),
  mac: field.mac.optional().describe('The only MAC address that it may use'),
  mtu: field.whole('bytes', 576, 65_520).optional().describe('Largest IP packet towards it'),
  policy: list(field.rule).optional().describe('Rules for this guest alone, before the others'),
  maxFlows: field.whole('connections', 1, 1_000_000).optional().describe('Connections it may have at once'),
  dhcp: section(ownAnswers).optional().describe('What it is told by DHCP, before what all are'),
  memory: field
    .whole('bytes', 1_048_576, 68_719_476_736)
    .optional()
    .describe("Bytes that its flows buffer before they are held back; default the network's guestMemory"),
  isolation: yesNo.optional().describe("true: it sees the gateway and no other guest; default the network's"),
  rateUp: field.rate
    .optional()
    .describe("Bits per second from it at most, e.g. 100mbit; default the network's"),
  rateDown: field.rate.optional().describe("Bits per second to it at most; default the network's"),
}).describe('The guest of this link');

const guest = guestSchema.optional();

function listenerSchema<const K extends ListenKind>(
  kind: K,
  description: string,
  address = 'unix:/PATH, tcp:HOST:PORT, fd:N, connect:… to dial; vsock: PORT or CID:PORT',
) {
  return section({
    kind: z.literal(kind),
    address: field.linkAddress(kind).describe(address),
    guest,
  }).describe(description);
}

const linkSchema = z.discriminatedUnion(
  'kind',
  [
    listenerSchema('qemu', "QEMU's stream netdev: u32 big-endian lengths"),
    listenerSchema('vpnkit', 'The vpnkit protocol (VMN3T)'),
    listenerSchema('connect', 'HTTP POST /connect, then frames; other requests go to the control API'),
    listenerSchema('vsock', 'AF_VSOCK, carrying connect or vpnkit (needs the addon)'),
    listenerSchema(
      'vfkit',
      'A unix datagram socket, one frame each, many guests by their addresses (needs the addon)',
      'unix:/PATH',
    ),
    listenerSchema('bess', 'A unix seqpacket socket, one frame each (needs the addon)', 'unix:/PATH'),
    section({
      kind: z.literal('tap'),
      interface: field.interfaceName.describe('Name of the TAP; made when it does not exist'),
      netns: field.path.optional().describe('Network namespace of the TAP: a name of ip netns, or a path'),
      guest,
    }).describe('A TAP interface (needs the addon)'),
    section({ kind: z.literal('tap-fd'), fd: field.descriptor, guest }).describe(
      'A TAP opened by the parent (needs the addon)',
    ),
    section({
      kind: z.literal('fd'),
      fd: field.descriptor,
      framing: field.oneOf('qemu', 'vpnkit', 'connect'),
      guest,
    }).describe('A connected stream socket of the parent'),
    section({ kind: z.literal('stdio'), guest }).describe('Frames on standard input and output'),
  ],
  { error: 'one of qemu, vpnkit, connect, vsock, vfkit, bess, tap, tap-fd, fd, stdio, with its keys' },
);

const dnsSchema = section({
  hosts: z
    .record(field.dnsName, field.ipv4, { error: 'names with their IPv4 addresses' })
    .optional()
    .describe('More names that the gateway answers itself'),
  zones: zonesSchema.optional().describe('Zones of your own, answered with authority'),
  deadline: field.whole('milliseconds', 100, 60_000).optional().describe('Until SERVFAIL. Default 5,000'),
  servers: list(field.dnsServer).optional().describe("Servers instead of the system's"),
  domains: domainsSchema.optional().describe('Servers of single domains; nobody else is asked about them'),
  serversFile: field.path
    .optional()
    .describe("vpnkit's file of servers instead of the system's: nameserver, zone, timeout, order"),
  cacheBytes: field
    .whole('bytes', 0, 1024 * 1024 * 1024)
    .optional()
    .describe('Answers kept. Default 4 MiB'),
  cacheSeconds: field.whole('seconds', 1, 604_800).optional().describe('At most. Default 86,400'),
  negativeSeconds: field
    .whole('seconds', 1, 86_400)
    .optional()
    .describe('NXDOMAIN and NODATA are kept at most. Default 900'),
  staleSeconds: field
    .whole('seconds', 0, 604_800)
    .optional()
    .describe('Answers are given after their end when no server answers. Default 0'),
  rebindProtection: yesNo
    .optional()
    .describe('true: names of the open network with private addresses are refused. Default false'),
  privateNames: list(field.dnsName)
    .optional()
    .describe('Domains that may have private addresses all the same'),
  rate: field
    .whole('queries', 0, 10_000_000)
    .optional()
    .describe('A second, of one guest; more is refused. Default 0: no limit'),
});

const upstreams = list(field.upstream);
const webPort = field.whole('', 1, 65_535);

export const httpProxySchema = section({
  explicit: yesNo.optional().describe('false: no proxy on the gateway. Default true'),
  port: field.whole('', 1, 65_535).optional().describe('Its port on the gateway. Default 3128'),
  names: list(field.dnsName)
    .optional()
    .describe('Names of the gateway for those who want the proxy. Default proxy.netproxy.internal'),
  transparent: field
    .oneOf('auto', 'on', 'off')
    .optional()
    .describe('Interception of connections to web servers. auto: where an upstream is set. Default auto'),
  httpPorts: list(webPort).optional().describe('Their ports, http. Default 80'),
  httpsPorts: list(webPort).optional().describe('Their ports, TLS. Default 443'),
  http: upstreams.optional().describe('Upstream proxies for http, in the order in which they are tried'),
  https: upstreams.optional().describe('For CONNECT. Default: those of http'),
  noProxy: list(field.noProxy)
    .optional()
    .describe('What goes past them: names, addresses, networks, .example.org, <local>'),
  pac: field.pac
    .optional()
    .describe('Proxy auto-config file, by path or URL; it goes before the lists, which hold when it fails'),
  pacFailure: field
    .oneOf('direct', 'deny')
    .optional()
    .describe('What happens while it does not work and there are no lists. Default direct'),
  pacRefresh: field
    .whole('seconds', 10, 86_400)
    .optional()
    .describe('Until it is fetched again from its URL. Default 600'),
  file: field.path.optional().describe("http_proxy.json as vpnkit's; read again when it changes"),
  environment: yesNo
    .optional()
    .describe('http_proxy, https_proxy and no_proxy, where nothing else says whom to ask. Default true'),
  system: yesNo
    .optional()
    .describe(
      'Proxies that are set in the operating system, where nothing else says whom to ask. Default true',
    ),
  caFile: field.path
    .optional()
    .describe(
      "Certificates in PEM, believed beside Node's, for upstreams and proxy auto-config files by https",
    ),
  credentialsCommand: field.command
    .optional()
    .describe('Run by the shell; prints USER:PASSWORD for upstreams that have none in their URL'),
}).describe('The HTTP proxy on the gateway, and the proxies behind it');

const policySchema = section({
  default: field
    .oneOf('allow', 'deny', 'ask')
    .optional()
    .describe('What happens where no rule fits. Default allow'),
  askTimeout: field
    .whole('milliseconds', 100, 120_000)
    .optional()
    .describe('Until a question of an "ask" rule is answered by no. Default 30,000'),
  rules: list(field.rule)
    .optional()
    .describe('"allow …", "deny …", "ask …", "redirect …"; the first that fits decides'),
  log: field
    .oneOf('denied', 'all')
    .optional()
    .describe('Which decisions the audit log tells. Default denied'),
});

const limitsSchema = section({
  dialsPerGuest: field.whole('dials', 1, 1_000_000).optional().describe('Connections under way per guest'),
  dialsPerDestination: field
    .whole('dials', 1, 1_000_000)
    .optional()
    .describe('Connections under way per guest and address'),
  flowsPerGuest: field.whole('connections', 1, 1_000_000).optional().describe('Connections per guest'),
  dialTimeout: field.whole('milliseconds', 100, 600_000).optional().describe('Until a dial is given up'),
  udpPerGuest: field.whole('mappings', 1, 65_535).optional().describe('UDP mappings per guest'),
  udpTotal: field.whole('mappings', 1, 1_000_000).optional().describe('UDP mappings of all guests'),
  udpIdle: field
    .whole('milliseconds', 1_000, 86_400_000)
    .optional()
    .describe('Until a quiet mapping of one request and one reply goes. Default 30,000'),
  udpStreamIdle: field
    .whole('milliseconds', 1_000, 86_400_000)
    .optional()
    .describe('Until a quiet mapping goes on which traffic went both ways repeatedly. Default 180,000'),
  flowBuffer: field
    .whole('bytes', 65_536, 16_777_216)
    .refine((bytes) => (bytes & (bytes - 1)) === 0, { error: 'a power of two, 65,536 to 16,777,216 bytes' })
    .optional()
    .describe('Bytes a flow buffers at most, each way; a power of two. Default 1 MiB'),
  totalMemory: field
    .whole('bytes', 1_048_576, 68_719_476_736)
    .optional()
    .describe('Bytes that all flows buffer together before they are held back. Default 512 MiB'),
  guestMemory: field
    .whole('bytes', 1_048_576, 68_719_476_736)
    .optional()
    .describe("Bytes that one guest's flows buffer before they are held back. Default 128 MiB"),
  keepAlive: field
    .whole('milliseconds', 1_000, 604_800_000)
    .optional()
    .describe('Silence after which a guest is asked whether a TCP connection still stands. Default: never'),
  busyPoll: field
    .whole('microseconds', 0, 1_000)
    .optional()
    .describe('Looking for more to do before sleeping, where that has paid lately; 0: never. Default 80'),
});

export const dockerSchema = section({
  guestSock: field.enginePlace.describe(
    "The engine: unix:/PATH or tcp:HOST:PORT of the host, tcp:IP:PORT of a guest, hybrid:/PATH:PORT of a VM's vsock",
  ),
  listen: field.unixSocket.describe('Where its clients come: unix:/PATH'),
  hostIp: field.hostIp
    .optional()
    .describe('Address of the host for ports that -p does not bind to loopback. Default: as -p says'),
  guest: field.guestName
    .optional()
    .describe(
      'The guest that the engine is in. Default: the one at the address of guestSock, else the first',
    ),
}).describe("serve: a container engine's API, forwarded, and its containers' ports");

export const switchSchema = section({
  isolation: yesNo
    .optional()
    .describe('true: guests see the gateway and not each other; clones with one address work. Default false'),
  antiSpoof: yesNo.optional().describe("false: guests may take over each other's addresses. Default true"),
  floods: field
    .whole('frames', 1, 1_000_000)
    .optional()
    .describe(
      'Broadcasts a second of one guest that reach others; as many multicasts and unknown addresses. Default 1,000',
    ),
  rateUp: field.rate
    .optional()
    .describe('Bits per second from each guest at most, e.g. 100mbit. Default no limit'),
  rateDown: field.rate.optional().describe('Bits per second to each guest at most. Default no limit'),
}).describe('Guests among each other');

const logSchema = section({
  level: field.oneOf('debug', 'info', 'warn', 'error', 'silent').optional().describe('Default info'),
  format: field.oneOf('text', 'json').optional().describe('Default text'),
});

export const configSchema = section({
  $schema: z.string({ error: 'a URL or path of the JSON Schema' }).optional().describe('For editors'),
  version: z.literal(1, { error: '1' }).describe('Version of this format'),
  name: field.guestName.optional().describe('Name of the network in logs'),
  subnet: field.subnet
    .optional()
    .describe('Network of the guests. Default 192.168.127.0/24, or the next one that is free'),
  gatewayIp: field.ipv4.optional().describe('Default: the first address of the subnet'),
  gatewayMac: field.mac.optional().describe('Default 5a:94:ef:e4:0c:dd'),
  guestIp: field.ipv4
    .optional()
    .describe('Address of the first guest. Default: the second address of the subnet'),
  guestMac: field.mac
    .optional()
    .describe('MAC address for which guestIp is kept; run: that of the interface'),
  hostAlias: field.hostAlias
    .optional()
    .describe('Address by which guests reach the host: on, off or an address'),
  mtu: field
    .whole('bytes', 576, 65_520)
    .optional()
    .describe('Largest IP packet. Default 1,500; 65,520 for run'),
  udpNat: field
    .oneOf('full-cone', 'symmetric')
    .optional()
    .describe('Who may answer a guest by UDP: anybody, or only whom it talks to. Default full-cone'),
  links: list(linkSchema).optional().describe('How guests attach'),
  services: field.controlAddress
    .optional()
    .describe('Control API with full rights: unix:/PATH, tcp:HOST:PORT (with tokenFile), default'),
  servicesReadOnly: field.controlAddress.optional().describe('Control API for looking only, same addresses'),
  guestApi: yesNo
    .optional()
    .describe(
      'true: guests may ask the control API at port 80 of the gateway for what rules such as "allow api:self" grant. Default false',
    ),
  tokenFile: field.path
    .optional()
    .describe('Bearer token of the control API over TCP and on connect listeners; made when it is missing'),
  stateFile: field.path
    .optional()
    .describe(
      'Keeps leases, and ports, zones and rules that were set live, over a restart; made when it does not exist',
    ),
  dhcp: dhcpSchema.optional(),
  dns: dnsSchema.optional(),
  httpProxy: httpProxySchema.optional(),
  policy: policySchema.optional(),
  publish: list(publishSchema)
    .optional()
    .describe("Ports of the host that lead into guests, in Docker's syntax, or as ports with options"),
  bindHelper: field.path
    .optional()
    .describe(
      'Socket of netproxy bind-helper, asked for ports that this user may not bind (needs the addon)',
    ),
  sshForwards: list(field.sshForward)
    .optional()
    .describe('serve: unix sockets of the host that lead to unix sockets of guests, by ssh'),
  docker: dockerSchema.optional(),
  limits: limitsSchema.optional(),
  switch: switchSchema.optional(),
  log: logSchema.optional(),
  pcap: field.path.optional().describe('Capture of all frames: .pcap or .pcapng'),
  faults: field.faults.optional().describe('Faults on every link, e.g. loss=2%,delay=20ms'),
  json: yesNo.optional().describe('serve: events as JSON lines on standard output'),
  pidFile: field.path.optional().describe('serve: holds the process id while it runs'),
  readyFd: field.descriptor.optional().describe('serve: gets one line of JSON when everything listens'),
  exitWithParent: yesNo.optional().describe('serve: end when the parent process does'),
});

/** A configuration as it stands in a file. */
export type Config = z.infer<typeof configSchema>;
/** One link of a configuration. */
export type LinkConfig = z.infer<typeof linkSchema>;
/** What can be said about a link's guest. */
export type GuestConfig = z.infer<typeof guestSchema>;

/** The JSON Schema (draft 2020-12) of a configuration file. */
export function configJsonSchema(): Record<string, unknown> {
  return {
    ...z.toJSONSchema(configSchema, { io: 'input' }),
    title: 'netproxy configuration, version 1',
  };
}
