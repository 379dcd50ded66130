/** The flags of gvproxy, and what they and its file come to. */
import { readFileSync } from 'node:fs';
import { field } from '../../config/index.js';
import { NetproxyError, cidrLast, formatIpv4, ipv4, parseCidr } from '../../core/index.js';
import type { GvproxyZone } from '../../dns/index.js';
import { type GoValues, parseGoFlags } from '../go-flags.js';
import { type GvproxyFile, loadGvproxyFile } from './file.js';
import type { GvproxySettings, GvproxySshForward } from './settings.js';

export const GVPROXY_FLAGS = {
  config: { kind: 'string', help: 'Use configuration file with command line override' },
  listen: { kind: 'strings', help: 'Control endpoint: unix://, tcp:// or vsock:// (several)' },
  debug: { kind: 'bool', help: 'Print debug info' },
  pcap: { kind: 'string', help: 'Capture network traffic to a pcap or pcapng file' },
  mtu: { kind: 'int', help: 'Set the MTU (default 1500)' },
  'ssh-port': {
    kind: 'int',
    help: 'Port to access the guest virtual machine, 1024 to 65535; -1: none (default 2222)',
  },
  'listen-vpnkit': { kind: 'string', help: 'VPNKit socket to be used by Hyperkit: unix://' },
  'listen-qemu': { kind: 'string', help: 'Socket to be used by QEMU: unix:// or tcp://' },
  'listen-bess': { kind: 'string', help: 'Socket to be used by Bess-compatible applications: unixpacket://' },
  'listen-stdio': { kind: 'string', help: 'Frames on standard input and output: any value' },
  'listen-vfkit': { kind: 'string', help: 'Socket to be used by vfkit-compatible applications: unixgram://' },
  'forward-sock': { kind: 'strings', help: 'Forwards a unix socket to the guest virtual machine over SSH' },
  'forward-dest': { kind: 'strings', help: 'Path of the socket in the guest virtual machine' },
  'forward-user': { kind: 'strings', help: 'SSH user to use for unix socket forward' },
  'forward-identity': { kind: 'strings', help: 'Path to SSH identity key for forwarding' },
  'pid-file': { kind: 'string', help: 'Generate a file with the PID in it' },
  'log-file': { kind: 'string', help: 'Output log messages to a given file path' },
  services: {
    kind: 'string',
    help: 'Exposes the same HTTP API as the -listen flag, without the /connect endpoint',
  },
  'ec2-metadata-access': { kind: 'bool', help: 'Permits access to EC2 Metadata Service (TCP only)' },
  notification: { kind: 'string', help: 'Socket that gets notifications: unix://' },
  'guest-api': {
    kind: 'bool',
    help: 'netproxy: guests may expose ports of their own at port 80 of the gateway (default true)',
  },
  'forward-known-hosts': {
    kind: 'string',
    help: 'netproxy: host keys that a forward over SSH allows (default: the first one seen)',
  },
  'state-file': { kind: 'string', help: 'netproxy: keep leases over a restart in this file' },
  version: { kind: 'bool', help: 'Print version information' },
} as const;

type Values = GoValues<typeof GVPROXY_FLAGS>;

const SUBNET = '192.168.127.0/24';
const GUEST_MAC = '5a:94:ef:e4:0c:ee';
const DEFAULT_ZONES = ['containers.internal.', 'docker.internal.'];
const UUID = 'c3d68012-0208-11ea-9fd7-f2189899ab08';

/** What to do with a command line. */
export type GvproxyCommand =
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }
  | { readonly kind: 'run'; readonly settings: GvproxySettings };

/** Reads the command line, and the file that it names. Throws ERR_NETPROXY_CONFIG. */
export function parseGvproxy(argv: readonly string[]): GvproxyCommand {
  const { values, help } = parseGoFlags(GVPROXY_FLAGS, argv);
  if (help) return { kind: 'help' };
  if (values.version === true) return { kind: 'version' };
  const file = values.config === undefined ? undefined : loadGvproxyFile(values.config);
  const settings = settle(values, file);
  check(settings);
  return { kind: 'run', settings };
}

function bad(message: string, remedy?: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', message, remedy === undefined ? {} : { remedy });
}

