/** What the stack is told, and whom it tells. */
import type { Neighbour } from '../arp/index.js';
import type { BlockPool, Cidr, Ipv4, Logger, Mac, Memory, Millis, Random, Scheduler } from '../core/index.js';
import type { StackPort } from './port.js';
import type { TcpSyn } from './tcp-demux.js';
import type { Pausable, Rates } from './throttle.js';

export interface StackConfig {
  readonly subnet: Cidr;
  readonly gatewayIp: Ipv4;
  readonly gatewayMac: Mac;
  /** The host alias: the address by which guests reach the host itself; undefined when it is off. */
  readonly hostAlias: Ipv4 | undefined;
  /** Largest IP packet on the virtual network, bytes, 576 to 65535. */
  readonly mtu: number;
  /** What flows may buffer, bytes: all together, and those of one guest. Defaults: TOTAL_MEMORY, GUEST_MEMORY. */
  readonly totalMemory?: number | undefined;
  readonly guestMemory?: number | undefined;
  /** Silence of a guest's connection, ms, after which it is asked whether it is still there; absent: never (RFC 1122 section 4.2.3.6). */
  readonly keepAlive?: Millis | undefined;
  /** false: guests may take over each other's addresses (a service that moves between them). Default true. */
  readonly antiSpoof?: boolean | undefined;
  /** Frames a second of one guest that go to all others, of each kind. Default FLOODS. */
  readonly floods?: number | undefined;
}

/** What one guest's port is to be like. */
export interface PortOptions {
  /** Largest IP packet towards it, bytes; default the network's. */
  readonly mtu?: number | undefined;
  /** It sees the gateway and no other guest. */
  readonly isolated?: boolean | undefined;
  /** Bytes its flows may buffer; default the network's `guestMemory`. */
  readonly memory?: number | undefined;
  readonly rates?: Rates | undefined;
  /** Where its frames come from, to let them wait there. */
  readonly link?: Pausable | undefined;
}

export interface StackDeps {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly memory: Memory;
  readonly pool: BlockPool;
  readonly logger: Logger;
}

export const TOTAL_MEMORY = 512 * 1024 * 1024;
export const GUEST_MEMORY = 128 * 1024 * 1024;

/** A received datagram; reused, copy what you keep. */
export interface UdpIn {
  port: StackPort;
  /** Undefined while the sender has no address yet (DHCP). */
  neighbour: Neighbour | undefined;
  source: Ipv4;
  sourcePort: number;
  destination: Ipv4;
  destinationPort: number;
  /** The sender's MAC. */
  macHigh: number;
  macLow: number;
  bytes: Uint8Array;
  offset: number;
  length: number;
  ttl: number;
  /** DSCP and ECN. */
  tos: number;
  dontFragment: boolean;
}

/** A ping to an address that is neither the gateway nor the alias; reused, copy what you keep. */
export interface EchoIn {
  neighbour: Neighbour;
  destination: Ipv4;
  /** The ICMP message from its type on, header and data. */
  bytes: Uint8Array;
  offset: number;
  length: number;
  ttl: number;
  tos: number;
  dontFragment: boolean;
}

/** Who decides what becomes of flows: the services and the forwarder, behind the policy. */
export interface StackUpper {
  /** A SYN for which no connection stands. */
  tcp(syn: TcpSyn): void;
  udp(datagram: UdpIn): void;
  echo(echo: EchoIn): void;
  /** A guest has no socket on this UDP port, says its ICMP about a datagram from this peer. */
  portClosed(neighbour: Neighbour, guestPort: number, peer: Ipv4, peerPort: number): void;
}

/** What the stack did not deliver, by name. All start at 0. */
export function stackCounters() {
  return {
    shortFrame: 0,
    groupSource: 0,
    unknownEtherType: 0,
    ipv6: 0,
    badArp: 0,
    ipTruncated: 0,
    ipVersion: 0,
    ipHeaderLength: 0,
    ipTotalLength: 0,
    ipChecksum: 0,
    ipOptions: 0,
    sourceRoute: 0,
    /** Put together, longer than a packet may be. */
    reassembledTooLong: 0,
    /** Another protocol to all or to a group: IGMP and the like. */
    groupProtocol: 0,
    martianSource: 0,
    spoofedSource: 0,
    spoofedMac: 0,
    spoofedArp: 0,
    spoofedDhcp: 0,
    rogueDhcp: 0,
    rogueRouter: 0,
    isolated: 0,
    martianDestination: 0,
    notForUs: 0,
    ttlExceeded: 0,
    unknownProtocol: 0,
    tcpHeader: 0,
    tcpChecksum: 0,
    tcpNoConnection: 0,
    synBacklogFull: 0,
    udpTruncated: 0,
    udpLength: 0,
    udpChecksum: 0,
    /** Datagrams to all, or to a group: they pass between guests and never leave to the host. */
    broadcastKept: 0,
    multicastKept: 0,
    icmpTruncated: 0,
    icmpChecksum: 0,
    icmpIgnored: 0,
    icmpRateLimited: 0,
    guestPortUnreachable: 0,
    guestFragmentationNeeded: 0,
    guestErrorOther: 0,
    guestErrorBad: 0,
    floodLimited: 0,
    arpPendingFull: 0,
    arpLimited: 0,
    dhcpLimited: 0,
    /** Addresses of guests that were forgotten at the cap; `stats()` adds those of the ports that are there. */
    neighboursEvicted: 0,
  };
}

export type StackCounters = ReturnType<typeof stackCounters>;
