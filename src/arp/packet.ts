/** ARP for IPv4 over Ethernet (RFC 826). */
import { type Ipv4, type Mac, ipv4, readMac, writeMac } from '../core/index.js';

export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;
/** Length of an IPv4-over-Ethernet packet, bytes. */
export const ARP_LENGTH = 28;

/** Offsets from the start of the packet. */
export const ARP_OPERATION = 6;
export const ARP_SENDER_MAC = 8;
export const ARP_SENDER_IP = 14;
export const ARP_TARGET_MAC = 18;
export const ARP_TARGET_IP = 24;

export interface ArpPacket {
  readonly operation: number;
  readonly senderMac: Mac;
  readonly senderIp: Ipv4;
  readonly targetMac: Mac;
  readonly targetIp: Ipv4;
}

/** Undefined when it is short or not IPv4 over Ethernet. */
export function parseArp(bytes: Uint8Array, offset = 0, length = bytes.length): ArpPacket | undefined {
  if (length < ARP_LENGTH || offset + ARP_LENGTH > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, ARP_LENGTH);
  if (view.getUint16(0) !== 1 || view.getUint16(2) !== 0x0800 || view.getUint16(4) !== 0x0604)
    return undefined;
  return {
    operation: view.getUint16(ARP_OPERATION),
    senderMac: readMac(bytes, offset + ARP_SENDER_MAC),
    senderIp: ipv4(view.getUint32(ARP_SENDER_IP)),
    targetMac: readMac(bytes, offset + ARP_TARGET_MAC),
    targetIp: ipv4(view.getUint32(ARP_TARGET_IP)),
  };
}

/** Writes the packet at `offset`; returns the offset behind it. */
export function writeArp(bytes: Uint8Array, view: DataView, offset: number, packet: ArpPacket): number {
  view.setUint16(offset, 1);
  view.setUint16(offset + 2, 0x0800);
  view.setUint16(offset + 4, 0x0604);
  view.setUint16(offset + ARP_OPERATION, packet.operation);
  writeMac(bytes, offset + ARP_SENDER_MAC, packet.senderMac);
  view.setUint32(offset + ARP_SENDER_IP, packet.senderIp);
  writeMac(bytes, offset + ARP_TARGET_MAC, packet.targetMac);
  view.setUint32(offset + ARP_TARGET_IP, packet.targetIp);
  return offset + ARP_LENGTH;
}

/** The packet as new bytes. */
export function emitArp(packet: ArpPacket): Uint8Array {
  const bytes = new Uint8Array(ARP_LENGTH);
  writeArp(bytes, new DataView(bytes.buffer), 0, packet);
  return bytes;
}