function settle(values: Values, file: GvproxyFile | undefined): GvproxySettings {
  const { stack = {}, interfaces = {} } = file ?? {};
  const subnet = stack.subnet ?? SUBNET;
  const { gateway, guest, host } = addressesOf(subnet);
  const gatewayIp = stack.gatewayIP ?? gateway;
  const warnings: string[] = [];
  if (file !== undefined && values['ssh-port'] !== undefined)
    warnings.push(
      `-ssh-port is unavailable with a configuration file: add "127.0.0.1:${values['ssh-port']}: ${guest}:22" to its stack.forwards`,
    );
  const hostAlias = hostAliasOf(stack, host, gatewayIp);
  const own = file === undefined ? defaultsOf(values['ssh-port'] ?? 2222, guest) : undefined;
  const stdio = (values['listen-stdio'] ?? interfaces.stdio ?? '') !== '';
  return {
    warnings,
    listen: values.listen ?? file?.listen ?? [],
    services: text(values.services) ?? file?.services,
    qemu: text(values['listen-qemu']) ?? interfaces.qemu,
    vpnkit: text(values['listen-vpnkit']) ?? interfaces.vpnkit,
    bess: text(values['listen-bess']) ?? interfaces.bess,
    vfkit: text(values['listen-vfkit']) ?? interfaces.vfkit,
    stdio,
    subnet,
    gatewayIp,
    gatewayMac: stack.gatewayMacAddress,
    mtu: (values.mtu ?? 0) !== 0 ? values.mtu : stack.mtu,
    hostAlias,
    zones:
      file === undefined ? DEFAULT_ZONES.map((name) => zoneOf(name, gatewayIp, hostAlias)) : zonesOf(file),
    forwards: own?.forwards ?? Object.entries(stack.forwards ?? {}),
    staticLeases: own?.staticLeases ?? Object.entries(stack.dhcpStaticLeases ?? {}),
    vpnkitMacs: own?.vpnkitMacs ?? stack.vpnKitUUIDMacAddresses ?? {},
    search: stack.dnsSearchDomains ?? (file === undefined ? hostSearch() : undefined),
    blockAllOutbound: stack.blockAllOutbound === true,
    metadata:
      values['ec2-metadata-access'] ?? file?.['ec2-metadata-access'] ?? stack.ec2MetadataAccess ?? false,
    logLevel: values.debug === true ? 'debug' : levelOf(file?.['log-level'], warnings),
    logFile: text(values['log-file']) ?? file?.['log-file'],
    pidFile: text(values['pid-file']) ?? file?.['pid-file'],
    pcap: text(values.pcap) ?? stack['capture-file'],
    notification: notificationOf(text(values.notification), file?.notification),
    guestApi: values['guest-api'] ?? true,
    sshForwards: [...(file?.forwards ?? []), ...sshForwardsOf(values)],
    sshGuest: guest,
    sshKnownHosts: text(values['forward-known-hosts']),
    stateFile: text(values['state-file']),
  };
}

function sshForwardsOf(values: Values): GvproxySshForward[] {
  const sockets = values['forward-sock'] ?? [];
  const dests = values['forward-dest'] ?? [];
  const users = values['forward-user'] ?? [];
  const keys = values['forward-identity'] ?? [];
  if ([dests, users, keys].some(({ length }) => length !== sockets.length))
    throw bad(
      '-forward-sock, --forward-dest, --forward-user, and --forward-identity must all be specified together, the same number of times, or not at all',
    );
  return sockets.map((socket, i) => ({
    socket,
    dest: dests[i] ?? '',
    user: users[i] ?? '',
    identity: keys[i] ?? '',
  }));
}

/** An empty text is none, as in Go. */
function text(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}

function addressesOf(subnet: string) {
  const cidr = subnet.includes('/') ? parseCidr(subnet) : undefined;
  if (cidr === undefined || cidr.prefix > 29)
    throw bad(`failed to parse subnet: "${subnet}"`, 'Allowed is an IPv4 network of /8 to /29.');
  return {
    gateway: formatIpv4(ipv4(cidr.base + 1)),
    guest: formatIpv4(ipv4(cidr.base + 2)),
    host: formatIpv4(ipv4(cidrLast(cidr) - 1)),
  };
}

