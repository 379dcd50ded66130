#!/usr/bin/env node
// The clients that many flows need. Runs inside a namespace or a guest:
//
//   client.mjs '{"mode":"flows","targets":[{"address":"198.18.0.1","port":7}],"flows":1000,"bytes":10000}'
//
// Prints one JSON object with the result as its last line. Lines before it say how far it is.
// lab.ts has the types of requests and results (ClientRequest).

import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { matches, pieces } from './bytes.mjs';

const print = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const now = () => performance.now();

/** A connection that stands, or an error with its code; ETIMEOUT after `timeoutMs`. */
function dial({ address, port }, timeoutMs) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, allowHalfOpen: true });
    const late = Object.assign(new Error(`no answer from ${address}:${port}`), { code: 'ETIMEOUT' });
    const timer = setTimeout(() => socket.destroy(late), timeoutMs);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', reject);
      socket.on('error', () => undefined);
      resolve(socket);
    });
    socket.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}

const fail = (code) => Object.assign(new Error(code), { code });

async function send(socket, bytes, offset = 0) {
  for (const piece of pieces(bytes, offset)) {
    if (socket.destroyed) throw socket.errored ?? fail('ECLOSED');
    if (!socket.write(piece)) await drained(socket);
  }
}

function drained(socket) {
  return new Promise((resolve) => {
    const done = () => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}

/** Reads to the end: bytes, digest, the first kilobyte as text, and how it ended (fin, reset or error). */
function receive(socket) {
  return new Promise((resolve) => {
    const hash = createHash('sha256');
    const result = { bytes: 0, text: '', how: 'error' };
    socket.on('data', (data) => {
      hash.update(data);
      if (result.text.length < 1024) result.text += data.toString('latin1', 0, 1024);
      result.bytes += data.length;
    });
    socket.once('end', () => (result.how = 'fin'));
    socket.once('error', (error) => {
      result.how = error.code === 'ECONNRESET' ? 'reset' : 'error';
      result.error = error.code;
    });
    const finish = () => resolve({ ...result, sha256: hash.digest('hex') });
    socket.once('end', finish);
    socket.once('close', finish);
  });
}

/** Sends and expects the same back, byte for byte. */
function echo(socket, bytes, offset, timeoutMs) {
  return new Promise((resolve, reject) => {
    let got = 0;
    const end = (error) => {
      clearTimeout(timer);
      socket.removeAllListeners('data').removeAllListeners('close');
      if (error === undefined) resolve();
      else reject(error);
    };
    const timer = setTimeout(() => end(fail('ETIMEOUT')), timeoutMs);
    socket.on('data', (data) => {
      if (!matches(data, offset + got)) return end(fail('EDIGEST'));
      got += data.length;
      if (got === bytes) end();
      if (got > bytes) end(fail('ETOOMUCH'));
    });
    socket.once('close', () => end(socket.errored ?? fail('ECLOSED')));
    send(socket, bytes, offset).catch(end);
    if (bytes === 0) end();
  });
}

/** Half-closes and waits for the other side's FIN. */
function finish(socket, timeoutMs) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.destroy();
      reject(fail('ENOFIN'));
    }, timeoutMs);
    socket.once('close', () => {
      clearTimeout(timer);
      if (socket.errored) reject(socket.errored);
      else resolve();
    });
    socket.resume();
    socket.end();
  });
}

/** Runs `count` jobs, at most `concurrency` at a time; counts failures by code. */
async function many(count, concurrency, job) {
  const errors = {};
  let next = 0;
  let ok = 0;
  const worker = async () => {
    while (next < count) {
      try {
        await job(next++);
        ok++;
      } catch (error) {
        const code = error.code ?? error.message;
        errors[code] = (errors[code] ?? 0) + 1;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, count) }, worker));
  return { ok, failed: count - ok, errors };
}

