/**
 * The interface of crates/vsock-bridge. One `Poller` per network owns every descriptor: links, flow sockets, UDP
 * sockets, children. It holds one epoll descriptor that the event loop watches; one wake-up reports everything
 * that is ready.
 *
 * Conventions. A result is >= 0 on success and `-errno` on failure (`errnoName`); calls do not throw, except for an
 * argument of a wrong type. A handle is a positive integer; one that was closed gives -EBADF for ever, also when
 * its slot is in use again. Buffers are registered once and named by id; a range outside a buffer gives -EINVAL.
 * "Ints" arguments name a registered Int32Array. An address word is a 32-bit number in host order (127.0.0.1 is
 * 0x7f000001); an IPv6 address is four words, most significant first. Ports are in host order.
 */

export interface LinkInfo {
  /** One of LINK_KIND. */
  readonly kind: number;
  /** Interface name of a TAP, else ''. */
  readonly name: string;
  /** MTU of the TAP's interface where it can be asked for, else 0. */
  readonly mtu: number;
  /** Bytes of virtio-net header before each frame of a TAP; 0: none, so no super-segments. */
  readonly vnetHeader: number;
  /** The TAP hands over super-segments and unfilled checksums (set by us; unknown, so false, for an adopted one). */
  readonly offloads: boolean;
}

/** Counters of a link since it was opened. */
export interface LinkStats {
  readonly rxFrames: number;
  readonly rxBytes: number;
  /** Longer than its slot or shorter than 14 bytes. */
  readonly rxBad: number;
  readonly txFrames: number;
  readonly txBytes: number;
  /** Not taken by the peer: a full queue, or more than the pending limit. */
  readonly txDropped: number;
  /** Failed with another error (the interface is down, a frame too long). */
  readonly txErrors: number;
  /** Bytes waiting for the socket. */
  readonly pending: number;
}

export interface SocketAddress {
  readonly family: 'ipv4' | 'ipv6' | 'unix' | 'vsock';
  /** Address text; the path of a unix socket ('' when unnamed); the CID of a vsock. */
  readonly address: string;
  readonly port: number;
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface ReceivedDescriptor {
  /** Bytes; 0: the stream ended; else -errno. */
  readonly count: number;
  readonly text: string;
  /** -1: none. Else ours to adopt or close. */
  readonly descriptor: number;
}

export interface Capabilities {
  /** Version of the crate. */
  readonly version: string;
  /** 0 when /dev/net/tun opens, else -errno. */
  readonly tun: number;
  /** 0 when a user namespace with a network of its own can be made, else -errno. */
  readonly userns: number;
  /** The step that failed: `unshare user`, `write uid_map`, `link up` …; '' when none did. */
  readonly usernsStep: string;
  /** 0 when unprivileged ICMP sockets open, else -errno. */
  readonly pingSockets: number;
  /** AF_VSOCK is compiled in. Nothing is opened to find out whether it works. */
  readonly vsock: boolean;
}

export interface TapOptions {
  /** IFF_VNET_HDR with a 12-byte header. */
  readonly vnetHeader: boolean;
  /** Checksum and TSO offloads; needs `vnetHeader`. */
  readonly offloads: boolean;
}

export interface SpawnOptions {
  readonly argv: readonly string[];
  /** The whole environment, `NAME=value`. The command is looked up in its PATH. */
  readonly env: readonly string[];
  readonly cwd: string;
  /** Interface name inside, at most 15 bytes. */
  readonly tapName: string;
  readonly mtu: number;
  /** `aa:bb:cc:dd:ee:ff`; '' lets the kernel choose. */
  readonly mac: string;
  /** Address words. */
  readonly guestIp: number;
  readonly prefix: number;
  /** Default route; 0: none. */
  readonly gatewayIp: number;
  readonly vnetHeader: boolean;
  readonly offloads: boolean;
  /** Transmit queue of the TAP, frames. 10000 keeps a guest's bursts. */
  readonly txQueueLength: number;
  /** Text to stand in /etc/resolv.conf inside; '' leaves it alone. */
  readonly resolvConf: string;
  /** Make a user namespace (needed without root). */
  readonly userNamespace: boolean;
  /** Who the caller is inside the user namespace: 0 for root, or its own ids. */
  readonly insideUid: number;
  readonly insideGid: number;
  /** Make the sockets of nscd and systemd-resolved unreachable, so that names are asked of resolv.conf. */
  readonly hideNameDaemons: boolean;
}

export interface SpawnResult {
  /** 0, or the errno of the step that failed; then nothing is left behind. */
  readonly errno: number;
  /** What failed: `unshare user`, `open /dev/net/tun`, `bind resolv.conf`, `exec` …; '' on success. */
  readonly step: string;
  readonly pid: number;
  /** Handle of the link. */
  readonly tap: number;
  /** Handle of the child: becomes READable when the command ended. */
  readonly child: number;
}

export interface LookupResult {
  /** What `lookupName` or `lookupAddress` returned. */
  readonly id: number;
  /** 0; negative: an EAI_ number of <netdb.h>; positive: an errno. */
  readonly error: number;
  /** Addresses without duplicates by kind of socket, in the system's order; or one name. */
  readonly found: readonly string[];
}

export interface Poller {
  // ---- events
  /**
   * Sets what to report (READ, WRITE, RDHUP). Level-triggered, so ask for WRITE only while there is something to
   * write. ERR and HUP are always reported; with a mask of 0 once, then the handle is silent until it is asked for
   * something again. New handles begin with READ (links, listeners, UDP, children), WRITE (connecting) or 0
   * (accepted and adopted streams).
   */
  interest(handle: number, mask: number): number;
  /** The monotonic clock in whole milliseconds since the first poller was made: a small integer for 24 days. */
  now(): number;
  /**
   * Looks for events now, without sleeping and without `onReady`; returns their number in `ready`, which it overwrites. Where there
   * are none it looks for up to `linger` more µs, if that has paid lately.
   */
  poll(linger: number): number;
  /** Whether the poller keeps the process alive (it does at first). */
  ref(): void;
  unref(): void;
  /** Closes every handle, forgets the buffers, silences `onReady`. Idempotent; later calls give -EBADF. */
  close(): void;
  /** Closes a handle; a second time gives -EBADF. Pending bytes of a link are lost. */
  closeHandle(handle: number): number;
  /** Takes the descriptor back out of the poller; returns it. The caller closes it. */
  release(handle: number): number;
  /** Open handles. */
  handleCount(): number;

