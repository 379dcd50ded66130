#!/usr/bin/env node
/**
 * The servers that the demo's guest talks to: HTTP and a UDP echo. A process of its own, as in life, started as
 * `servers.js ADDRESS`; prints one line of JSON with the ports, and ends with its standard input.
 */
import { createHash } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { nodeIo } from '../../host/index.js';
import { digestOf, sendTestBytes } from './transfer.js';

/** Where they listen. */
export interface DemoServers {
  readonly address: string;
  readonly http: number;
  readonly udp: number;
  /** Nothing listens here. */
  readonly closed: number;
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  const [, what, size] = /^\/(bytes|digest)\/(\d{1,13})$/.exec(request.url ?? '') ?? [];
  if (request.method === 'PUT') {
    const hash = createHash('sha256');
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      bytes += chunk.length;
    });
    request.on('end', () => response.end(`${bytes} ${hash.digest('hex')}\n`));
  } else if (what === 'digest') {
    response.end(`${size ?? ''} ${digestOf(Number(size))}\n`);
  } else if (what === 'bytes') {
    response.writeHead(200, { 'content-length': size });
    // The client may go away at any time; that is its own affair.
    if (response.socket === null) return;
    response.flushHeaders();
    sendBody(response, Number(size)).catch(() => response.destroy());
  } else {
    response.writeHead(404).end();
  }
}

async function sendBody(response: ServerResponse, total: number): Promise<void> {
  // A ServerResponse writes like a stream; only its reading half is missing.
  await sendTestBytes(response as unknown as Parameters<typeof sendTestBytes>[0], total);
  response.end();
}

async function start(address: string): Promise<DemoServers> {
  const server = createServer(answer);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, address, resolve);
  });
  const echo = await nodeIo.bindUdp(address, 0, {
    datagram: (bytes, host, port) => {
      echo.send(bytes, host, port);
    },
    error: () => undefined,
  });
  return {
    address,
    http: (server.address() as AddressInfo).port,
    udp: echo.port,
    closed: await closedPort(address),
  };
}

/** A port that was free a moment ago. */
async function closedPort(address: string): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, address, resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const servers = await start(process.argv[2] ?? '127.0.0.1');
process.stdout.write(`${JSON.stringify(servers)}\n`);
process.stdin.resume().once('end', () => process.exit(0));
