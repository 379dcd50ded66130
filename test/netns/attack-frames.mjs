// TCP segments of an attacker, each built in one piece behind its QEMU length, and what its stack would have to know.

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

const LENGTH = 4;
const ETHERNET = 14;
const IP = 20;
const HEADERS = LENGTH + ETHERNET + IP;
const macBytes = (text) => Buffer.from(text.replaceAll(':', ''), 'hex');
export const ipWord = (text) => text.split('.').reduce((word, part) => word * 256 + Number(part), 0);

function sum(bytes, from, to, start = 0) {
  let total = start;
  for (let i = from; i + 1 < to; i += 2) total += (bytes[i] << 8) | bytes[i + 1];
  if ((to - from) & 1) total += bytes[to - 1] << 8;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

/** Writes the checksum of the TCP segment in a framed packet. */
export function fillTcp(frame) {
  const tcp = HEADERS;
  frame.writeUInt16BE(0, tcp + 16);
  let pseudo = 6 + frame.length - tcp;
  for (let at = HEADERS - 8; at < HEADERS; at += 2) pseudo += frame.readUInt16BE(at);
  frame.writeUInt16BE(sum(frame, tcp, frame.length, pseudo), tcp + 16);
}

/** Options, padded: `mss`, `sackPermitted`, `sack` (pairs of sequence numbers). */
function optionBytes({ mss, sackPermitted = false, sack = [] }) {
  const out = [];
  if (mss !== undefined) out.push(2, 4, mss >> 8, mss & 255);
  if (sackPermitted) out.push(4, 2);
  if (sack.length > 0) {
    out.push(5, 2 + 4 * sack.length);
    for (const seq of sack) out.push((seq >>> 24) & 255, (seq >>> 16) & 255, (seq >>> 8) & 255, seq & 255);
  }
  while (out.length % 4 !== 0) out.push(1);
  return out;
}

/** A guest's frames. `guest` and `gateway` are addresses, `mac` the guest's. */
export class Frames {
  constructor({ guest, mac = '02:00:00:00:66:77' }) {
    this.guest = ipWord(guest);
    this.mac = macBytes(mac);
    this.gatewayMac = macBytes('5a:94:ef:e4:0c:dd');
    this.id = 0;
  }

  /** A TCP segment with its QEMU length in front. */
  tcp({
    to,
    from = this.guest,
    sport,
    dport,
    seq,
    ack = 0,
    flags,
    window = 65_535,
    payload = 0,
    ...options
  }) {
    const extra = optionBytes(options);
    const text = typeof payload === 'string' ? Buffer.from(payload) : undefined;
    const length = text?.length ?? payload;
    const tcp = HEADERS;
    const data = tcp + 20 + extra.length;
    const frame = Buffer.alloc(data + length);
    frame.writeUInt32BE(frame.length - LENGTH, 0);
    this.gatewayMac.copy(frame, LENGTH);
    this.mac.copy(frame, LENGTH + 6);
    frame.writeUInt16BE(0x0800, LENGTH + 12);
    const ip = LENGTH + ETHERNET;
    frame[ip] = 0x45;
    frame.writeUInt16BE(frame.length - ip, ip + 2);
    frame.writeUInt16BE(this.id++ & 0xffff, ip + 4);
    frame.writeUInt16BE(0x4000, ip + 6);
    frame[ip + 8] = 64;
    frame[ip + 9] = 6;
    frame.writeUInt32BE(from, ip + 12);
    frame.writeUInt32BE(to, ip + 16);
    frame.writeUInt16BE(sum(frame, ip, tcp), ip + 10);
    frame.writeUInt16BE(sport, tcp);
    frame.writeUInt16BE(dport, tcp + 2);
    frame.writeUInt32BE(seq >>> 0, tcp + 4);
    frame.writeUInt32BE(ack >>> 0, tcp + 8);
    frame[tcp + 12] = ((20 + extra.length) / 4) << 4;
    frame[tcp + 13] = flags;
    frame.writeUInt16BE(window, tcp + 14);
    frame.set(extra, tcp + 20);
    if (text !== undefined) text.copy(frame, data);
    fillTcp(frame);
    return frame;
  }

  /** ARP: `operation` 1 asks, 2 answers. */
  arp(operation, target, targetMac = Buffer.alloc(6)) {
    const frame = Buffer.alloc(LENGTH + ETHERNET + 28);
    frame.writeUInt32BE(ETHERNET + 28, 0);
    (operation === 1 ? Buffer.alloc(6, 0xff) : targetMac).copy(frame, LENGTH);
    this.mac.copy(frame, LENGTH + 6);
    frame.writeUInt16BE(0x0806, LENGTH + 12);
    const at = LENGTH + ETHERNET;
    frame.set([0, 1, 8, 0, 6, 4, 0, operation], at);
    this.mac.copy(frame, at + 8);
    frame.writeUInt32BE(this.guest, at + 14);
    targetMac.copy(frame, at + 18);
    frame.writeUInt32BE(target, at + 24);
    return frame;
  }
}

/** What a frame (with its length in front) says, as far as an attacker cares; undefined: neither ARP request nor TCP. */
export function read(frame) {
  const type = frame.readUInt16BE(LENGTH + 12);
  const at = LENGTH + ETHERNET;
  if (type === 0x0806 && frame[at + 7] === 1)
    return {
      arp: frame.readUInt32BE(at + 14),
      mac: frame.subarray(at + 8, at + 14),
      asked: frame.readUInt32BE(at + 24),
    };
  if (type !== 0x0800 || frame[at + 9] !== 6 || frame[at] !== 0x45) return undefined;
  const tcp = at + IP;
  const header = (frame[tcp + 12] >> 4) * 4;
  return {
    from: frame.readUInt32BE(at + 12),
    to: frame.readUInt32BE(at + 16),
    sport: frame.readUInt16BE(tcp),
    dport: frame.readUInt16BE(tcp + 2),
    seq: frame.readUInt32BE(tcp + 4),
    ack: frame.readUInt32BE(tcp + 8),
    flags: frame[tcp + 13],
    length: at + frame.readUInt16BE(at + 2) - tcp - header,
  };
}

/** Calls back with each frame of a stream, its length in front. */
export function splitter(onFrame) {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (rest.length - at >= LENGTH) {
      const end = at + LENGTH + rest.readUInt32BE(at);
      if (end > rest.length) break;
      onFrame(rest.subarray(at, end));
      at = end;
    }
    rest = rest.subarray(at);
  };
}

