/** gvproxy's settings as a network of netproxy's, and gvproxy's services around it. */
import type { Config, LinkConfig } from '../../config/index.js';
import { checkFlag, configSchema } from '../../config/index.js';
import { type Logger, NetproxyError } from '../../core/index.js';
import { fromGvproxy } from '../../dns/index.js';
import type { Network } from '../../index.js';
import type { DropIn } from '../drop-in.js';
import { SshForward } from '../ssh-forward.js';
import { GvproxyApi } from './api.js';
import { Forwarder } from './forwarder.js';
import { Notifier } from './notifier.js';
import type { GvproxySettings } from './settings.js';
import { ZoneTable } from './zones.js';

/** Port of the gateway at which guests reach the API. */
const GUEST_API_PORT = 80;

export function gvproxyDropIn(settings: GvproxySettings): DropIn {
  const undo: (() => void)[] = [];
  let ready: () => void = () => undefined;
  return {
    config: configOf(settings),
    extra: { vpnkitMacs: settings.vpnkitMacs },
    begin: async (network, logger) => {
      const { begin, notifier } = servicesOf(settings, network, logger, undo);
      ready = () => notifier?.ready();
      await begin();
    },
    ready: () => {
      ready();
    },
    close: () => {
      for (const step of undo.splice(0)) step();
    },
  };
}

function servicesOf(settings: GvproxySettings, network: Network, logger: Logger, undo: (() => void)[]) {
  for (const warning of settings.warnings) logger.warn(warning);
  const forwarder = new Forwarder(network, logger);
  undo.push(() => {
    forwarder.close();
  });
  const zones = new ZoneTable((zone) => {
    network.dns.putZone(fromGvproxy(zone));
  });
  const { staticLeases } = settings;
  const api = new GvproxyApi({ network, forwarder, zones, staticLeases, logger });
  undo.push(() => {
    api.close();
  });
  const notifier =
    settings.notification === undefined ? undefined : new Notifier(settings.notification, network, logger);
  undo.push(() => notifier?.close());
  network.control = (socket, at) => {
    api.serve(socket, { rights: at.startsWith('vsock:') ? 'none' : 'full' });
  };
  const begin = async (): Promise<void> => {
    for (const zone of settings.zones) zones.add(zone);
    for (const [local, remote] of settings.forwards) {
      const udp = local.startsWith('udp:');
      await expose(forwarder, udp ? 'udp' : 'tcp', udp ? local.slice('udp:'.length) : local, remote);
    }
    if (settings.guestApi)
      network.listen(network.addresses.gateway, GUEST_API_PORT, (stream) => {
        const { remoteAddress: ip } = stream as { readonly remoteAddress?: string };
        api.serve(stream, ip === undefined ? { rights: 'none' } : { rights: 'guest', ip });
      });
    for (const { socket, ...rest } of settings.sshForwards) {
      const at = { ...rest, socket: socket.replace(/^unix:\/\//, ''), guest: settings.sshGuest, port: 22 };
      const forward = await SshForward.open(network, { ...at, knownHosts: settings.sshKnownHosts }, logger);
      undo.push(() => {
        forward.close();
      });
    }
    if (settings.services !== undefined) logger.info(`control API at ${await api.listen(settings.services)}`);
  };
  return { begin, notifier };
}

/** A forward that cannot be had ends the start, with the system's reason and what to do. */
async function expose(forwarder: Forwarder, protocol: string, local: string, remote: string): Promise<void> {
  try {
    await forwarder.expose({ protocol, local, remote });
  } catch (error) {
    const { cause, message } = error as Error;
    if (cause instanceof NetproxyError) throw cause;
    throw new NetproxyError(
      'ERR_NETPROXY_CONFIG',
      `forward of ${protocol} ${local} to ${remote}: ${message}`,
    );
  }
}

/** Throws ERR_NETPROXY_CONFIG naming the flag. */
function configOf(settings: GvproxySettings): Config {
  const { hostAlias, pidFile, pcap, stateFile } = settings;
  const { mtu, gatewayMac, search, metadata, blockAllOutbound } = settings;
  const { shape } = configSchema;
  const statics = settings.staticLeases.map(([ip, mac]) => ({ ip, mac }));
  return {
    version: 1,
    subnet: settings.subnet,
    gatewayIp: settings.gatewayIp,
    hostAlias,
    ...(mtu === undefined ? {} : { mtu: checkFlag('-mtu', shape.mtu, mtu) }),
    ...(gatewayMac === undefined ? {} : { gatewayMac }),
    ...(pidFile === undefined ? {} : { pidFile }),
    ...(pcap === undefined ? {} : { pcap }),
    ...(stateFile === undefined ? {} : { stateFile }),
    dhcp: {
      ...(checkFlag('dhcpStaticLeases', shape.dhcp, { statics }) ?? {}),
      ...(search === undefined ? {} : { search: [...search] }),
    },
    links: linksOf(settings),
    // gvproxy's guests know of proxies by themselves, or of none.
    httpProxy: { transparent: 'off' },
    ...(metadata || blockAllOutbound ? { policy: policyOf(metadata, blockAllOutbound) } : {}),
    log: { level: settings.logLevel },
  };
}

/** Whoever may not go out may still ask for names, as with gvproxy. */
function policyOf(metadata: boolean, blockAll: boolean): NonNullable<Config['policy']> {
  const rules = [...(metadata ? ['allow tcp:169.254.169.254'] : []), ...(blockAll ? ['allow dns:any'] : [])];
  return { rules, default: blockAll ? 'deny' : 'allow' };
}

/** The links; `-listen` sockets are `connect` ones, whose other requests go to the API. */
function linksOf({ listen, qemu, vpnkit, bess, vfkit, stdio }: GvproxySettings): LinkConfig[] {
  const links = [
    ...listen.map((address) => ({ kind: 'connect', address })),
    ...(qemu === undefined ? [] : [{ kind: 'qemu', address: qemu }]),
    ...(vpnkit === undefined ? [] : [{ kind: 'vpnkit', address: vpnkit }]),
    ...(bess === undefined ? [] : [{ kind: 'bess', address: bess.replace(/^unixpacket:/, 'unix:') }]),
    ...(vfkit === undefined ? [] : [{ kind: 'vfkit', address: vfkit.replace(/^unixgram:/, 'unix:') }]),
    ...(stdio ? [{ kind: 'stdio' }] : []),
  ];
  return checkFlag('a link', configSchema.shape.links, links) ?? [];
}
