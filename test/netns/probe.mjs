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
