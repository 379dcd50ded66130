#!/usr/bin/env node
// The application above Linux's TCP. Runs inside a namespace:
//
//   listener.mjs PORT SMALL_PORT PEER
//
// Listens on both ports, on the second with small buffers. Reads commands from stdin, `SERIAL PEER_PORT COMMAND N`, and
// prints `done SERIAL`. Nothing is read from a connection before `read`. sides.ts is its other side.

import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const [port, smallPort, peer] = process.argv.slice(2);
const sockets = new Map();

/** Runs the work while sockets get 32 KiB of receive buffer, which they keep. */
async function withSmallBuffers(work) {
  const file = '/proc/sys/net/ipv4/tcp_rmem';
  const before = readFileSync(file, 'utf8');
  writeFileSync(file, '32768 32768 32768');
  await work();
  writeFileSync(file, before);
}

function keep(socket, remotePort) {
  sockets.set(remotePort, socket);
  socket.on('error', () => {});
}

function listen(at) {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) =>
    keep(socket, socket.remotePort),
  );
  return new Promise((resolve) => server.listen(Number(at), '0.0.0.0', resolve));
}

/** A connection is accepted a little after its handshake. */
async function socketOf(remotePort) {
  for (let i = 0; i < 1000; i++) {
    const socket = sockets.get(remotePort);
    if (socket !== undefined) return socket;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error(`no connection from port ${remotePort}`);
}

const COMMANDS = {
  write: (socket, n) => socket.write(Buffer.alloc(n)),
  end: (socket) => socket.end(),
  close: (socket) => socket.destroy(),
  abort: (socket) => socket.resetAndDestroy(),
  read: (socket) => socket.resume(),
};

async function run(line) {
  const [serial, remotePort, command, n] = line.split(' ');
  if (command === 'connect') {
    const options = { host: peer, port: Number(remotePort), localPort: Number(n), allowHalfOpen: true };
    keep(connect(options).pause(), Number(remotePort));
  } else COMMANDS[command](await socketOf(Number(remotePort)), Number(n));
  // What the command led to on the wire happened in the system call, in this turn or the next.
  setImmediate(() => process.stdout.write(`done ${serial}\n`));
}

createInterface({ input: process.stdin })
  .on('line', (line) => void run(line))
  .on('close', () => process.exit(0));

await withSmallBuffers(() => listen(smallPort));
await listen(port);
process.stdout.write('ready\n');
