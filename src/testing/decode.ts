/** A frame taken apart, down to its payload, with every length and checksum checked: for taps, tests and fuzzers. */
import { type ArpPacket, parseArp } from '../arp/index.js';
import { finish, pseudoSum, sumBytes } from '../core/index.js';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, type EthernetFrame, parseEthernet } from '../ethernet/index.js';
import { type IcmpMessage, parseIcmp } from '../icmp/index.js';
import {
  type Ipv4Packet,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  parseIpv4Packet,
} from '../ipv4/index.js';
import { type TcpHeader, headerLength, parseHeader } from '../tcp/index.js';
import { type UdpDatagram, parseUdp } from '../udp/index.js';

/** A segment as it stood in a frame. */
export interface DecodedSegment extends TcpHeader {
  readonly payload: Uint8Array;
}

/** What a frame holds; the innermost part that is there says what it is. All parts are views of `bytes`. */
export interface DecodedFrame {
  readonly bytes: Uint8Array;
  readonly ethernet: EthernetFrame;
  readonly arp?: ArpPacket;
  readonly ipv4?: Ipv4Packet;
  /** Absent in fragments, as are `udp` and `icmp`. */
  readonly tcp?: DecodedSegment;
  readonly udp?: UdpDatagram;
  readonly icmp?: IcmpMessage;
  /** What is wrong with it; such a frame has only the parts around the trouble. */
  readonly fault?: string;
}

/**
 * Takes a frame apart. Never throws; what is wrong is named in `fault`.
 *
 * @returns undefined when there is not even an Ethernet header
 */
export function decodeFrame(bytes: Uint8Array): DecodedFrame | undefined {
  const ethernet = parseEthernet(bytes);
  if (ethernet === undefined) return undefined;
  const frame = { bytes, ethernet };
  if (ethernet.etherType === ETHERTYPE_ARP) {
    const arp = parseArp(ethernet.payload);
    return arp === undefined ? { ...frame, fault: 'arp' } : { ...frame, arp };
  }
  if (ethernet.etherType !== ETHERTYPE_IPV4) return frame;
  const ipv4 = parseIpv4Packet(ethernet.payload);
  if (typeof ipv4 === 'string') return { ...frame, fault: `ipv4 ${ipv4}` };
  if (ipv4.moreFragments || ipv4.fragmentOffset > 0) return { ...frame, ipv4 };
  return { ...frame, ipv4, ...transport(ipv4) };
}

function transport(packet: Ipv4Packet): Pick<DecodedFrame, 'tcp' | 'udp' | 'icmp' | 'fault'> {
  switch (packet.protocol) {
    case PROTOCOL_TCP: {
      const tcp = parseSegment(packet);
      return tcp === undefined ? { fault: 'tcp' } : { tcp };
    }
    case PROTOCOL_UDP: {
      const udp = parseUdp(packet.payload, packet.source, packet.destination);
      return udp === undefined ? { fault: 'udp' } : { udp };
    }
    case PROTOCOL_ICMP: {
      const icmp = parseIcmp(packet.payload);
      return icmp === undefined ? { fault: 'icmp' } : { icmp };
    }
    default:
      return {};
  }
}

function parseSegment({ payload, source, destination }: Ipv4Packet): DecodedSegment | undefined {
  const { length } = payload;
  const view = new DataView(payload.buffer, payload.byteOffset, length);
  const header = parseHeader(view, 0, length);
  if (header === undefined) return undefined;
  if (finish(sumBytes(payload, 0, length, pseudoSum(source, destination, PROTOCOL_TCP, length))) !== 0)
    return undefined;
  return { ...header, payload: payload.subarray(headerLength(view, 0)) };
}
