#!/usr/bin/env node
// A guest that attacks netproxy's TCP over a qemu link.
//
//   attacker.mjs '{"path":"/run/vm.sock","guest":"192.168.127.99","gateway":"192.168.127.1","peer":"198.18.0.1",
//                  "ports":{"web":80,"discard":9},"attack":"syn-flood","count":5000,"seed":1}'
//
// attack: one of ATTACKS below; count: how many connections or segments it is made of; secs: how long it goes on at the
// least, again and again. Prints {"begun":true} when it is under way, {"done":true,…} with its counts when it is through, and
// stays, its connections as they are, until standard input ends. `web` serves `GET /SIZE`, `discard` reads.

import { connect } from 'node:net';
import { ACK, FIN, Frames, PSH, RST, SYN, generator, ipWord, read, splitter } from './attack-frames.mjs';

const request = JSON.parse(process.argv[2]);
const { path, ports, attack, count, secs = 0, seed = 1 } = request;
const peer = ipWord(request.peer);
const frames = new Frames(request);
const u32 = generator(seed);
const below = (n) => u32() % n;
const print = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

const told = { sent: 0, received: 0, established: 0, reset: 0 };
/** Connections by their port. */
const flows = new Map();
const socket = connect(path);
let pending = [];
let pendingBytes = 0;

/** Leaves with others; waits while the link takes no more. */
async function send(frame) {
  told.sent++;
  pending.push(frame);
  pendingBytes += frame.length;
  if (pendingBytes >= 16_384) await flush();
}

