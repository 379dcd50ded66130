/** What a gvproxy is told by its flags and its file, in one shape. */
import type { GvproxyZone } from '../../dns/index.js';

/** A unix socket of the host that leads to one of the guest. */
export interface GvproxySshForward {
  /** A path, or unix://PATH. */
  readonly socket: string;
  readonly dest: string;
  readonly user: string;
  readonly identity: string;
}

export interface GvproxySettings {
  /** To be told when it starts. */
  readonly warnings: readonly string[];
  /** Control endpoints as URLs. */
  readonly listen: readonly string[];
  readonly services: string | undefined;
  readonly qemu: string | undefined;
  readonly vpnkit: string | undefined;
  readonly bess: string | undefined;
  readonly vfkit: string | undefined;
  readonly stdio: boolean;
  readonly subnet: string;
  readonly gatewayIp: string;
  readonly gatewayMac: string | undefined;
  readonly mtu: number | undefined;
  readonly hostAlias: string;
  readonly zones: readonly GvproxyZone[];
  /** Search domains for guests; undefined: none. */
  readonly search: readonly string[] | undefined;
  /** Host address (`udp:` in front for UDP) to guest address. */
  readonly forwards: readonly (readonly [local: string, remote: string])[];
  /** Address and MAC address. */
  readonly staticLeases: readonly (readonly [ip: string, mac: string])[];
  /** MAC addresses of vpnkit guests by their UUIDs. */
  readonly vpnkitMacs: Readonly<Record<string, string>>;
  readonly blockAllOutbound: boolean;
  /** Guests may reach 169.254.169.254 by TCP. */
  readonly metadata: boolean;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly logFile: string | undefined;
  readonly pidFile: string | undefined;
  readonly pcap: string | undefined;
  /** Path of the socket that gets notifications. */
  readonly notification: string | undefined;
  readonly guestApi: boolean;
  readonly sshForwards: readonly GvproxySshForward[];
  /** Address of the guest that they lead to. */
  readonly sshGuest: string;
  /** Host keys that are allowed there; undefined: the first one seen. */
  readonly sshKnownHosts: string | undefined;
  readonly stateFile: string | undefined;
}