/** The host's search domains, as far as they are names. */
function hostSearch(): string[] {
  let lines: string[] = [];
  try {
    lines = readFileSync('/etc/resolv.conf', 'utf8').split('\n');
  } catch {
    // Then there are none.
  }
  const line = lines.find((one) => one.startsWith('search ')) ?? '';
  return line
    .split(/\s+/)
    .slice(1)
    .filter((name) => field.dnsName.safeParse(name).success);
}

/** What holds where no file says otherwise. */
function defaultsOf(sshPort: number, guest: string) {
  if (sshPort !== -1 && (sshPort < 1024 || sshPort > 65_535))
    throw bad('ssh-port value must be between 1024 and 65535');
  const forwards: [string, string][] = sshPort === -1 ? [] : [[`127.0.0.1:${sshPort}`, `${guest}:22`]];
  const staticLeases: [string, string][] = [[guest, GUEST_MAC]];
  return { forwards, staticLeases, vpnkitMacs: { [UUID]: GUEST_MAC } };
}

function zoneOf(name: string, gateway: string, host: string): GvproxyZone {
  const Records = [
    { Name: 'gateway', IP: gateway },
    { Name: 'host', IP: host },
  ];
  return { Name: name, Records, DefaultIP: '' };
}

function zonesOf({ stack = {} }: GvproxyFile): GvproxyZone[] {
  return (stack.dns ?? []).map(({ name, records = [], defaultIP = '' }) => ({
    Name: name,
    Records: records.map(({ name: own = '', ip, regexp }) => ({
      Name: own,
      IP: ip,
      ...(regexp === undefined ? {} : { Regexp: regexp }),
    })),
    DefaultIP: defaultIP,
  }));
}

/** gvproxy translates any address; of these netproxy has the one that means the host itself. */
function hostAliasOf(stack: NonNullable<GvproxyFile['stack']>, host: string, gateway: string): string {
  const nat = Object.entries(stack.nat ?? {});
  const [first, ...others] = nat;
  if (others.length > 0 || (first !== undefined && first[1] !== '127.0.0.1'))
    throw bad(
      'stack.nat: netproxy translates one address, and that to 127.0.0.1',
      `For example {"${host}": "127.0.0.1"}; rules about other addresses: netproxy serve --allow, --deny.`,
    );
  const alias = first?.[0] ?? host;
  const foreign = (stack.gatewayVirtualIPs ?? []).filter((ip) => ip !== alias && ip !== gateway);
  if (foreign.length > 0)
    throw bad(
      `stack.gatewayVirtualIPs: ${foreign.join(', ')}: the gateway has its own address and the one of stack.nat`,
    );
  return alias;
}

function levelOf(level: string | undefined, warnings: string[]): GvproxySettings['logLevel'] {
  switch ((level ?? 'info').toLowerCase()) {
    case 'trace':
    case 'debug':
      return 'debug';
    case 'info':
      return 'info';
    case 'warn':
    case 'warning':
      return 'warn';
    case 'error':
    case 'fatal':
    case 'panic':
      return 'error';
    default:
      warnings.push(`bad log level "${level}", falling back to "info"`);
      return 'info';
  }
}

function notificationOf(flag: string | undefined, file: string | undefined): string | undefined {
  if (flag === undefined) return file?.replace(/^unix:\/\//, '');
  if (!flag.startsWith('unix://')) throw bad('notification listen address must be unix:// address');
  return flag.slice('unix://'.length);
}

function check(settings: GvproxySettings): void {
  const { vpnkit, qemu, bess, vfkit } = settings;
  const scheme = (kind: string, where: string | undefined, prefix: string): void => {
    if (where !== undefined && !where.startsWith(prefix))
      throw bad(`${kind} listen address must be ${prefix} address`);
  };
  scheme('bess', bess, 'unixpacket://');
  scheme('vfkit', vfkit, 'unixgram://');
  const together = (one: [string, string | undefined], other: [string, string | undefined]): void => {
    if (one[1] !== undefined && other[1] !== undefined)
      throw bad(`cannot use ${one[0]} and ${other[0]} protocol at the same time`);
  };
  together(['qemu', qemu], ['vpnkit', vpnkit]);
  together(['bess', bess], ['vpnkit', vpnkit]);
  together(['qemu', qemu], ['bess', bess]);
}
