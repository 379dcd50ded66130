/**
 * Numbers that the crate and TypeScript agree on. The crate's `constants.rs` holds the same ones;
 * `native.test.ts` compares them.
 */
import { constants } from 'node:os';

/** Raised whenever a call of the addon changes or means something else: what was built before then is not used. */
export const INTERFACE = 1;

/** What a handle became ready for, and what to ask for with `interest`. */
export const READ = 1;
/** Room to write; for a link with pending bytes: they are all gone; for a timer: it rang. */
export const WRITE = 2;
/** A pending error (`soError` tells it; a UDP socket: `udpErrors`). Reported without being asked for. */
export const ERR = 4;
/** Both directions are over. Reported without being asked for. */
export const HUP = 8;
/** The peer sent FIN. Reported when asked for, once per call of `interest` that asks. */
export const RDHUP = 16;

/** Int32 values per event in the `ready` array: handle, events. */
export const READY_STRIDE = 2;
/** Int32 values per received frame: offset, length, flags (core's RX_…), GSO size. */
export const RX_STRIDE = 4;
/**
 * Int32 values per frame to send: header buffer, offset, length; flags (core's TX_…); GSO size; first payload piece:
 * buffer, offset, length; second piece: buffer, offset, length; 0. A piece of length 0 is absent.
 */
export const TX_STRIDE = 12;
/** Int32 values per slice of `writev`: buffer, offset, length. */
export const SLICE_STRIDE = 3;
/**
 * Int32 values per datagram to send: buffer, offset, length, port, destination (4 words), source (4 words; 0: the
 * kernel chooses), TTL (0: the socket's), TOS (0: the socket's). An IPv4 address is the first word.
 */
export const UDP_TX_STRIDE = 14;
/**
 * Int32 values per datagram received: offset, length, port, flags (UDP_…), source (4 words), destination (4 words), TTL,
 * TOS.
 */
export const UDP_RX_STRIDE = 14;
/**
 * Int32 values per drained error: errno, origin (1 local, 2 ICMP, 3 ICMPv6), type, code, info (the MTU for EMSGSIZE),
 * destination port, offender (4 words), destination (4 words), the first two words of the datagram that failed.
 */
export const UDP_ERROR_STRIDE = 16;
/** Int32 values that `accept` writes: family (4, 6, UNIX_FAMILY, VSOCK_FAMILY), peer port, peer address (4 words; vsock: CID). */
export const ACCEPT_INTS = 6;
export const UNIX_FAMILY = 1;
export const VSOCK_FAMILY = 40;

/** `udpRecvBatch` flag: the datagram was longer than its slot. */
export const UDP_TRUNCATED = 1;
/** `udpRecvBatch` flag: the source is an IPv6 address. */
export const UDP_IPV6 = 2;

/** `childStatus`: this plus the signal's number, when a signal ended the command. */
export const CHILD_SIGNALED = 256;

/** Values of `setOption`. */
export const OPTION = {
  /** IP_TTL or IPV6_UNICAST_HOPS, 1 to 255. */
  ttl: 1,
  /** IP_TOS or IPV6_TCLASS, 0 to 255. */
  tos: 2,
  /** TCP_NODELAY, 0 or 1 (flow sockets begin with 1). */
  noDelay: 3,
  /** SO_KEEPALIVE, seconds of idleness before the first probe; 0: off. */
  keepAlive: 4,
  /** SO_RCVBUF, bytes. */
  receiveBuffer: 5,
  /** SO_SNDBUF, bytes. */
  sendBuffer: 6,
  /** TCP_NOTSENT_LOWAT, bytes. */
  notSentLowat: 7,
  /** IP_MTU_DISCOVER or IPV6_MTU_DISCOVER as in <linux/in.h>: 0 never sets DF, 2 always. */
  mtuDiscover: 8,
  /** A link: bytes that may wait natively for the socket (default 1 MiB). */
  pendingLimit: 9,
} as const;

/** Frame link kinds for `linkAdopt` and `streamToLink`. */
export const LINK_KIND = {
  tap: 0,
  /** u32 big-endian length before each frame: QEMU. */
  be32: 1,
  /** u16 little-endian length before each frame: vpnkit, connect, stdio. */
  le16: 2,
  seqpacket: 3,
  /** A connected datagram socket. */
  dgram: 4,
} as const;

const { errno } = constants;
/** Results of native calls are negated errno values; these are the ones that callers tell apart. */
export const EAGAIN = -errno.EAGAIN;
export const EBADF = -errno.EBADF;
export const EINVAL = -errno.EINVAL;
/** A stream link's peer broke the framing (a frame under 14 or over 131,072 bytes). */
export const EPROTO = -errno.EPROTO;
/** A link's peer ended the stream (`rxBatch`); the peer is gone (writes). */
export const EPIPE = -errno.EPIPE;
export const EPERM = -errno.EPERM;
export const ECONNRESET = -errno.ECONNRESET;
export const EMFILE = -errno.EMFILE;

const names = new Map(Object.entries(errno).map(([name, value]) => [value, name]));
// Two names share a number; people know these.
names.set(errno.EAGAIN, 'EAGAIN');
// Linux numbers that Node has no names for.
for (const [value, name] of [
  [77, 'EBADFD'],
  [108, 'ESHUTDOWN'],
  [112, 'EHOSTDOWN'],
] as const) {
  if (process.platform === 'linux') names.set(value, name);
}

/** The name of a result: `errnoName(-111)` is `ECONNREFUSED`; numbers without a name come back as `E<number>`. */
export function errnoName(result: number): string {
  const value = Math.abs(result);
  return names.get(value) ?? `E${value}`;
}
