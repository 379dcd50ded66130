/**
 * Cuts a TCP super-segment into frames that obey the MTU, as a network card would (TSO): for frames that one guest's
 * kernel left to its device and that leave by a port without offloads.
 */
import { type FrameOutput, TX_CHECKSUM } from '../core/index.js';
import { ETHERTYPE_IPV4, ETH_HEADER, ETH_TYPE } from '../ethernet/index.js';
import { IP_CHECKSUM, IP_ID, IP_PROTOCOL, IP_TOTAL_LENGTH, PROTOCOL_TCP } from '../ipv4/index.js';
import { CWR, FIN, PSH } from '../tcp/index.js';

const TCP_HEADER = 20;

/** Sends the frame at `from` in segments of `size` payload bytes; returns how many, 0 when it is no TCP over IPv4. */
export function sendSegmented(
  output: FrameOutput,
  bytes: Uint8Array,
  view: DataView,
  from: number,
  length: number,
  size: number,
): number {
  const ip = from + ETH_HEADER;
  if (size <= 0 || length < ETH_HEADER + 40 || view.getUint16(from + ETH_TYPE) !== ETHERTYPE_IPV4) return 0;
  const ipLength = (bytes[ip]! & 15) * 4;
  const tcp = ip + ipLength;
  if (bytes[ip + IP_PROTOCOL] !== PROTOCOL_TCP || tcp + TCP_HEADER > from + length) return 0;
  const tcpLength = (bytes[tcp + 12]! >>> 4) * 4;
  const payload = tcp + tcpLength;
  const end = Math.min(from + length, ip + view.getUint16(ip + IP_TOTAL_LENGTH));
  if (tcpLength < TCP_HEADER || payload >= end) return 0;
  const headers = payload - from;
  const seq = view.getUint32(tcp + 4);
  const id = view.getUint16(ip + IP_ID);
  const flags = bytes[tcp + 13]!;
  let count = 0;
  for (let at = payload; at < end; at += size) {
    const n = Math.min(size, end - at);
    const to = output.begin(headers + n);
    const out = output.view;
    output.bytes.set(bytes.subarray(from, payload), to);
    output.bytes.set(bytes.subarray(at, at + n), to + headers);
    const outIp = to + ETH_HEADER;
    const outTcp = outIp + ipLength;
    out.setUint16(outIp + IP_TOTAL_LENGTH, ipLength + tcpLength + n);
    out.setUint16(outIp + IP_ID, (id + count) & 0xffff);
    out.setUint16(outIp + IP_CHECKSUM, 0);
    out.setUint16(outIp + IP_CHECKSUM, headerChecksum(out, outIp, ipLength));
    out.setUint32(outTcp + 4, (seq + (at - payload)) >>> 0);
    // FIN and PSH belong to the last segment, CWR to the first.
    const last = at + n >= end;
    output.bytes[outTcp + 13] = flags & ~(last ? 0 : FIN | PSH) & ~(count > 0 ? CWR : 0);
    output.end(TX_CHECKSUM, 0);
    count++;
  }
  return count;
}

function headerChecksum(view: DataView, at: number, length: number): number {
  let sum = 0;
  for (let i = 0; i < length; i += 2) sum += view.getUint16(at + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
