#!/usr/bin/env node
// A guest that sends rubbish over netproxy's qemu link: every truncation of well-formed frames, mutated frames,
// random frames, and broken stream frames (zero-length, too short, oversized, endless).
//
//   garbage.mjs '{"path":"/run/vm.sock","frames":100000,"seed":1,"mac":"02:…","gateway":"192.168.127.1","guest":"192.168.127.9"}'
//
//
// With "seconds" it floods for so long instead, as fast as the link takes it: ARP, DHCP, invented MAC addresses, fragments, SYNs, UDP
// to all ports, and packets under the addresses of "victims" ([{"ip","mac"}]) and to them; with "flood", one kind of these:
// addresses, fragments, syns or datagrams.
//
// Prints {"sent","connections","received"} as its last line. The same seed sends the same frames.

import { connect } from 'node:net';

const request = JSON.parse(process.argv[2]);
const { path, frames: total = 0, seed, gateway, guest, peer, seconds, victims = [] } = request;

// --- randomness (xorshift32) ------------------------------------------------------------------------------

let state = seed | 0 || 1;
function u32() {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state >>> 0;
}
const below = (n) => u32() % n;
const pick = (list) => list[below(list.length)];

// --- well-formed frames -----------------------------------------------------------------------------------

const macBytes = (text) => Buffer.from(text.replaceAll(':', ''), 'hex');
const ipBytes = (text) => Buffer.from(text.split('.').map(Number));
const GATEWAY_MAC = macBytes('5a:94:ef:e4:0c:dd');
const MAC = macBytes(request.mac ?? '02:00:00:00:66:66');
const BROADCAST = macBytes('ff:ff:ff:ff:ff:ff');

function sum(...parts) {
  let total = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) total += (part[i] << 8) | (part[i + 1] ?? 0);
  }
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

function ether(type, payload, to = GATEWAY_MAC) {
  const head = Buffer.alloc(14);
  to.copy(head);
  MAC.copy(head, 6);
  head.writeUInt16BE(type, 12);
  return Buffer.concat([head, payload]);
}

function ip(
  protocol,
  payload,
  { from = guest, to = gateway, fragment = 0, options = Buffer.alloc(0), ttl = 64 } = {},
) {
  const head = Buffer.alloc(20 + options.length);
  head[0] = 0x40 | (head.length / 4);
  head.writeUInt16BE(head.length + payload.length, 2);
  head.writeUInt16BE(below(65536), 4);
  head.writeUInt16BE(fragment, 6);
  head[8] = ttl;
  head[9] = protocol;
  ipBytes(from).copy(head, 12);
  ipBytes(to).copy(head, 16);
  options.copy(head, 20);
  head.writeUInt16BE(sum(head), 10);
  return ether(0x0800, Buffer.concat([head, payload]));
}

function pseudo(protocol, length, from, to) {
  return Buffer.concat([ipBytes(from), ipBytes(to), Buffer.from([0, protocol, length >> 8, length & 255])]);
}

function udp(sport, dport, payload, { from = guest, to = gateway } = {}) {
  const segment = Buffer.concat([Buffer.alloc(8), payload]);
  segment.writeUInt16BE(sport, 0);
  segment.writeUInt16BE(dport, 2);
  segment.writeUInt16BE(segment.length, 4);
  segment.writeUInt16BE(sum(pseudo(17, segment.length, from, to), segment) || 0xffff, 6);
  return ip(17, segment, { from, to });
}

function tcp(
  sport,
  dport,
  flags,
  { seq = u32(), ack = 0, options = Buffer.alloc(0), payload = Buffer.alloc(0), to = peer } = {},
) {
  const head = Buffer.alloc(20 + options.length);
  head.writeUInt16BE(sport, 0);
  head.writeUInt16BE(dport, 2);
  head.writeUInt32BE(seq, 4);
  head.writeUInt32BE(ack, 8);
  head[12] = (head.length / 4) << 4;
  head[13] = flags;
  head.writeUInt16BE(65535, 14);
  options.copy(head, 20);
  const segment = Buffer.concat([head, payload]);
  segment.writeUInt16BE(sum(pseudo(6, segment.length, guest, to), segment), 16);
  return ip(6, segment, { to });
}

function arp(operation, target) {
  const head = Buffer.from([0, 1, 8, 0, 6, 4, 0, operation]);
  return ether(
    0x0806,
    Buffer.concat([head, MAC, ipBytes(guest), Buffer.alloc(6), ipBytes(target)]),
    BROADCAST,
  );
}

function icmp(type, code, rest) {
  const message = Buffer.concat([Buffer.from([type, code, 0, 0]), rest]);
  message.writeUInt16BE(sum(message), 2);
  return ip(1, message);
}

