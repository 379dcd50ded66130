/** What the proxy gets from outside: sockets, names, decisions, time. */
import type { Duplex } from 'node:stream';
import type { Ipv4, Logger, Millis, Scheduler } from '../core/index.js';
import type { Host } from './host.js';
import type { ProxySettings } from './settings.js';
import type { Credentials, ProxyUpstream } from './upstream.js';

/** Why not. */
export interface Denial {
  readonly kind: 'deny';
  readonly rule: string;
  readonly why: string;
  /** Its number in the audit log; 0: it has none. */
  readonly decision: number;
}

/** What may become of a destination. */
export type Judgement =
  /** `direct`: it never leaves by another proxy (the host itself). */
  { readonly kind: 'dial'; readonly ip: Ipv4; readonly port: number; readonly direct: boolean } | Denial;

/** Whose requests they are. */
export interface Client {
  /** The guest's name, for logs. */
  readonly name: string;
  /** The policy about a name, before it is resolved; undefined: it may be. */
  judgeName(name: string): Denial | undefined;
  /** The policy about an address. `name`: what led there. */
  judge(ip: Ipv4, port: number, name: string | undefined): Judgement;
  /** The policy about an intercepted connection, which it let go to that address, and which says this name itself. */
  judgeSaid(ip: Ipv4, port: number, name: string): Denial | undefined;
  /** Whether the guest was told that the name leads there. */
  wasLed(name: string, ip: Ipv4): boolean;
  /** The policy about a name that has no address here: an upstream may know it. Undefined: it may. */
  judgeUnknown(name: string, port: number): Denial | undefined;
}

export interface ProxyDeps {
  readonly scheduler: Scheduler;
  readonly logger: Logger;
  /** The settings of now. */
  settings(): ProxySettings;
  /** The address of a name as a guest would get it. Rejects with an error whose `errno` says why. */
  resolve(name: string): Promise<Ipv4>;
  /** A connected stream. Rejects with an error whose `errno` says why. `signal` gives the dial up. */
  dial(host: Host, port: number, signal: AbortSignal): Promise<Duplex>;
  /** TLS to an upstream over its connection. Rejects with an error whose `code` says why. */
  secure(stream: Duplex, upstream: ProxyUpstream): Promise<Duplex>;
  /** Credentials for an upstream that has none of its own. Rejects with an error whose message says why there are none. */
  credentials(upstream: ProxyUpstream): Promise<Credentials | undefined>;
  /** An upstream refused credentials of `credentials`. True: there are others now. */
  refused(upstream: ProxyUpstream): Promise<boolean>;
  /** Joins both for good, outside of Node's streams; false where it cannot, and nothing was done. `name`: what led to `peer`. */
  splice(guest: Duplex, host: Duplex, peer: string, name?: string): boolean;
}

export interface ProxyTimeouts {
  /** For a connection to an upstream or origin, its handshakes included. */
  readonly connect: Millis;
  /** From the request to the head of the answer. */
  readonly firstByte: Millis;
  /** Without a byte of a body. */
  readonly idle: Millis;
  /** A guest's connection between two requests, or with half of a head. */
  readonly keepAlive: Millis;
}

export const DEFAULT_TIMEOUTS: ProxyTimeouts = {
  connect: 30_000,
  firstByte: 300_000,
  idle: 900_000,
  keepAlive: 60_000,
};
