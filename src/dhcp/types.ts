/** What goes in and out of the server. */
import type { Cidr, Ipv4, Mac, Millis } from '../core/index.js';
import type { LeaseLimits, LeaseRefusal } from './leases.js';
import type { GuestKey, PoolConfig, StaticLease } from './pool.js';
import type { DhcpSettings } from './settings.js';
import type { DhcpMessage, DhcpParseError } from './wire.js';

export interface DhcpConfig extends LeaseLimits {
  readonly subnet: Cidr;
  /** The server's own address: server identifier, source of answers, default router and name server. */
  readonly gateway: Ipv4;
  /** Further addresses never handed out, such as the host alias. */
  readonly excluded?: readonly Ipv4[] | undefined;
  readonly range?: PoolConfig['range'];
  readonly statics?: readonly StaticLease[] | undefined;
  readonly settings?: DhcpSettings | undefined;
  /** Settings of one guest; what it names goes before the network's, and a static lease's before both. */
  readonly settingsFor?: ((guest: GuestKey) => DhcpSettings | undefined) | undefined;
  /**
   * Also answers clients that it has no record of and that ask for the address that they had before: ACK when it is
   * free, NAK when it is not. RFC 2131 section 4.3.2 wants silence, for the sake of other servers; there are none
   * here. Default false.
   */
  readonly authoritative?: boolean | undefined;
  /** Whether somebody other than this guest is known to use an address that has no lease. */
  readonly inUse?: ((ip: Ipv4, guest: GuestKey | undefined) => boolean) | undefined;
  readonly changed?: ((event: DhcpEvent) => void) | undefined;
  /** What is to be kept of this address (`DhcpServer.record`) is another thing now. Comes before the answer. */
  readonly recordChanged?: ((ip: Ipv4) => void) | undefined;
}

/** When, on both clocks. */
export interface DhcpInstant {
  readonly now: Millis;
  /** Milliseconds since 1970, for what is told to people and kept in files. */
  readonly wall: Millis;
}

export interface DhcpContext extends DhcpInstant {
  readonly guestId: GuestKey;
}

/** Where an answer goes: source port 67, destination port 68. */
export interface DhcpDestination {
  readonly kind: 'broadcast' | 'unicast';
  readonly ip: Ipv4;
  readonly mac: Mac;
}

export interface DhcpReply {
  readonly message: DhcpMessage;
  readonly to: DhcpDestination;
  /** An OFFER of an address that this client did not have before. */
  readonly fresh: boolean;
  /** An ACK of a lease: what it promises must be kept before it leaves. */
  readonly promises: boolean;
}

/** A lease for people, files and the API. */
export interface LeaseInfo {
  readonly ip: Ipv4;
  readonly mac: Mac;
  readonly hostname: string | undefined;
  /** Hexadecimal. */
  readonly clientId: string | undefined;
  readonly guest: GuestKey | undefined;
  /** When it ends on the monotonic clock; Infinity for never. */
  readonly expires: Millis;
}

export interface DhcpEvent {
  readonly kind: 'bound' | 'renewed' | 'released' | 'expired' | 'declined';
  readonly lease: LeaseInfo;
}

export type DhcpDrop =
  | DhcpParseError
  | LeaseRefusal
  /** From a server, without a message type, or of a type that only servers send. */
  | 'notARequest'
  /** Through a relay agent. */
  | 'relayed'
  /** A message without what its type needs. */
  | 'malformed'
  /** For another server. */
  | 'otherServer'
  /** About an address that the client does not hold. */
  | 'unknownLease'
  /** INFORM from outside the subnet. */
  | 'wrongNetwork';

export interface DhcpCounters {
  readonly received: Readonly<Record<'discover' | 'request' | 'decline' | 'release' | 'inform', number>>;
  readonly sent: Readonly<Record<'offer' | 'ack' | 'nak', number>>;
  readonly drops: Readonly<Partial<Record<DhcpDrop, number>>>;
  readonly addresses: {
    /** Given to another client because no fresh one was left. */
    readonly reused: number;
    /** Set aside because somebody answered on them. */
    readonly conflicts: number;
    /** Given up for the machine that took its holder's place. */
    readonly vacated: number;
  };
}