function dns(name) {
  const labels = name
    .split('.')
    .map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  const head = Buffer.from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  return Buffer.concat([head, ...labels, Buffer.from([0, 0, 1, 0, 1])]);
}

function dhcp(type) {
  const body = Buffer.alloc(240);
  body.set([1, 1, 6, 0]);
  body.writeUInt32BE(u32(), 4);
  MAC.copy(body, 28);
  body.set([0x63, 0x82, 0x53, 0x63], 236);
  const options = Buffer.concat([
    Buffer.from([53, 1, type, 12, 4]),
    Buffer.from('junk'),
    Buffer.from([55, 4, 1, 3, 6, 26, 50, 4]),
    ipBytes(guest),
    Buffer.from([255]),
  ]);
  return udp(68, 67, Buffer.concat([body, options]), { from: '0.0.0.0', to: '255.255.255.255' });
}

const MSS = Buffer.from([2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]);

/** One of each kind that the stack looks into. */
function wellFormed() {
  const port = () => 1024 + below(60_000);
  return [
    arp(1, gateway),
    arp(2, gateway),
    arp(1, guest),
    icmp(8, 0, Buffer.alloc(60, 7)),
    icmp(3, 3, Buffer.alloc(36, 1)),
    icmp(3, 4, Buffer.alloc(36, 1)),
    ip(1, Buffer.alloc(64, 3), { fragment: 0x2000 }),
    ip(17, Buffer.alloc(64, 3), { fragment: 8 }),
    ip(17, Buffer.alloc(64, 3), { fragment: 0x1fff }),
    ip(6, Buffer.alloc(40), { options: Buffer.from([148, 4, 0, 0]) }),
    ip(47, Buffer.alloc(40)),
    ip(17, Buffer.alloc(20), { ttl: 1, to: peer }),
    udp(port(), 53, dns('host.docker.internal')),
    udp(port(), 53, dns('nobody.lab.test')),
    udp(port(), 123, Buffer.concat([Buffer.from([0x23]), Buffer.alloc(47)])),
    udp(port(), 9, Buffer.alloc(100), { to: peer }),
    dhcp(1),
    dhcp(3),
    dhcp(7),
    dhcp(8),
    tcp(port(), 80, 2, { options: MSS }),
    tcp(port(), 9, 2, { options: MSS }),
    tcp(port(), 53, 2, { to: gateway, options: MSS }),
    tcp(port(), 80, 16, { ack: u32() }),
    tcp(port(), 80, 17, { ack: u32() }),
    tcp(port(), 80, 4),
    tcp(port(), 80, 24, { ack: u32(), payload: Buffer.alloc(200, 1) }),
    tcp(port(), 80, 63, { ack: u32() }),
    ether(0x86dd, Buffer.alloc(60, 6)),
    ether(0x8100, Buffer.alloc(60, 1)),
    ether(46, Buffer.alloc(46)),
  ];
}

function mutated() {
  const frame = Buffer.from(pick(wellFormed()));
  for (let n = 1 + below(4); n > 0; n--) {
    const at = below(frame.length);
    const kind = below(4);
    if (kind === 0) frame[at] = u32();
    else if (kind === 1) frame[at] ^= 1 << below(8);
    else if (kind === 2) frame[at] = pick([0, 1, 0x7f, 0x80, 0xff]);
    else if (at + 1 < frame.length) frame.writeUInt16BE(pick([0, 1, 0xffff, 0x8000, u32() & 0xffff]), at);
  }
  return below(4) === 0 ? frame.subarray(0, 14 + below(Math.max(1, frame.length - 14))) : frame;
}

function random() {
  const frame = Buffer.alloc(14 + below(below(10) === 0 ? 4000 : 200));
  for (let i = 0; i < frame.length; i++) frame[i] = u32();
  if (below(2) === 0) GATEWAY_MAC.copy(frame);
  if (below(2) === 0) frame.writeUInt16BE(pick([0x0800, 0x0806, 0x86dd]), 12);
  return frame;
}