const MODES = {
  /** Many echo flows; `together`: all are open before the first byte, and all transfer before the first closes. */
  async flows({ targets, flows = 1, bytes = 1000, concurrency = 100, together = false, timeoutMs = 30_000 }) {
    const target = (index) => targets[index % targets.length];
    if (!together) {
      return many(flows, concurrency, async (index) => {
        const socket = await dial(target(index), timeoutMs);
        try {
          await echo(socket, bytes, index * 997, timeoutMs);
          await finish(socket, timeoutMs);
        } finally {
          socket.destroy();
        }
      });
    }
    const sockets = [];
    const opened = await many(
      flows,
      concurrency,
      async (index) => void (sockets[index] = await dial(target(index), timeoutMs)),
    );
    const open = sockets.filter(Boolean);
    print({ open: open.length });
    const moved = await many(open.length, open.length, (index) =>
      echo(open[index], bytes, index * 997, timeoutMs),
    );
    const closed = await many(open.length, open.length, (index) => finish(open[index], timeoutMs));
    open.forEach((socket) => socket.destroy());
    const errors = [opened, moved, closed].map((step) => step.errors);
    return {
      ok: Math.min(opened.ok, moved.ok, closed.ok),
      failed: opened.failed + moved.failed + closed.failed,
      errors,
    };
  },

  /** Sends `bytes` and half-closes; the answer (of a tcp-discard server) is in `text`. */
  async upload({ address, port, bytes, offset = 0, timeoutMs = 30_000 }) {
    const socket = await dial({ address, port }, timeoutMs);
    const answer = receive(socket);
    await send(socket, bytes, offset);
    socket.end();
    return answer;
  },

  /** Reads to the end; `pauseMs` waits before the first read. */
  async download({ address, port, pauseMs = 0, timeoutMs = 30_000 }) {
    const socket = await dial({ address, port }, timeoutMs);
    if (pauseMs > 0) await sleep(pauseMs);
    const result = await receive(socket);
    socket.destroy();
    return result;
  },

  /** Connects, sends `bytes`, waits `holdMs`, then resets. */
  async abort({ address, port, bytes = 0, holdMs = 100, timeoutMs = 30_000 }) {
    const socket = await dial({ address, port }, timeoutMs);
    await send(socket, bytes);
    await sleep(holdMs);
    socket.resetAndDestroy();
    return {};
  },

  /** Connects, says so, and tells how the other side ends it. */
  async hold({ address, port, bytes = 0, timeoutMs = 30_000 }) {
    const socket = await dial({ address, port }, timeoutMs);
    print({ connected: true });
    socket.once('data', () => print({ receiving: true }));
    const result = receive(socket);
    await send(socket, bytes);
    return result;
  },

  /** Only connects, `count` at once; `dialling` is printed when all SYNs are out. Times are in ms. */
  async connect({ targets, count = 1, timeoutMs = 5_000 }) {
    const times = [];
    const result = many(count, count, async (index) => {
      const started = now();
      try {
        const socket = await dial(targets[index % targets.length], timeoutMs);
        socket.destroy();
      } finally {
        times[index] = Math.round((now() - started) * 10) / 10;
      }
    });
    print({ dialling: count });
    return { ...(await result), times };
  },

  /** Datagrams to an echo server, `rate` a second; counts what came back right. `anyPeer`: replies from others count too. */
  async udp({ address, port, count = 10, bytes = 100, rate = 1000, waitMs = 1000, anyPeer = false }) {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
    const seen = new Set();
    const from = new Set();
    const errors = {};
    let wrong = 0;
    socket.on('message', (data, remote) => {
      from.add(`${remote.address}:${remote.port}`);
      if (!anyPeer && (remote.address !== address || remote.port !== port)) return void wrong++;
      const index = data.length >= 4 ? data.readUInt32BE(0) : -1;
      if (data.length === bytes && matches(data.subarray(4), index)) seen.add(index);
      else wrong++;
    });
    socket.on('error', (error) => (errors[error.code] = (errors[error.code] ?? 0) + 1));
    await new Promise((resolve) => socket.bind(0, resolve));
    for (let index = 0; index < count; index++) {
      const head = Buffer.alloc(4);
      head.writeUInt32BE(index);
      socket.send(Buffer.concat([head, ...pieces(bytes - 4, index)]), port, address, (error) => {
        if (error) errors[error.code] = (errors[error.code] ?? 0) + 1;
      });
      if (index % 10 === 9) await sleep(10_000 / rate);
    }
    const deadline = now() + waitMs;
    while (seen.size < count && now() < deadline) await sleep(10);
    socket.close();
    return { sent: count, received: seen.size, wrong, from: [...from], errors };
  },
};

const request = JSON.parse(process.argv[2]);
const started = now();
try {
  const result = await MODES[request.mode](request);
  print({ ...result, ms: Math.round(now() - started) });
} catch (error) {
  print({ error: error.code ?? String(error), ms: Math.round(now() - started) });
}
process.exit(0);