async function flush() {
  if (pending.length === 0) return;
  const bytes = Buffer.concat(pending);
  pending = [];
  pendingBytes = 0;
  if (!socket.write(bytes)) await new Promise((resolve) => socket.once('drain', resolve));
  // What has come meanwhile is read.
  await new Promise(setImmediate);
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Only answers that cost nothing: they are not counted, and never wait. */
const answer = (frame) => socket.write(frame);

function take(frame) {
  const seen = read(frame);
  if (seen === undefined) return;
  if (seen.arp !== undefined) {
    if (seen.asked === frames.guest) answer(frames.arp(2, seen.arp, seen.mac));
    return;
  }
  told.received++;
  const flow = flows.get(seen.dport);
  if (flow === undefined) return;
  if ((seen.flags & RST) !== 0) {
    if (!flow.gone) told.reset++;
    flow.gone = true;
    return;
  }
  if ((seen.flags & SYN) !== 0) {
    if (!flow.open) told.established++;
    flow.open = true;
    flow.una = (seen.seq + 1) >>> 0;
    flow.top = flow.una;
    answer(segment(flow, { flags: ACK | (flow.first === '' ? 0 : PSH), payload: flow.first }));
    flow.sent = flow.first.length;
    return;
  }
  if (((seen.seq + seen.length - flow.top) | 0) > 0) flow.top = (seen.seq + seen.length) >>> 0;
  flow.onData?.(seen);
}

/** A segment of a flow, `at` bytes into what it sends. */
function segment(flow, { at = 0, ...fields }) {
  const { sport, dport, window } = flow;
  return frames.tcp({ to: peer, sport, dport, seq: flow.iss + 1 + at, ack: flow.una, window, ...fields });
}

/** Opens `n` connections to a port; those that are not there after a while are left. */
async function open(n, dport, fields = {}) {
  const made = [];
  for (let i = 0; i < n; i++) {
    const { options = {}, window = 65_535, first = '', ...rest } = fields;
    const sport = 1024 + ((flows.size * 7) % 64_000);
    const flow = { sport, dport, iss: u32(), una: 0, top: 0, window, first, sent: 0, ...rest };
    flows.set(sport, flow);
    made.push(flow);
    await send(frames.tcp({ to: peer, sport, dport, seq: flow.iss, flags: SYN, window: 65_535, ...options }));
    if (i % 64 === 63) await flush();
  }
  await flush();
  for (let tries = 0; tries < 100 && made.some((flow) => !flow.open && !flow.gone); tries++) await pause(50);
  const there = made.filter((flow) => flow.open);
  if (there.length === 0) throw new Error(`no connection: ${JSON.stringify(told)}`);
  return there;
}

const GET = 'GET /1GB HTTP/1.1\r\nHost: x\r\n\r\n';

const ATTACKS = {
  /** Half-open connections: nothing that comes back is answered. */
  'syn-flood': async (round) => {
    for (let i = 0; i < count; i++) {
      const n = round * count + i;
      const dport = n % 2 === 0 ? ports.web : ports.discard;
      await send(
        frames.tcp({ to: peer, sport: 1024 + ((n >> 1) % 64_000), dport, seq: u32(), flags: SYN, mss: 1460 }),
      );
    }
  },

  /** Sockstress: each connection asks for much and takes nothing; whoever asks is told so. */
  'zero-window': async (round) => {
    if (round > 0) return;
    const closed = { window: 0, first: GET, options: { mss: 1460 } };
    const made = await open(count, ports.web, {
      ...closed,
      onData() {
        answer(segment(this, { at: this.sent, flags: ACK, window: 0 }));
      },
    });
    for (const flow of made) await send(segment(flow, { at: flow.sent, flags: ACK, window: 0 }));
  },

  /** One byte a segment, in order. */
  tiny: async () => {
    const [flow] = await open(1, ports.discard, { onData: undefined });
    for (let i = 0; i < count; i++)
      await send(segment(flow, { at: flow.sent++, flags: ACK | PSH, payload: 1 }));
  },

  /** One byte a segment with holes between, so that each one is kept apart. */
  holes: async () => {
    const [flow] = await open(1, ports.discard);
    for (let i = 0; i < count; i++)
      await send(segment(flow, { at: 2 + 2 * below(30_000), flags: ACK, payload: 1 }));
  },

  /** Overlapping pieces, pieces beyond the window and before it, with FINs among them. */
  overlap: async () => {
    const [flow] = await open(1, ports.discard);
    for (let i = 0; i < count; i++) {
      const far = below(4) === 0 ? u32() : below(70_000);
      const fin = below(50) === 0 ? FIN : 0;
      await send(segment(flow, { at: far, flags: ACK | fin, payload: 1 + below(1400) }));
    }
  },

  /** Acknowledgments of everything, also of what was never sent, as fast as they can be sent. */
  acks: async () => {
    const made = await open(4, ports.web, { first: GET, options: { mss: 1460 } });
    for (let i = 0; i < count; i++) {
      const flow = made[i % made.length];
      const optimistic = flow.top + below(4) * 1460;
      const ack = [flow.una, flow.top, optimistic, u32()][below(4)];
      if (ack === flow.top) flow.una = flow.top;
      await send(segment(flow, { at: flow.sent, flags: ACK, ack, window: 65_535 - below(2) }));
    }
  },

  /** The least MSS, and SACK blocks with holes everywhere. */
  sack: async () => {
    const made = await open(16, ports.web, { first: GET, options: { mss: 48, sackPermitted: true } });
    for (let i = 0; i < count; i++) {
      const flow = made[i % made.length];
      const room = Math.max((flow.top - flow.una) | 0, 100);
      const sack = [];
      for (let k = 0; k < 4; k++) {
        const start = (flow.una + 48 + 48 * below(Math.ceil(room / 48))) >>> 0;
        sack.push(start, (start + 1 + below(48)) >>> 0);
      }
      if (below(200) === 0) flow.una = (flow.una + below(room)) >>> 0;
      await send(segment(flow, { at: flow.sent, flags: ACK, sack }));
    }
  },

  /** Under another guest's address: resets, SYNs and data for connections that it may have. */
  spoof: async () => {
    const from = ipWord(request.victim);
    for (let i = 0; i < count; i++) {
      const flags = [RST, RST | ACK, SYN, ACK | PSH][below(4)];
      const dport = [ports.web, ports.discard][below(2)];
      const fields = { to: peer, from, sport: 32_768 + below(28_000), dport, seq: u32(), ack: u32(), flags };
      await send(frames.tcp({ ...fields, payload: (flags & PSH) === 0 ? 0 : 100 }));
    }
  },
};

socket.on('connect', async () => {
  try {
    socket.write(frames.arp(1, ipWord(request.gateway)));
    await pause(200);
    print({ begun: true });
    const end = Date.now() + secs * 1000;
    for (let round = 0; round === 0 || Date.now() < end; round++) {
      await ATTACKS[attack](round);
      await flush();
      if (attack === 'zero-window') await pause(100);
    }
    await pause(300);
    print({ done: true, ...told });
  } catch (error) {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
  }
});
socket.setNoDelay(true);
socket.on('data', splitter(take));
socket.on('close', () => process.exit(told.sent > 0 ? 0 : 1));
socket.on('error', (error) => process.stderr.write(`${error.message}\n`));
process.stdin.resume().on('end', () => process.exit(0));