/** What a flood is made of, by kind. */
function floodKinds() {
  const port = () => 1 + below(65_535);
  const from = () => `192.168.127.${2 + below(250)}`;
  const kinds = {
    addresses: [
      () => arp(1, from()),
      () => arp(2, gateway),
      () => dhcp(pick([1, 3])),
      () => invented(ether(0x88b5, Buffer.alloc(46), BROADCAST)),
      () => invented(ether(0x0800, Buffer.alloc(46))),
      () => udp(port(), 9, Buffer.alloc(32), { from: pick(victims).ip, to: peer }),
    ],
    fragments: [
      () => ip(17, Buffer.alloc(64, 3), { fragment: 0x2000, to: peer }),
      () => ip(17, Buffer.alloc(64, 3), { fragment: 0x2000 | below(8000), to: peer }),
    ],
    syns: [() => tcp(port(), pick([80, port()]), 2, { options: MSS })],
    datagrams: [
      () => udp(port(), port(), Buffer.alloc(32), { to: peer }),
      () => udp(port(), 53, dns(`n${below(100_000)}.lab.test`)),
      () => icmp(8, 0, Buffer.alloc(60, 7)),
    ],
  };
  for (const { ip: to, mac } of victims) {
    const toVictim = (frame) => Buffer.concat([macBytes(mac), frame.subarray(6)]);
    const anybody = () => pick([gateway, ...victims.map((one) => one.ip)]);
    kinds.addresses.push(
      () => toVictim(udp(7, 6666, Buffer.alloc(32), { from: anybody(), to })),
      () => Buffer.concat([BROADCAST, macBytes(mac), ether(0x88b5, Buffer.alloc(46)).subarray(12)]),
    );
  }
  return kinds;
}

/** What a flood repeats: some thousand frames, made before it begins. */
function floodFrames() {
  const kinds = floodKinds();
  const chosen = request.flood === undefined ? Object.values(kinds).flat() : kinds[request.flood];
  return Array.from({ length: 8192 }, (_, i) => chosen[i % chosen.length]());
}

/** The same frame from an address that nobody has. */
function invented(frame) {
  frame.writeUInt32BE(u32(), 8);
  return frame;
}

// --- sending ----------------------------------------------------------------------------------------------

const result = { sent: 0, connections: 0, received: 0 };

/** A connection; what comes back is read and counted. */
function open() {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => resolve(socket));
    result.connections++;
    socket.once('error', reject);
    socket.on('error', () => undefined);
    socket.on('data', (data) => (result.received += data.length));
  });
}

async function write(socket, data) {
  if (socket.destroyed || socket.write(data)) return;
  await new Promise((resolve) => {
    const go = () => {
      socket.off('drain', go).off('close', go);
      resolve();
    };
    socket.on('drain', go).on('close', go);
  });
}

function framed(frame) {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(frame.length);
  return Buffer.concat([head, frame]);
}

/** Every one of these ends its connection and no other. */
async function brokenStreams() {
  const lengths = [0, 1, 13, 131_073, 0x7fffffff, 0xffffffff];
  for (const length of lengths) {
    const socket = await open();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const head = Buffer.alloc(4);
    head.writeUInt32BE(length);
    await write(socket, Buffer.concat([framed(arp(1, gateway)), head, Buffer.alloc(64)]));
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 5_000).unref())]);
    if (!socket.destroyed) throw new Error(`a frame of ${length} bytes did not end its connection`);
  }
  // Cut off in the middle of a length and of a frame.
  for (const cut of [1, 3, 4, 20]) {
    const socket = await open();
    await write(socket, framed(arp(1, gateway)).subarray(0, cut));
    socket.destroy();
  }
  // An endless frame that never comes.
  const socket = await open();
  const head = Buffer.alloc(4);
  head.writeUInt32BE(131_072);
  await write(socket, Buffer.concat([head, Buffer.alloc(1000)]));
  return socket;
}

/** The whole flood again and again. */
async function flood() {
  const frames = floodFrames();
  const bytes = Buffer.concat(frames.map(framed));
  const socket = await open();
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end && !socket.destroyed) {
    await write(socket, bytes);
    result.sent += frames.length;
    // The socket's own events, such as its end.
    await new Promise((resolve) => setImmediate(resolve));
  }
  result.alive = !socket.destroyed;
  socket.destroy();
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exit(0);
}

if (seconds !== undefined) await flood();
const hanging = await brokenStreams();
let socket = await open();
const batch = [];
const send = async (frame) => {
  batch.push(framed(frame));
  result.sent++;
  if (batch.length < 64) return;
  if (socket.destroyed) socket = await open();
  await write(socket, Buffer.concat(batch.splice(0)));
};
for (const frame of wellFormed()) {
  for (let length = 14; length <= frame.length; length++) await send(frame.subarray(0, length));
}
while (result.sent < total) await send(below(4) === 0 ? random() : mutated());
await write(socket, Buffer.concat(batch.splice(0)));
// What was sent last is answered by now, or never.
await new Promise((resolve) => setTimeout(resolve, 500));
result.alive = !socket.destroyed;
hanging.destroy();
socket.end();
process.stdout.write(`${JSON.stringify(result)}\n`);
process.exit(0);
