/**
 * Reassembly of IPv4 fragments (RFC 791 section 3.2, RFC 815's idea of what is missing).
 *
 * Theory of operation. Fragments of a datagram (source, destination, protocol, id, port) are copied into one buffer. A
 * datagram lives REASSEMBLY_TIMEOUT from its first fragment; there are at most MAX_DATAGRAMS per port, MAX_ALL of all
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
  readonly key: string;
  readonly port: number;
  readonly started: Millis;
  /** The first fragment's header with 8 bytes of payload, for ICMP; undefined until it came. */
  head: Uint8Array | undefined;
  payload: Uint8Array;
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
  private readonly datagrams = new Map<string, Datagram>();
  private readonly perPort = new Map<number, number>();

  get size(): number {
    return this.datagrams.size;
  }

  /** When `expire` has something to do; Infinity when never. */
  next(): Millis {
    const oldest = this.datagrams.values().next().value;
    return oldest === undefined ? Number.POSITIVE_INFINITY : oldest.started + REASSEMBLY_TIMEOUT;
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
    const key = `${port}/${view.getUint32(at + IP_SOURCE)}/${view.getUint32(at + IP_DESTINATION)}/${bytes[at + IP_PROTOCOL]!}/${view.getUint16(at + IP_ID)}`;
    const datagram = this.datagrams.get(key) ?? this.open(key, port, now);
    const place = this.place(datagram, start, end, more);
    if (place === 'duplicate') return undefined;
    if (place === 'overlap') {
      this.counters.overlapping++;
      this.remove(datagram);
      return undefined;
    }
    if (datagram.payload.length < end) datagram.payload = grow(datagram.payload, end);
    datagram.payload.set(bytes.subarray(at + headerLength, at + headerLength + length), start);
    datagram.received += length;
    if (!more) datagram.total = end;
    if ((bytes[at + IP_TOS]! & ECN_CE) === ECN_CE) datagram.congested = true;
    if (start === 0) datagram.head = bytes.slice(at, at + headerLength + Math.min(8, length));
    if (datagram.received !== datagram.total || datagram.head === undefined) return undefined;
    this.remove(datagram);
    this.counters.reassembled++;
    const head = datagram.head;
    if (datagram.congested) head[IP_TOS]! |= ECN_CE;
    const headView = new DataView(head.buffer, head.byteOffset);
    return {
      source: ipv4(headView.getUint32(IP_SOURCE)),
      destination: ipv4(headView.getUint32(IP_DESTINATION)),
      protocol: head[IP_PROTOCOL]!,
      header: head.subarray(0, (head[0]! & 15) * 4),
      payload: datagram.payload.subarray(0, datagram.total),
    };
  }

  /** Drops what is too old; returns first fragments (with port) that deserve an ICMP time exceeded, code 1. */
  expire(now: Millis): { readonly port: number; readonly head: Uint8Array }[] {
    const heads: { port: number; head: Uint8Array }[] = [];
    for (const datagram of this.datagrams.values()) {
      if (now - datagram.started < REASSEMBLY_TIMEOUT) break;
      this.remove(datagram);
      this.counters.timedOut++;
      if (datagram.head !== undefined) heads.push({ port: datagram.port, head: datagram.head });
    }
    return heads;
  }

  forgetPort(port: number): void {
    for (const datagram of this.datagrams.values()) if (datagram.port === port) this.remove(datagram);
  }

  private open(key: string, port: number, now: Millis): Datagram {
    if ((this.perPort.get(port) ?? 0) >= MAX_DATAGRAMS) this.evictOldest(port);
    if (this.datagrams.size >= MAX_ALL) this.evictOldest(this.fullest());
    const datagram: Datagram = {
      key,
      port,
      started: now,
      head: undefined,
      payload: new Uint8Array(0),
      congested: false,
      total: -1,
      received: 0,
      ranges: [],
    };
    this.datagrams.set(key, datagram);
    this.perPort.set(port, (this.perPort.get(port) ?? 0) + 1);
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

  private fullest(): number {
    let [fullest, most] = [0, 0];
    for (const [port, count] of this.perPort) if (count > most) [fullest, most] = [port, count];
    return fullest;
  }

  private evictOldest(port: number): void {
    for (const datagram of this.datagrams.values()) {
      if (datagram.port !== port) continue;
      this.remove(datagram);
      this.counters.evicted++;
      return;
    }
  }

  private remove(datagram: Datagram): void {
    this.datagrams.delete(datagram.key);
    const left = (this.perPort.get(datagram.port) ?? 1) - 1;
    if (left === 0) this.perPort.delete(datagram.port);
    else this.perPort.set(datagram.port, left);
  }
}

function grow(bytes: Uint8Array, atLeast: number): Uint8Array {
  const next = new Uint8Array(Math.min(65535, Math.max(atLeast, bytes.length * 2, 2048)));
  next.set(bytes);
  return next;
}
