/** vpnkit's flags as a network of netproxy's, and vpnkit's port API beside it. */
import * as z from 'zod';
import { type Config, checkFlag, configSchema, field, loadFile } from '../../config/index.js';
import { NetproxyError } from '../../core/index.js';
import type { DropIn } from '../drop-in.js';
import { type GoValues, parseGoFlags } from '../go-flags.js';
import { VpnkitApi, VpnkitPorts } from './ports.js';

export const VPNKIT_FLAGS = {
  ethernet: {
    kind: 'strings',
    help: 'Where guests attach: a path, unix:PATH, tcp:HOST:PORT or fd:N (several)',
  },
  port: { kind: 'string', help: 'Where the port API listens: a path, or unix:PATH' },
  'gateway-ip': { kind: 'string', help: 'Address of the gateway (default 192.168.65.1)' },
  'host-ip': { kind: 'string', help: 'Address by which guests reach the host (default 192.168.65.2)' },
  'lowest-ip': { kind: 'string', help: 'Address of the first guest (default 192.168.65.3)' },
  'server-macaddr': { kind: 'string', help: 'MAC address of the gateway (default f6:16:36:bc:f9:c6)' },
  mtu: { kind: 'int', help: 'Largest IP packet (default 1500)' },
  domain: { kind: 'string', help: "The guests' domain" },
  dns: { kind: 'string', help: 'File of name servers: nameserver, zone, timeout, order, search' },
  http: { kind: 'string', help: 'File of proxies: http, https, exclude; read again when it changes' },
  'dhcp-json': { kind: 'string', help: 'File with searchDomains and domainName, read at the start' },
  'gateway-forwards': {
    kind: 'string',
    help: 'File of TCP and UDP ports of the gateway that lead to addresses which the host dials, read at the start',
  },
  pcap: { kind: 'string', help: 'Capture all frames to a pcap or pcapng file' },
  debug: { kind: 'bool', help: 'Tell more' },
} as const;

type Values = GoValues<typeof VPNKIT_FLAGS>;

const REMEDY = 'docs/vpnkit.md says what the file holds.';
const dhcpFile = z.strictObject({
  searchDomains: z.array(field.dnsName).optional(),
  domainName: field.dnsName.optional(),
});
const forwardsFile = z.array(
  z.strictObject({
    protocol: z.literal(['tcp', 'udp'], { error: 'tcp or udp' }),
    external_port: field.whole('', 1, 65_535),
    internal_ip: field.ipv4,
    internal_port: field.whole('', 1, 65_535),
  }),
  { error: 'a list of forwards' },
);
type Forward = z.output<typeof forwardsFile>[number];

/** What to do with a command line; undefined: tell the help. Throws ERR_NETPROXY_CONFIG. */
export function vpnkitDropIn(argv: readonly string[]): DropIn | undefined {
  const { values, rest, help } = parseGoFlags(VPNKIT_FLAGS, argv);
  if (help) return undefined;
  if (rest[0] !== undefined) throw bad(`"${rest[0]}" is no flag`);
  const forwards = forwardsOf(values['gateway-forwards']);
  const undo: (() => void)[] = [];
  return {
    config: configOf(values),
    begin: async (network, logger) => {
      for (const { protocol, external_port, internal_ip, internal_port } of forwards)
        network.policy.forwardGateway(protocol, external_port, internal_ip, internal_port);
      if (values.port === undefined) return;
      const api = new VpnkitApi(new VpnkitPorts(network), logger);
      undo.push(() => {
        api.close();
      });
      logger.info(`port API at ${await api.listen(values.port)}`);
    },
    ready: () => undefined,
    close: () => {
      for (const step of undo.splice(0)) step();
    },
  };
}

function bad(message: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', message, {
    remedy: 'netproxy vpnkit -help lists the flags.',
  });
}

function forwardsOf(file: string | undefined): readonly Forward[] {
  if (file === undefined) return [];
  return loadFile(file, forwardsFile, REMEDY);
}

function configOf(values: Values): Config {
  const { shape } = configSchema;
  const file = values['dhcp-json'];
  const dhcp: z.output<typeof dhcpFile> = file === undefined ? {} : loadFile(file, dhcpFile, REMEDY);
  const domain = dhcp.domainName ?? values.domain;
  const gatewayIp = checkFlag('-gateway-ip', field.ipv4, values['gateway-ip'] ?? '192.168.65.1');
  const links = (values.ethernet ?? []).map((address) => ({ kind: 'vpnkit', address }));
  return {
    version: 1,
    subnet: `${gatewayIp.replace(/\.\d+$/, '.0')}/24`,
    gatewayIp,
    gatewayMac: checkFlag('-server-macaddr', field.mac, values['server-macaddr'] ?? 'f6:16:36:bc:f9:c6'),
    hostAlias: checkFlag('-host-ip', field.ipv4, values['host-ip'] ?? '192.168.65.2'),
    guestIp: checkFlag('-lowest-ip', field.ipv4, values['lowest-ip'] ?? '192.168.65.3'),
    mtu: checkFlag('-mtu', shape.mtu, values.mtu ?? 1500),
    dhcp: {
      ...(domain === undefined ? {} : { domain: checkFlag('-domain', field.dnsName, domain) }),
      ...(dhcp.searchDomains === undefined ? {} : { search: dhcp.searchDomains }),
    },
    ...(values.dns === undefined ? {} : { dns: { serversFile: values.dns } }),
    ...(values.http === undefined ? {} : { httpProxy: { file: values.http } }),
    ...(values.pcap === undefined ? {} : { pcap: values.pcap }),
    links: checkFlag('-ethernet', shape.links, links) ?? [],
    log: { level: values.debug === true ? 'debug' : 'info' },
  };
}