/** xorshift32. */
export function generator(seed) {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/**
 * Somebody in the same guest who sees ports, but not numbers, until `count` frames are sent: returns what follows a frame of
 * the kernel (its QEMU length in front). RFC 5961: resets and SYNs in the window and out of it, data with an impossible
 * acknowledgment or out of the window. What hits the exact number is left out: that is no guess, but the peer.
 */
export function blind({ count, seed = 1 }) {
  const u32 = generator(seed);
  const frames = new Frames({ guest: '0.0.0.0' });
  let left = count;
  return (framed) => {
    const seen = left > 0 ? read(framed) : undefined;
    if (seen === undefined || seen.arp !== undefined || (seen.flags & (SYN | FIN | RST)) !== 0)
      return undefined;
    left--;
    frames.mac = framed.subarray(LENGTH + 6, LENGTH + 12);
    const { from, to, sport, dport, ack } = seen;
    const inside = seen.seq + seen.length + 1 + (u32() % 20_000);
    const far = seen.seq + 0x40000000 + (u32() % 0x40000000);
    const kind = u32() % 6;
    const flags = [RST, RST, RST | ACK, SYN, ACK | PSH, ACK | PSH][kind];
    const seq = [inside, far, inside, inside, far, inside][kind];
    const fields = { from, to, sport, dport, flags, seq, ack: kind === 5 ? ack + 0x40000000 : ack };
    return frames.tcp({ ...fields, payload: (flags & PSH) === 0 ? 0 : 100 });
  };
}
