/** A host of one address that sends the segments it is told and keeps what comes back: nobody's TCP is in the way. */
import { emitArp } from '../../../src/arp/index.js';
import {
  finish,
  type FrameBatch,
  type Ipv4,
  type Link,
  type Mac,
  META_STRIDE,
  parseMac,
  pseudoSum,
  seq,
  sumBytes,
} from '../../../src/core/index.js';
import { emitEthernet, ETHERTYPE_ARP, ETHERTYPE_IPV4 } from '../../../src/ethernet/index.js';
import { emitIpv4Packet, PROTOCOL_TCP } from '../../../src/ipv4/index.js';
import { emitHeader, MIN_HEADER, type TcpOptions } from '../../../src/tcp/index.js';
import { decodeFrame, type DecodedSegment } from '../../../src/testing/index.js';

const ARP_REQUEST = 1;
const ARP_REPLY = 2;
const MAX_OPTIONS = 40;

/** A segment as it goes on the wire; numbers are absolute. */
export interface WireSegment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
  readonly urgent: number;
  readonly options: TcpOptions;
  /** Option bytes as they are, behind `options`; a multiple of 4. */
  readonly rawOptions: readonly number[];
  readonly payload: Uint8Array;
  /** The IP header's ECN field. */
  readonly ecn: number;
  readonly badChecksum: boolean;
  /** The header length field in words, when it lies. */
  readonly dataOffset: number | undefined;
}

export class SegmentPeer {
  readonly mac: Mac = parseMac('52:94:00:00:00:01')!;
  readonly ip: Ipv4;
  /** Segments that came, by our port. */
  private readonly inbox = new Map<number, DecodedSegment[]>();
  private readonly link: Link;
  private readonly otherIp: Ipv4;
  private readonly otherMac: Mac;
  private id = 0;

  constructor(link: Link, ip: Ipv4, otherIp: Ipv4, otherMac: Mac) {
    this.link = link;
    this.ip = ip;
    this.otherIp = otherIp;
    this.otherMac = otherMac;
    link.start({
      frames: (batch) => {
        this.frames(batch);
      },
      writable: () => undefined,
      closed: () => undefined,
    });
  }

  /** What came to a port since the last call. */
  take(port: number): DecodedSegment[] {
    const got = this.inbox.get(port) ?? [];
    this.inbox.delete(port);
    return got;
  }

  /** Tells the other side where we are, so that its first segment waits for nothing. */
  announce(): void {
    this.frame(
      ETHERTYPE_ARP,
      emitArp({
        operation: ARP_REPLY,
        senderMac: this.mac,
        senderIp: this.ip,
        targetMac: this.otherMac,
        targetIp: this.otherIp,
      }),
    );
  }

  send(segment: WireSegment): void {
    this.frame(
      ETHERTYPE_IPV4,
      emitIpv4Packet({
        source: this.ip,
        destination: this.otherIp,
        protocol: PROTOCOL_TCP,
        ttl: 64,
        tos: segment.ecn,
        id: ++this.id & 0xffff,
        dontFragment: true,
        moreFragments: false,
        fragmentOffset: 0,
        options: new Uint8Array(0),
        payload: this.bytesOf(segment),
      }),
    );
  }

  private bytesOf(s: WireSegment): Uint8Array {
    const bytes = new Uint8Array(MIN_HEADER + MAX_OPTIONS + s.payload.length);
    const view = new DataView(bytes.buffer);
    const header = { ...s, seq: seq(s.seq), ack: seq(s.ack), checksum: 0 };
    let length = emitHeader(header, bytes, view, 0);
    bytes.set(s.rawOptions, length);
    length += s.rawOptions.length;
    view.setUint8(12, (s.dataOffset ?? length / 4) << 4);
    bytes.set(s.payload, length);
    const all = bytes.subarray(0, length + s.payload.length);
    const sum = finish(
      sumBytes(all, 0, all.length, pseudoSum(this.ip, this.otherIp, PROTOCOL_TCP, all.length)),
    );
    view.setUint16(16, s.badChecksum ? sum ^ 0x5555 : sum);
    return all;
  }

  private frames(batch: FrameBatch): void {
    for (let i = 0; i < batch.count; i++) {
      const at = batch.meta[i * META_STRIDE]!;
      const frame = decodeFrame(batch.bytes.slice(at, at + batch.meta[i * META_STRIDE + 1]!));
      if (frame?.arp?.operation === ARP_REQUEST && frame.arp.targetIp === this.ip) this.announce();
      if (frame?.tcp === undefined) continue;
      const port = frame.tcp.destinationPort;
      this.inbox.set(port, [...(this.inbox.get(port) ?? []), frame.tcp]);
    }
  }

  private frame(etherType: number, payload: Uint8Array): void {
    const { output } = this.link;
    const bytes = emitEthernet({ destination: this.otherMac, source: this.mac, etherType, payload });
    const at = output.begin(bytes.length);
    output.bytes.set(bytes, at);
    output.end(0, 0);
    output.flush();
  }
}
