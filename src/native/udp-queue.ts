/**
 * Datagrams on their way out: those of one turn wait here and leave together, with one `sendmmsg` for each socket.
 *
 * Theory of operation. `push` copies a datagram behind the others and links its description to those of its socket; the
 * first one asks the hub to flush at the end of the turn. A flush puts each socket's descriptions side by side and
 * hands them to the kernel. Nothing is allocated for a datagram.
 *
 * Limits: ENTRIES datagrams and ARENA bytes; a datagram more sends all of them at once. What a socket has no room for is
 * dropped and counted, as the kernel itself would.
 */
import { EAGAIN, EBADF, UDP_TX_STRIDE } from './constants.js';
import type { Hub } from './hub.js';

export const ENTRIES = 512;
/** Longest datagram, bytes. */
export const MAX_DATAGRAM = 65_535;
const ARENA = 256 * 1024;
/** Below this a loop copies faster than `set`, which needs a view of its own. */
const COPY_BYTES = 160;
const NONE = -1;

/** A socket's part of the queue. Changed by the queue only. */
export interface QueuedSocket {
  readonly handle: number;
  /** Its first and last datagram in the queue; NONE: it has none. */
  head: number;
  tail: number;
  /** The kernel did not take a datagram; `table[at + 3]` is its port, the four words from `at + 4` on its destination. */
  refused(result: number, table: Int32Array, at: number): void;
}

/** What `head` and `tail` of a socket are at first. */
export const UNQUEUED = NONE;

export class UdpQueue {
  /** Datagrams that no socket buffer had room for. */
  dropped = 0;
  private readonly hub: Hub;
  /** Payload; entries of the table that `refused` is given point here. */
  readonly bytes = new Uint8Array(ARENA);
  private readonly bytesId: number;
  /** Descriptions in the order in which they came, the next one of the same socket, and all in the order of sockets. */
  private readonly entries = new Int32Array(ENTRIES * UDP_TX_STRIDE);
  private readonly next = new Int32Array(ENTRIES);
  private readonly table = new Int32Array(ENTRIES * UDP_TX_STRIDE);
  private readonly tableId: number;
  private readonly sockets: (QueuedSocket | undefined)[] = [];
  private socketCount = 0;
  private count = 0;
  private used = 0;
  private readonly run = (): void => {
    this.flush();
  };

  constructor(hub: Hub) {
    this.hub = hub;
    this.bytesId = hub.poller.register(this.bytes);
    this.tableId = hub.poller.register(this.table);
  }

  /**
   * Queues a copy of a datagram of at most MAX_DATAGRAM bytes. `words`: IPv4 in the first, or the four of IPv6; TTL and TOS
   * 0: the socket's.
   */
  push(
    socket: QueuedSocket,
    bytes: Uint8Array,
    offset: number,
    length: number,
    port: number,
    words: number | readonly number[],
    ttl = 0,
    tos = 0,
  ): void {
    if (this.count === ENTRIES || this.used + length > ARENA) this.flush();
    if (this.count === 0) this.hub.defer(this.run);
    const { entries, used } = this;
    if (length <= COPY_BYTES) {
      for (let i = 0; i < length; i++) this.bytes[used + i] = bytes[offset + i]!;
    } else {
      this.bytes.set(bytes.subarray(offset, offset + length), used);
    }
    const at = this.count * UDP_TX_STRIDE;
    entries[at] = this.bytesId;
    entries[at + 1] = used;
    entries[at + 2] = length;
    entries[at + 3] = port;
    if (typeof words === 'number') {
      entries[at + 4] = words;
      entries.fill(0, at + 5, at + UDP_TX_STRIDE);
    } else {
      entries.set(words, at + 4);
      entries.fill(0, at + 8, at + UDP_TX_STRIDE);
    }
    entries[at + 12] = ttl;
    entries[at + 13] = tos;
    this.used += length;
    this.link(socket, this.count++);
  }

  /** Sends everything now. */
  flush(): void {
    const { sockets, socketCount } = this;
    let filled = 0;
    for (let i = 0; i < socketCount; i++) {
      const socket = sockets[i]!;
      sockets[i] = undefined;
      const start = filled;
      for (let entry = socket.head; entry !== NONE; entry = this.next[entry]!) {
        const from = entry * UDP_TX_STRIDE;
        const to = filled++ * UDP_TX_STRIDE;
        for (let k = 0; k < UDP_TX_STRIDE; k++) this.table[to + k] = this.entries[from + k]!;
      }
      socket.head = socket.tail = NONE;
      this.transmit(socket, start, filled);
    }
    this.socketCount = this.count = this.used = 0;
  }

  private link(socket: QueuedSocket, entry: number): void {
    this.next[entry] = NONE;
    if (socket.head === NONE) {
      socket.head = entry;
      this.sockets[this.socketCount++] = socket;
    } else {
      this.next[socket.tail] = entry;
    }
    socket.tail = entry;
  }

  private transmit(socket: QueuedSocket, start: number, end: number): void {
    const { poller } = this.hub;
    let tried = NONE;
    for (let at = start; at < end;) {
      const result = poller.udpSendBatch(socket.handle, this.tableId, at, end - at);
      if (result > 0) {
        at += result;
      } else if (result === EAGAIN || result === 0) {
        this.dropped += end - at;
        return;
      } else if (result === EBADF) {
        return;
      } else if (tried !== at) {
        // The errors of earlier datagrams are told here too: this one goes again.
        tried = at;
      } else {
        socket.refused(result, this.table, at * UDP_TX_STRIDE);
        at++;
      }
    }
  }
}