  // ---- timers
  /** A timer that reports READ when it rings; it does not repeat. */
  timerOpen(): number;
  /** Lets a timer ring in `delay` ms (0: at once; negative: not at all), instead of what was set before. */
  timerSet(handle: number, delay: number): number;

  // ---- buffers
  /**
   * Registers memory for native calls; returns its id (>= 1). The memory stays alive until `unregister`; it must not be
   * transferred or resized. -EINVAL: memory that is shared between threads, or can change its size.
   */
  register(memory: Uint8Array | Int32Array): number;
  unregister(buffer: number): number;
  /** Internet checksum (RFC 1071) of a range, not complemented, 0 to 0xffff. */
  checksum(buffer: number, offset: number, length: number): number;

  // ---- frame links
  /** Creates or attaches to a TAP, in the network namespace at a path (`/run/netns/x`, `/proc/1/ns/net`) or here. */
  linkOpenTap(name: string, netns: string | null, options: TapOptions): number;
  /**
   * Makes a link of a descriptor. A TAP is asked for its flags. `duplicate` leaves the caller its own; else
   * the poller owns it from here on, also when the call fails.
   */
  linkAdopt(fd: number, kind: number, duplicate: boolean): number;
  /** Makes a frame link of a connected stream (or seqpacket, see below); frames begin with `length` bytes that were read already. Same handle. */
  streamToLink(handle: number, kind: number, buffer: number, offset: number, length: number): number;
  linkInfo(handle: number): LinkInfo | null;
  linkStats(handle: number): LinkStats | null;
  /**
   * Reads frames into `buffer` from `start` up to `end`, at most `maxFrames`, and describes them in `meta` (RX_STRIDE
   * ints each). Returns their number; 0: nothing now. A stream link's incomplete last frame waits natively. Frames
   * of a stream stand as they came, at any alignment; those of a TAP or of packets begin at a multiple of 16 from
   * `start`. The range must have room for the longest frame: 131,076 bytes for a stream, 65,568 for others (-EINVAL).
   * Trouble comes after the frames before it: -EPIPE the stream ended, -EPROTO its framing is broken, else errno.
   */
  rxBatch(
    handle: number,
    buffer: number,
    start: number,
    end: number,
    metaInts: number,
    maxFrames: number,
  ): number;
  /**
   * Sends `count` frames described in `descInts` (TX_STRIDE). Checksums asked for (TX_CHECKSUM) are written into the
   * header piece, which must hold the headers up to and including the checksum field: IPv4 header, TCP, UDP, ICMP,
   * over IPv4 or IPv6; anything else stays as it is. With a GSO size a link without offloads gets the segments
   * cut and checksummed natively. Returns the bytes that wait for the socket (0: all gone), or a negative
   * result: -EINVAL for a wrong range (nothing was sent), else the link is broken. A frame that cannot go is dropped
   * and counted.
   */
  txBatch(handle: number, descInts: number, count: number): number;

