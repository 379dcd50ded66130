/**
 * Reassembly of IPv4 fragments (RFC 791 section 3.2, RFC 815's idea of what is missing).
 *
 * Theory of operation. Fragments of a datagram (source, destination, protocol, id, port) are kept as they come, and put together when
 * none is missing: what a guest makes us hold is what it sent. A datagram lives REASSEMBLY_TIMEOUT from its first fragment; there are at most MAX_DATAGRAMS per port, MAX_ALL of all
 * ports, and MAX_FRAGMENTS per datagram. Overlapping fragments drop the whole datagram (as RFC 5722 demands for IPv6): no
 * honest sender makes them. An exact duplicate is ignored. Over its limit a port's oldest datagram goes; over the limit of
 * all, the oldest of the port that has most. Congestion that one fragment met is told of the whole (RFC 3168 section 5.3).
 */
import { type Ipv4, type Millis, ipv4 } from '../core/index.js';
import {
  IP_DESTINATION,
  IP_FRAGMENT,
  IP_ID,
  IP_MORE_FRAGMENTS,
  IP_PROTOCOL,
  IP_SOURCE,
  IP_TOS,
  IP_TOTAL_LENGTH,
} from './header.js';

/** RFC 3168 section 5. */
const ECN_CE = 3;

/** RFC 1122 section 3.3.2 says 60 to 120 s, Linux 30 s. ms. */
export const REASSEMBLY_TIMEOUT: Millis = 30_000;
export const MAX_DATAGRAMS = 64;
/** Of all ports; each has at most 64 KiB. */
export const MAX_ALL = 512;
export const MAX_FRAGMENTS = 1024;

/** Where the first fragment stood, for "time exceeded" and the TTL. */
interface Datagram {
  readonly source: number;
  readonly destination: number;
  readonly protocol: number;
  readonly id: number;
  readonly started: Millis;
  /** The first fragment's header with 8 bytes of payload, for ICMP; undefined until it came. */
  head: Uint8Array | undefined;
  /** Copies of the payloads, and where each begins. */
  readonly pieces: Uint8Array[];
  readonly starts: number[];
  /** A fragment was marked "congestion experienced". */
  congested: boolean;
  /** End of the payload, -1 until the last fragment came. */
  total: number;
  received: number;
  /** Sorted, disjoint [start, end) pairs. */
  readonly ranges: number[];
}

export interface ReassemblyCounters {
  fragments: number;
  reassembled: number;
  timedOut: number;
  evicted: number;
  overlapping: number;
  malformed: number;
}

/** A datagram that became whole: its header (fragment field cleared by the reader's rebuild) and payload. */
export interface Reassembled {
  readonly source: Ipv4;
  readonly destination: Ipv4;
  readonly protocol: number;
  readonly header: Uint8Array;
  readonly payload: Uint8Array;
}

export class Reassembler {
  readonly counters: ReassemblyCounters = {
    fragments: 0,
    reassembled: 0,
    timedOut: 0,
    evicted: 0,
    overlapping: 0,
    malformed: 0,
  };
  /**
   * Of each port, the oldest first: short lists that are searched. (A Map whose first entries go all the time leaves tables behind
   * that keep each other alive until the next full collection.)
   */
  private readonly ports = new Map<number, Datagram[]>();
  private count = 0;
  /** When `expire` looks again: never later than the oldest datagram's time. */
  private due: Millis = Number.POSITIVE_INFINITY;

  get size(): number {
    return this.count;
  }

  /** When `expire` may have something to do; Infinity when never. */
  next(): Millis {
    return this.due;
  }

  /** Takes a fragment whose header was checked. Returns the datagram when it is whole. */
  add(bytes: Uint8Array, view: DataView, at: number, port: number, now: Millis): Reassembled | undefined {
    this.counters.fragments++;
    const headerLength = (bytes[at]! & 15) * 4;
    const field = view.getUint16(at + IP_FRAGMENT);
    const start = (field & 0x1fff) * 8;
    const length = view.getUint16(at + IP_TOTAL_LENGTH) - headerLength;
    const end = start + length;
    const more = (field & IP_MORE_FRAGMENTS) !== 0;
    if (length === 0 || end > 65535 - headerLength || (more && length % 8 !== 0)) {
      this.counters.malformed++;
      return undefined;
    }
    const list = this.ports.get(port) ?? this.begin(port);
    const datagram = find(list, bytes, view, at) ?? this.open(list, bytes, view, at, now);
    const place = this.place(datagram, start, end, more);
    if (place === 'duplicate') return undefined;
    if (place === 'overlap') {
      this.counters.overlapping++;
      this.remove(list, datagram);
      return undefined;
    }
    datagram.pieces.push(bytes.slice(at + headerLength, at + headerLength + length));
    datagram.starts.push(start);
    datagram.received += length;
    if (!more) datagram.total = end;
    if ((bytes[at + IP_TOS]! & ECN_CE) === ECN_CE) datagram.congested = true;
    if (start === 0) datagram.head = bytes.slice(at, at + headerLength + Math.min(8, length));
    if (datagram.received !== datagram.total || datagram.head === undefined) return undefined;
    this.remove(list, datagram);
    this.counters.reassembled++;
    const head = datagram.head;
    if (datagram.congested) head[IP_TOS]! |= ECN_CE;
    const headView = new DataView(head.buffer, head.byteOffset);
    return {
      source: ipv4(headView.getUint32(IP_SOURCE)),
      destination: ipv4(headView.getUint32(IP_DESTINATION)),
      protocol: head[IP_PROTOCOL]!,
      header: head.subarray(0, (head[0]! & 15) * 4),
      payload: whole(datagram),
    };
  }

