#!/usr/bin/env node
/**
 * The demo's hands in the guest's namespace: `agent.js SOCKET` connects to the demo over a unix socket (a path works across
 * network namespaces) and does what it is told, with the guest's own kernel. Ends with the connection.
 */
import { execFile } from 'node:child_process';
import { type Socket, connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AgentCalls, type AgentRequest, type AgentVerb, byLine } from './agent-messages.js';
import { leaseByHand } from './agent-dhcp.js';
import { pingByHand } from './agent-ping.js';
import { nodeIo } from '../../host/index.js';
import { httpDownload, httpUpload } from './transfer.js';

const SCRIPT_TIMEOUT = 300_000;
const CONNECT_TIMEOUT = 10_000;

type Hands = { readonly [V in AgentVerb]: (ask: AgentCalls[V]['ask']) => Promise<AgentCalls[V]['answer']> };

/** A connection that stands; rejects with the errno's error. */
function dial(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, family: 4, allowHalfOpen: true, timeout: CONNECT_TIMEOUT });
    socket.once('timeout', () => socket.destroy(new Error(`no answer within ${CONNECT_TIMEOUT} ms`)));
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.setTimeout(0);
      resolve(socket);
    });
  });
}

const hands: Hands = {
  exec: ({ script }) =>
    new Promise((resolve) => {
      execFile(
        '/bin/sh',
        ['-c', script],
        { timeout: SCRIPT_TIMEOUT, maxBuffer: 1 << 20 },
        (error, stdout, stderr) => {
          const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
          resolve({ code, output: `${stdout}${stderr}` });
        },
      );
    }),
  lease: async ({ gateway }) => ({ ip: await leaseByHand(gateway) }),
  ping: async ({ ip }) => ({ ms: await pingByHand(ip) }),
  // The guest's own resolver, by getaddrinfo: `connect` looks names up before it dials.
  resolve: ({ name }) =>
    new Promise((resolve, reject) => {
      const socket = connect({ host: name, port: 9, family: 4 });
      socket.once('lookup', (error: Error | null, ip: string) => {
        if (error === null) resolve({ ip });
        else reject(error);
        socket.destroy();
      });
      socket.once('error', reject);
    }),
  refused: async ({ ip, port }) => {
    const started = performance.now();
    const outcome = await dial(ip, port).catch((error: unknown) => error as NodeJS.ErrnoException);
    const ms = performance.now() - started;
    if (outcome instanceof Error) {
      if (outcome.code === 'ECONNREFUSED') return { ms };
      throw outcome;
    }
    outcome.destroy();
    throw new Error('it was accepted');
  },
  download: async ({ ip, port, bytes }) => httpDownload(await dial(ip, port), bytes),
  upload: async ({ ip, port, bytes }) => httpUpload(await dial(ip, port), bytes),
  udp: async ({ ip, port, count }) => ({ back: await udpEcho(ip, port, count) }),
  serve: ({ port, text }) =>
    new Promise((resolve, reject) => {
      const server = createServer((socket) => {
        socket.on('error', () => undefined);
        socket.once('data', () =>
          socket.end(`HTTP/1.0 200 OK\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`),
        );
      });
      server.once('error', reject).listen(port, () => {
        resolve({});
      });
    }),
};

/** Datagrams one after the other, each once; what is back within two seconds counts. */
async function udpEcho(ip: string, port: number, count: number): Promise<number> {
  const seen = new Set<string>();
  const socket = await nodeIo.bindUdp('0.0.0.0', 0, {
    datagram: (bytes) => {
      seen.add(Buffer.from(bytes).toString());
    },
    error: () => undefined,
  });
  for (let n = 0; n < count; n++) {
    socket.send(Buffer.from(`datagram ${n}`), ip, port);
    await sleep(2);
  }
  for (let waited = 0; seen.size < count && waited < 2000; waited += 10) await sleep(10);
  socket.close();
  return seen.size;
}

const demo = connect({ path: process.argv[2] ?? '' });
demo.on(
  'data',
  byLine((line) => {
    const { id, verb, ask } = JSON.parse(line) as AgentRequest;
    const hand = hands[verb] as (ask: unknown) => Promise<unknown>;
    hand(ask).then(
      (answer) => demo.write(`${JSON.stringify({ id, answer })}\n`),
      (error: unknown) =>
        demo.write(
          `${JSON.stringify({ id, error: error instanceof Error ? error.message : String(error) })}\n`,
        ),
    );
  }),
);
demo.on('error', () => process.exit(1));
demo.on('close', () => process.exit(0));