  // ---- unix packets
  /**
   * Listens on a seqpacket path of mode 0600; `accept` gives streams that `streamToLink` makes links of with
   * LINK_KIND.seqpacket and a length of 0. -EADDRINUSE: the path is taken, also by a dead socket.
   */
  seqpacketListen(path: string, backlog: number): number;
  /** Binds a datagram path of mode 0600 for many peers; buffers in bytes, or less where the system does not let us. */
  datagramListen(path: string, receiveBuffer: number, sendBuffer: number): number;
  /**
   * `rxBatch` of a datagram port: the fourth int of each description is the peer's handle. A handle that was not seen
   * before is a new peer, a link for `txBatch`, WRITE, `linkStats` and `closeHandle`; an entry of length 0 tells of a peer
   * (`VFKT`) without a frame. A peer is known by the address it is bound to until its handle is closed. `linkStats`
   * of the port counts the datagrams of nobody.
   */
  datagramBatch(
    port: number,
    buffer: number,
    start: number,
    end: number,
    metaInts: number,
    maxFrames: number,
  ): number;
  /** Whether somebody has the peer's address still: 0, -ECONNREFUSED or -ENOENT. He does not notice. */
  peerProbe(peer: number): number;
  /** The path that a peer is bound to; a leading NUL: abstract. */
  peerPath(peer: number): string | null;

  // ---- streams
  /**
   * Begins a TCP connection; WRITE comes once when it is decided, with ERR when it failed: `soError` says how. IPv4 by
   * number. `receiveBuffer` is SO_RCVBUF, bytes; undefined: as the system chooses.
   */
  tcpConnect4(ip: number, port: number, receiveBuffer?: number): number;
  /** The same with an address text (IPv4 or IPv6, `%scope` allowed), from a local address when `bindIp` is not null. */
  tcpConnect(ip: string, port: number, bindIp: string | null): number;
  /** The pending error: 0, or -errno. Clears it. */
  soError(handle: number): number;
  /** 1 when a TCP connection to `targetPort` is connected to itself (its source port happened to be the target). */
  isSelfConnected(handle: number, targetPort: number): number;
  /** Address of this end, or of the peer; null when there is none. */
  address(handle: number, peer: boolean): SocketAddress | null;
  tcpListen(ip: string, port: number, backlog: number, v6Only: boolean): number;
  /** Connects at once or fails (-ENOENT, -ECONNREFUSED, -EAGAIN: its backlog is full). A leading NUL: abstract. */
  unixConnect(path: string): number;
  unixListen(path: string, backlog: number): number;
  /** AF_VSOCK; -EPERM when the environment says NETPROXY_NO_VSOCK=1. CID 0xffffffff: any. */
  vsockConnect(cid: number, port: number): number;
  vsockListen(port: number, backlog: number): number;
  /** Takes a connection; `outInts` (or 0) gets ACCEPT_INTS values. -EAGAIN: none. */
  accept(listener: number, outInts: number): number;
  /** Makes a stream handle of a connected descriptor (see `linkAdopt` for `duplicate`). */
  adoptStream(fd: number, duplicate: boolean): number;
  /** A listening descriptor (socket activation). */
  adoptListener(fd: number, duplicate: boolean): number;
  /** Writes slices [start, start + count) of `slicesInts` (SLICE_STRIDE); returns bytes taken, -EAGAIN for none. */
  writev(handle: number, slicesInts: number, start: number, count: number): number;
  /** Reads into up to two ranges of a buffer (the second length may be 0); 0: the stream ended, -EAGAIN: nothing now. */
  readv(
    handle: number,
    buffer: number,
    offset1: number,
    length1: number,
    offset2: number,
    length2: number,
  ): number;
  /** Like `readv` with one range, but the bytes stay. */
  peek(handle: number, buffer: number, offset: number, length: number): number;
  /** Sends FIN. */
  shutdownWrite(handle: number): number;
  /** Ends a TCP connection by RST and closes the handle. */
  reset(handle: number): number;
  /** Bytes in the socket's send queue that the peer has not acknowledged. */
  unacknowledged(handle: number): number;
  /** One of OPTION. */
  setOption(handle: number, option: number, value: number): number;
  /** Of a unix stream's peer. */
  peerCredentials(handle: number): PeerCredentials | null;