  /** Drops what is too old; returns first fragments (with port) that deserve an ICMP time exceeded, code 1. */
  expire(now: Millis): { readonly port: number; readonly head: Uint8Array }[] {
    const heads: { port: number; head: Uint8Array }[] = [];
    this.due = Number.POSITIVE_INFINITY;
    for (const [port, list] of this.ports) {
      for (let oldest = list[0]; oldest !== undefined; oldest = list[0]) {
        const due = oldest.started + REASSEMBLY_TIMEOUT;
        if (due > now) {
          this.due = Math.min(this.due, due);
          break;
        }
        this.remove(list, oldest);
        this.counters.timedOut++;
        if (oldest.head !== undefined) heads.push({ port, head: oldest.head });
      }
    }
    return heads;
  }

  forgetPort(port: number): void {
    const list = this.ports.get(port);
    if (list === undefined) return;
    this.count -= list.length;
    this.ports.delete(port);
  }

  private begin(port: number): Datagram[] {
    const list: Datagram[] = [];
    this.ports.set(port, list);
    return list;
  }

  private open(list: Datagram[], bytes: Uint8Array, view: DataView, at: number, now: Millis): Datagram {
    if (list.length >= MAX_DATAGRAMS) this.evictOldest(list);
    if (this.count >= MAX_ALL) this.evictOldest(this.fullest());
    const datagram: Datagram = {
      source: view.getInt32(at + IP_SOURCE),
      destination: view.getInt32(at + IP_DESTINATION),
      protocol: bytes[at + IP_PROTOCOL]!,
      id: view.getUint16(at + IP_ID),
      started: now,
      head: undefined,
      pieces: [],
      starts: [],
      congested: false,
      total: -1,
      received: 0,
      ranges: [],
    };
    list.push(datagram);
    this.count++;
    this.due = Math.min(this.due, now + REASSEMBLY_TIMEOUT);
    return datagram;
  }

  /** Enters [start, end) into the ranges, or says why not. */
  private place(
    datagram: Datagram,
    start: number,
    end: number,
    more: boolean,
  ): 'new' | 'duplicate' | 'overlap' {
    const { ranges, total } = datagram;
    if (total >= 0 && (end > total || (!more && end !== total))) return 'overlap';
    if (!more && ranges.length > 0 && ranges[ranges.length - 1]! > end) return 'overlap';
    let i = 0;
    while (i < ranges.length && ranges[i]! < start) i += 2;
    if (i < ranges.length && ranges[i] === start && ranges[i + 1] === end) return 'duplicate';
    if (i > 0 && ranges[i - 1]! > start) return ranges[i - 1]! >= end ? 'duplicate' : 'overlap';
    if (i < ranges.length && ranges[i]! < end) return 'overlap';
    const joinsLeft = i > 0 && ranges[i - 1] === start;
    const joinsRight = i < ranges.length && ranges[i] === end;
    if (joinsLeft && joinsRight) ranges.splice(i - 1, 2);
    else if (joinsLeft) ranges[i - 1] = end;
    else if (joinsRight) ranges[i] = start;
    else ranges.splice(i, 0, start, end);
    return ranges.length > MAX_FRAGMENTS * 2 ? 'overlap' : 'new';
  }

  private fullest(): Datagram[] {
    let fullest: Datagram[] = [];
    for (const list of this.ports.values()) if (list.length > fullest.length) fullest = list;
    return fullest;
  }

  private evictOldest(list: Datagram[]): void {
    if (list.shift() === undefined) return;
    this.count--;
    this.counters.evicted++;
  }

  private remove(list: Datagram[], datagram: Datagram): void {
    list.splice(list.indexOf(datagram), 1);
    this.count--;
  }
}

/** The datagram that a fragment belongs to; the last one that was begun is the likeliest. */
function find(
  list: readonly Datagram[],
  bytes: Uint8Array,
  view: DataView,
  at: number,
): Datagram | undefined {
  const id = view.getUint16(at + IP_ID);
  const source = view.getInt32(at + IP_SOURCE);
  const destination = view.getInt32(at + IP_DESTINATION);
  const protocol = bytes[at + IP_PROTOCOL]!;
  for (let i = list.length - 1; i >= 0; i--) {
    const datagram = list[i]!;
    if (
      datagram.id === id &&
      datagram.source === source &&
      datagram.destination === destination &&
      datagram.protocol === protocol
    )
      return datagram;
  }
  return undefined;
}

function whole({ pieces, starts, total }: Datagram): Uint8Array {
  const payload = new Uint8Array(total);
  for (let i = 0; i < pieces.length; i++) payload.set(pieces[i]!, starts[i]);
  return payload;
}
