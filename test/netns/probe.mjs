#!/usr/bin/env node
// Small clients that no packaged program is. Runs inside a namespace or a guest:
//
//   probe.mjs '{"mode":"ntp","address":"192.168.127.1"}'
//
// Prints one JSON object. probe.ts has the types.

import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { matches, pieces } from './bytes.mjs';

const print = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const once = (emitter, event) => new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));

/** Seconds between 1900 (NTP) and 1970. */
const NTP_EPOCH = 2_208_988_800;

const MODES = {
  /** One SNTP request (RFC 4330, version 4, client). */
  async ntp({ address, timeoutMs = 5_000 }) {
    const socket = createSocket('udp4');
    const request = Buffer.alloc(48);
    request[0] = 0x23;
    request.writeUInt32BE(0x12345678, 40);
    request.writeUInt32BE(0x9abcdef0, 44);
    socket.send(request, 123, address);
    const answer = await Promise.race([once(socket, 'message'), sleep(timeoutMs)]);
    socket.close();
    if (answer === undefined) return { error: 'ETIMEOUT' };
    const [data] = answer;
    return {
      bytes: data.length,
      mode: data[0] & 7,
      version: (data[0] >> 3) & 7,
      leap: data[0] >> 6,
      stratum: data[1],
      originate: data.toString('hex', 24, 32),
      transmit: data.readUInt32BE(40) - NTP_EPOCH + data.readUInt32BE(44) / 2 ** 32,
      now: Date.now() / 1000,
    };
  },

  /** A connected datagram socket: what the peer answers, or the error that ICMP brings. */
  async udpConnected({ address, port, bytes = 100, tries = 3, timeoutMs = 3_000 }) {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 });
    socket.connect(port, address);
    await once(socket, 'connect');
    const data = Buffer.concat([...pieces(bytes)]);
    const answered = once(socket, 'message').then(([reply]) => ({
      bytes: reply.length,
      same: matches(reply, 0) && reply.length === bytes,
    }));
    const failed = new Promise((resolve) => socket.once('error', (error) => resolve({ error: error.code })));
    let result;
    const started = performance.now();
    for (let n = 0; n < tries && result === undefined; n++) {
      socket.send(data, (error) => error && socket.emit('error', error));
      result = await Promise.race([answered, failed, sleep(timeoutMs)]);
    }
    socket.on('error', () => undefined);
    socket.close();
    return { ...(result ?? { error: 'ETIMEOUT' }), ms: Math.round(performance.now() - started) };
  },

  /**
   * What RFC 5780 asks a STUN server, of servers that answer with the address that they saw (`stunServer`): from one port of
   * ours, the addresses and ports that two servers see, and who else may answer.
   */
  async natBehaviour({ servers, timeoutMs = 1_000 }) {
    const socket = createSocket('udp4');
    await new Promise((resolve) => socket.bind(0, resolve));
    const ask = async ({ address, port }, from = 'same') => {
      socket.send(from, port, address);
      const answer = await Promise.race([once(socket, 'message'), sleep(timeoutMs)]);
      return answer === undefined ? undefined : answer[0].toString();
    };
    const mapped = [];
    for (const server of servers) mapped.push(await ask(server));
    const otherPort = (await ask(servers[0], 'port')) !== undefined;
    const otherAddress = (await ask(servers[0], 'address')) !== undefined;
    socket.close();
    return { mapped, mapping: new Set(mapped).size === 1, otherPort, otherAddress };
  },

  /** Answers `address:port` of whoever asks: as asked, from the same socket, another port, or another address. */
  async stunServer({ address, port, other }) {
    const open = async (host, at) => {
      const socket = createSocket('udp4');
      await new Promise((resolve) => socket.bind(at, host, resolve));
      return socket;
    };
    const [same, elsewhere, third] = [
      await open(address, port),
      await open(address, 0),
      await open(other, 0),
    ];
    same.on('message', (data, from) => {
      const socket = { same, port: elsewhere, address: third }[data.toString()];
      socket?.send(`${from.address}:${from.port}`, from.port, from.address);
    });
    print({ listening: same.address().port });
    await new Promise(() => {});
  },

  /** Datagrams both ways at once, at a rate (a second) for a while, to an echo: how many came back whole. */
  async duplex({ address, port, bytes, rate, ms }) {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
    socket.connect(port, address);
    await once(socket, 'connect');
    const data = Buffer.concat([...pieces(bytes)]);
    let received = 0;
    let wrong = 0;
    socket.on('message', (reply) => (reply.length === bytes && matches(reply, 0) ? received++ : wrong++));
    socket.on('error', () => wrong++);
    const started = performance.now();
    let sent = 0;
    while (performance.now() - started < ms) {
      for (; sent < ((performance.now() - started) * rate) / 1000; sent++) socket.send(data);
      await sleep(2);
    }
    await sleep(500);
    socket.close();
    return { sent, received, wrong };
  },

  /** Joins a group, tells what came within the time. Prints {"listening"} first. */
  async joinGroup({ group, port, address, ms = 3_000 }) {
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    await new Promise((resolve) => socket.bind(port, resolve));
    socket.addMembership(group, address);
    print({ listening: port });
    const answer = await Promise.race([once(socket, 'message'), sleep(ms)]);
    socket.close();
    return answer === undefined
      ? { error: 'ETIMEOUT' }
      : { text: answer[0].toString(), from: answer[1].address };
  },

  /** Sends to a group by the interface with this address. */
  async sendGroup({ group, port, address, text }) {
    const socket = createSocket('udp4');
    await new Promise((resolve) => socket.bind(0, resolve));
    socket.setMulticastInterface(address);
    for (let n = 0; n < 5; n++) {
      socket.send(text, port, group);
      await sleep(100);
    }
    socket.close();
    return { sent: 5 };
  },

  /** One datagram from each of `count` new ports, some at a time; how many were answered. */
  async manyPorts({ address, port, count, perSecond, waitMs = 500 }) {
    let answered = 0;
    let failed = 0;
    const started = performance.now();
    const one = () => {
      const socket = createSocket('udp4');
      const done = () => socket.close();
      const timer = setTimeout(done, waitMs);
      socket.on('message', () => {
        answered++;
        clearTimeout(timer);
        done();
      });
      socket.on('error', () => failed++);
      socket.send('x', port, address, (error) => error && failed++);
    };
    for (let n = 0; n < count;) {
      const due = Math.min(count, Math.ceil(((performance.now() - started) * perSecond) / 1000));
      for (; n < due; n++) one();
      await sleep(5);
    }
    const ms = Math.round(performance.now() - started);
    await sleep(waitMs * 2);
    return { count, answered, failed, ms };
  },

  /** Reads to the server's FIN, waits, then still sends `bytes` and ends: the other half of a half-close. */
  async late({ address, port, bytes, holdMs = 300, timeoutMs = 20_000 }) {
    const socket = connect({ host: address, port, allowHalfOpen: true });
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error('ETIMEOUT')));
    let received = 0;
    let how = 'fin';
    socket.on('data', (data) => (received += data.length));
    socket.on('error', (error) => (how = error.code ?? error.message));
    await Promise.race([once(socket, 'end'), once(socket, 'close')]);
    await sleep(holdMs);
    for (const piece of pieces(bytes)) if (!socket.write(piece)) await once(socket, 'drain');
    socket.end();
    await once(socket, 'close');
    return { received, how };
  },

  /** Starts `count` dials that nobody answers, and gives them all up after `holdMs`. */
  async giveUp({ address, port, count = 1, holdMs = 500 }) {
    const sockets = Array.from({ length: count }, () => connect({ host: address, port }));
    sockets.forEach((socket) => socket.on('error', () => undefined));
    await sleep(holdMs);
    sockets.forEach((socket) => socket.destroy());
    return { count };
  },

  /** Asks for the gateway's name every `interval` ms, for `millis`; how long answers took, ms, and how many never came. */
  async dns({ address, millis, interval }) {
    const socket = createSocket('udp4');
    const name = Buffer.from('\x07gateway\x08netproxy\x08internal\0');
    const asked = new Map();
    const times = [];
    socket.on('message', (data) => {
      const at = asked.get(data.readUInt16BE(0));
      asked.delete(data.readUInt16BE(0));
      if (at !== undefined) times.push(performance.now() - at);
    });
    const end = performance.now() + millis;
    for (let id = 1; performance.now() < end; id++) {
      const head = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
      asked.set(id, performance.now());
      socket.send(Buffer.concat([head, name, Buffer.from([0, 1, 0, 1])]), 53, address);
      await sleep(interval);
    }
    await sleep(1000);
    socket.close();
    times.sort((a, b) => a - b);
    const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))];
    return { answered: times.length, lost: asked.size, p50: at(0.5), p99: at(0.99) };
  },

  /** Listens, takes one connection, and tells what came and how it ended. Prints {"listening"} first. */
  async takeOne({ address, port, bytes = 0, reset = false, timeoutMs = 20_000 }) {
    const server = createServer({ allowHalfOpen: true });
    server.listen(port, address);
    await once(server, 'listening');
    print({ listening: server.address().port });
    const taken = await Promise.race([once(server, 'connection'), sleep(timeoutMs)]);
    server.close();
    if (taken === undefined) return { error: 'ETIMEOUT' };
    const [socket] = taken;
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error('ETIMEOUT')));
    const hash = createHash('sha256');
    let received = 0;
    let how = 'fin';
    socket.on('data', (data) => {
      hash.update(data);
      received += data.length;
    });
    socket.on(
      'error',
      (error) => (how = error.code === 'ECONNRESET' ? 'reset' : (error.code ?? error.message)),
    );
    for (const piece of pieces(bytes)) socket.write(piece);
    if (reset) socket.resetAndDestroy();
    else socket.on('end', () => socket.end());
    await once(socket, 'close');
    return { received, sha256: hash.digest('hex'), how, remote: socket.remoteAddress };
  },
};

const request = JSON.parse(process.argv[2]);
try {
  print(await MODES[request.mode](request));
} catch (error) {
  print({ error: error.code ?? String(error) });
}
process.exit(0);