  /** Sends text on a unix stream, and with it the descriptor behind the handle `other` (0: none); bytes sent. */
  sendDescriptor(handle: number, other: number, text: string): number;
  /** At most 4 KiB of a unix stream, and a descriptor that came with them. */
  receiveDescriptor(handle: number): ReceivedDescriptor;
  /** Makes a handle of a bound UDP descriptor, which is ours from then on. */
  adoptUdp(fd: number): number;

  // ---- datagrams
  /** An unconnected UDP socket with its error queue on; `bindIp` null: any address of that family. */
  udpOpen(bindIp: string | null, port: number, ipv6: boolean): number;
  /** An unprivileged ICMP echo socket: whole ICMP messages without the IP header, port 0. -EACCES where not allowed. */
  pingOpen(ipv6: boolean): number;
  /**
   * Sends datagrams [start, start + count) of `descInts` (UDP_TX_STRIDE); returns how many the kernel took. When the
   * first one fails its error is returned (-EAGAIN, -EMSGSIZE, -ENETUNREACH …); skip it and call again.
   */
  udpSendBatch(handle: number, descInts: number, start: number, count: number): number;
  /**
   * Receives datagrams into slots of `slot` bytes in [start, end), described in `meta` (UDP_RX_STRIDE); returns their
   * number; 0: nothing now.
   */
  udpRecvBatch(
    handle: number,
    buffer: number,
    start: number,
    end: number,
    slot: number,
    metaInts: number,
  ): number;
  /** Drains the error queue into `meta` (UDP_ERROR_STRIDE), at most `max`; returns the number. */
  udpErrors(handle: number, metaInts: number, max: number): number;

  // ---- names
  /**
   * A pool of threads for getaddrinfo and getnameinfo: at most `threads` (1 to 64) at once and `queue` calls (1 to 65,536)
   * that wait. The handle becomes READable when something is done. Closing it forgets what waits; calls under way end
   * by themselves.
   */
  lookupOpen(threads: number, queue: number): number;
  /** Asks for all addresses of a name; returns a number for `lookupTake`. -EAGAIN: the queue is full. */
  lookupName(handle: number, name: string): number;
  /** Asks for the name of an IPv4 or IPv6 address. */
  lookupAddress(handle: number, address: string): number;
  /** Something that is done, or null. */
  lookupTake(handle: number): LookupResult | null;

  // ---- namespaces
  /**
   * Makes a network namespace with a configured TAP and a command that waits in it for `spawnGo`. The command has our
   * standard streams and our place in the terminal, and dies with the thread that started it.
   */
  spawnInNetns(options: SpawnOptions): SpawnResult;
  /** Lets the command run. -errno when exec failed (-ENOENT: not found); then the child is gone. */
  spawnGo(child: number): number;
  /** -EAGAIN while it runs, then the exit code, or CHILD_SIGNALED + signal. */
  childStatus(child: number): number;
  /** Sends a signal, never to another process that got the pid; -ESRCH when it ended. */
  kill(child: number, signal: number): number;
}

export interface PollerConstructor {
  /**
   * `onReady(count)` is called with [handle, events] pairs in `ready` (READY_STRIDE ints each). Throws when the process has
   * no descriptors left.
   */
  new (onReady: (count: number) => void, ready: Int32Array): Poller;
}

export interface NativeAddon {
  readonly Poller: PollerConstructor;
  /** Looks at what this host allows; forks a short-lived child for the user namespace. */
  capabilities(): Capabilities;
  /** CPU time of the calling thread, µs: without the compiler's and the collector's threads. */
  threadCpu(): number;
  /** The crate's numbers, for the test that compares them with constants.ts. */
  constants(): Readonly<Record<string, number>>;
}
