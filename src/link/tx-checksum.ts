/** Fills in the TCP or UDP checksum of a frame that was sent with TX_CHECKSUM, for links without that offload. */
import { finish, pseudoSum, sumView } from '../core/index.js';

const ETHERTYPE_IPV4 = 0x0800;
const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;

/**
 * Writes the checksum of the IPv4 TCP or UDP frame that stands whole at `offset` (RFC 9293 section 3.1, RFC 768). A frame
 * of another kind stays as it is; false tells so.
 */
export function fillChecksum(bytes: Uint8Array, view: DataView, offset: number, length: number): boolean {
  if (length < 34 || view.getUint16(offset + 12) !== ETHERTYPE_IPV4) return false;
  const ip = offset + 14;
  const headerLength = (bytes[ip]! & 15) * 4;
  const protocol = bytes[ip + 9]!;
  const total = Math.min(view.getUint16(ip + 2), length - 14);
  const at = ip + headerLength + (protocol === PROTOCOL_TCP ? 16 : 6);
  if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP) return false;
  // A fragment's checksum is over the whole datagram: its sender has to know it.
  if ((view.getUint16(ip + 6) & 0x3fff) !== 0) return false;
  if (headerLength < 20 || at + 2 > ip + total) return false;
  view.setUint16(at, 0);
  const segment = total - headerLength;
  const pseudo = pseudoSum(view.getUint32(ip + 12), view.getUint32(ip + 16), protocol, segment);
  const sum = finish(sumView(view, ip + headerLength, segment, pseudo));
  // RFC 768: an all-zero UDP checksum means "none", so a computed zero travels as all ones.
  view.setUint16(at, sum === 0 && protocol === PROTOCOL_UDP ? 0xffff : sum);
  return true;
}
