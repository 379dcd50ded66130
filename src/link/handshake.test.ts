/** vpnkit and connect handshakes, byte for byte, over real sockets. */
import { createServer as createHttpServer, request } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BlockPool, formatIpv4, ipv4, parseMac, plainMemory, silentLogger } from '../core/index.js';
import type { Ipv4, Link, Logger } from '../core/index.js';
import { sniff } from './accept.js';
import type { StreamKind } from './accept.js';
import { Collector, pause, testFrame, transmit } from './compliance.testutil.js';
import { HEAD_MAX } from './connect.js';
import { listenLinks, MAX_HANDSHAKES } from './listener.js';
import type { LinkListener, ListenDeps } from './listener.js';
import { CONNECT_REQUEST, dial, readExactly, StreamPeer, vmn3t, vpnkitCommand } from './peers.testutil.js';
import type { LinkPeer } from './types.js';

const UUID = '9A1C3D5E-0000-4000-8000-00000000000A';
const MAC = parseMac('5a:94:ef:e4:0c:ee')!;

let directory: string;
let file: string;
let listener: LinkListener | undefined;
const links: [Link, LinkPeer][] = [];
const warnings: string[] = [];
const sockets: Socket[] = [];

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'handshake-'));
  file = path.join(directory, 's');
  warnings.length = links.length = sockets.length = 0;
});

afterEach(async () => {
  for (const [link] of links) link.close();
  for (const socket of sockets) socket.destroy();
  await listener?.close();
  rmSync(directory, { recursive: true });
});

async function serve(kind: StreamKind, more: Partial<ListenDeps> = {}): Promise<void> {
  const logger: Logger = { ...silentLogger, warn: (message) => warnings.push(message) };
  listener = await listenLinks(kind, file, {
    pool: new BlockPool(plainMemory),
    logger,
    onLink: (link, peer) => links.push([link, peer]),
    assign: () => ({ ok: true, mac: MAC, ip: ipv4(0xc0a87f02) }),
    ...more,
  });
}

async function client(): Promise<Socket> {
  const socket = await dial({ path: file });
  sockets.push(socket);
  return socket;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(2);
}

/** Everything until the server closes. */
async function all(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of socket) parts.push(chunk as Buffer);
  return Buffer.concat(parts);
}

function disconnect(message: string): Buffer {
  const bytes = Buffer.alloc(258);
  bytes[0] = 2;
  bytes[1] = message.length;
  bytes.write(message, 2);
  return bytes;
}

describe('vpnkit', () => {
  it('answers byte for byte and keeps frames that come with the last step', async () => {
    const asked: [string, string | undefined][] = [];
    const assign = (uuid: string, ip?: Ipv4) => {
      asked.push([uuid, ip === undefined ? undefined : formatIpv4(ip)]);
      return Promise.resolve({ ok: true as const, mac: MAC, ip: ipv4(0xc0a84105) });
    };
    await serve('vpnkit', { assign, mtu: 1500 });
    const socket = await client();
    socket.write(vmn3t());
    const init = await readExactly(socket, 49);
    expect(init).toEqual(Buffer.from(`VMN3T\x16\0\0\0${'0'.repeat(40)}`, 'latin1'));
    const frame = testFrame(60, 5);
    socket.write(Buffer.concat([vpnkitCommand(8, UUID, [5, 0x41, 0xa8, 0xc0]), Buffer.from([60, 0]), frame]));
    const vif = await readExactly(socket, 258);
    const expected = Buffer.alloc(258);
    expected.set([1, 0xdc, 5, 0x0e, 6, 0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee]);
    expect(vif).toEqual(expected);
    expect(asked).toEqual([[UUID.toLowerCase(), '192.168.65.5']]);
    await until(() => links.length === 1);
    const [link, peer] = links[0]!;
    expect(peer).toMatchObject({ uuid: UUID.toLowerCase(), mac: MAC, ip: 0xc0a84105 });
    const handler = new Collector();
    link.start(handler);
    expect(await handler.take(1)).toEqual([frame]);
  });

  it('takes the handshake byte by byte and invents a UUID', async () => {
    await serve('vpnkit', { mtu: 65_520 });
    const socket = await client();
    for (const byte of Buffer.concat([vmn3t(), vpnkitCommand(1, '\0'.repeat(36))])) {
      socket.write(Uint8Array.of(byte));
      await pause(0);
    }
    const answer = await readExactly(socket, 49 + 258);
    expect([answer!.readUInt16LE(50), answer!.readUInt16LE(52)]).toEqual([65_520, 65_535]);
    await until(() => links.length === 1);
    expect(links[0]![1].uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
  });

  it('sends its version to another one, then closes', async () => {
    await serve('vpnkit');
    const socket = await client();
    socket.write(vmn3t(21));
    expect((await all(socket)).readUInt32LE(5)).toBe(22);
    expect(warnings[0]).toContain('version 21');
  });

  it.each([
    ['Bind_ipv4', Uint8Array.of(6), 'Bind_ipv4 is not supported'],
    ['an unknown command', Uint8Array.of(99), 'Command 99 is not supported'],
    ['a bad UUID', vpnkitCommand(1, 'x'.repeat(36)), 'Invalid UUID'],
  ])('answers Disconnect to %s', async (_, command, message) => {
    await serve('vpnkit');
    const socket = await client();
    socket.write(Buffer.concat([vmn3t(), command]));
    expect((await all(socket)).subarray(49)).toEqual(disconnect(message));
    expect(links).toHaveLength(0);
    expect(listener!.stats.refused).toBe(1);
  });

  it("passes the registry's refusal on, cut to what its length byte can say", async () => {
    let message = 'No IP addresses available.';
    await serve('vpnkit', { assign: () => ({ ok: false, message }) });
    const first = await client();
    first.write(Buffer.concat([vmn3t(), vpnkitCommand(1, UUID)]));
    expect((await all(first)).subarray(49)).toEqual(disconnect(message));
    message = 'x'.repeat(300);
    const second = await client();
    second.write(Buffer.concat([vmn3t(), vpnkitCommand(1, UUID)]));
    expect((await all(second)).subarray(49)).toEqual(disconnect('x'.repeat(255)));
  });

  it.each([
    ['another magic', Buffer.from('HELLO world')],
    ['a peer that leaves', undefined],
  ])('ends %s', async (_, bytes) => {
    await serve('vpnkit');
    const socket = await client();
    if (bytes === undefined) socket.end(vmn3t().subarray(0, 20));
    else socket.write(bytes);
    await all(socket).catch(() => undefined);
    await until(() => listener!.stats.refused === 1);
  });

  it('ends a handshake that is late, and goes on', async () => {
    await serve('vpnkit', { handshakeTimeout: 30 });
    const socket = await client();
    socket.write(vmn3t().subarray(0, 48));
    await all(socket);
    expect(warnings[0]).toContain('no handshake within 30 ms');
  });
});

describe('connect', () => {
  it('answers nothing and keeps frames in the same segment', async () => {
    await serve('connect');
    const socket = await client();
    const frame = testFrame(77, 2);
    socket.write(Buffer.concat([CONNECT_REQUEST, Buffer.from([77, 0]), frame]));
    await until(() => links.length === 1);
    const [link, peer] = links[0]!;
    expect(peer.uuid).toBeUndefined();
    const handler = new Collector();
    link.start(handler);
    expect(await handler.take(1)).toEqual([frame]);
    transmit(link, frame);
    link.output.flush();
    const far = new StreamPeer(socket, 'le16');
    expect(await far.take(1)).toEqual([frame]);
  });

  it('takes the head cut anywhere', async () => {
    await serve('connect');
    const bytes = Buffer.concat([CONNECT_REQUEST, Buffer.from([14, 0]), testFrame(14)]);
    for (let cut = 1; cut < bytes.length; cut += 9) {
      const socket = await client();
      socket.write(bytes.subarray(0, cut));
      await pause(1);
      socket.write(bytes.subarray(cut));
      await until(() => links.length === 1);
      const handler = new Collector();
      links[0]![0].start(handler);
      expect(await handler.take(1)).toEqual([testFrame(14)]);
      links.pop()![0].close();
    }
  });

  it('sniffs vpnkit on the same socket', async () => {
    await serve('connect');
    const socket = await client();
    socket.write(Buffer.concat([vmn3t(), vpnkitCommand(1, UUID)]));
    await until(() => links.length === 1);
    expect(links[0]![0].kind).toBe('vpnkit');
  });

  it('hands other requests to the HTTP server, whole', async () => {
    const http = createHttpServer((incoming, outgoing) => {
      let body = '';
      incoming.on('data', (chunk: Buffer) => (body += chunk.toString()));
      incoming.on('end', () => outgoing.end(`${incoming.method} ${incoming.url} ${body}`));
    });
    await serve('connect', { http: (socket) => http.emit('connection', socket) });
    const ask = (method: string, url: string, body: string): Promise<string> =>
      new Promise((resolve, reject) => {
        const outgoing = request({ socketPath: file, method, path: url }, (incoming) => {
          let text = '';
          incoming.on('data', (chunk: Buffer) => (text += chunk.toString()));
          incoming.on('end', () => resolve(text));
        });
        outgoing.on('error', reject).end(body);
      });
    expect(await ask('GET', '/stats', '')).toBe('GET /stats ');
    expect(await ask('POST', '/connections', 'hello')).toBe('POST /connections hello');
    const large = 'x'.repeat(300_000);
    expect(await ask('POST', '/services/forwarder/expose', large)).toBe(
      `POST /services/forwarder/expose ${large}`,
    );
    // Cut inside the words that tell.
    const socket = await client();
    socket.write('POST /con');
    await pause(5);
    socket.write('figure HTTP/1.0\r\nConnection: close\r\n\r\n');
    expect((await all(socket)).toString()).toContain('POST /configure ');
    http.closeAllConnections();
    expect(links).toHaveLength(0);
    expect(listener!.stats.refused).toBe(0);
  });

  it.each([
    ['another request without a server', 'GET / HTTP/1.1\r\n\r\n', 'HTTP/1.1 404 '],
    ['a body', 'POST /connect HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello', 'HTTP/1.1 400 '],
    ['chunks', 'POST /connect HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n', 'HTTP/1.1 400 '],
    ['a malformed line', 'POST /connect HTTP/9\r\n\r\n', 'HTTP/1.1 400 '],
    ['a head without an end', `POST /connect HTTP/1.1\r\n${'x'.repeat(HEAD_MAX)}`, 'HTTP/1.1 431 '],
  ])('answers %s', async (_, text, expected) => {
    await serve('connect');
    const socket = await client();
    socket.write(text);
    const answer = (await all(socket)).toString();
    expect(answer.startsWith(expected)).toBe(true);
    expect(answer.endsWith('\n')).toBe(true);
    expect(links).toHaveLength(0);
  });

  it('takes nobody for a guest who only looks whether somebody listens', async () => {
    await serve('qemu');
    for (let n = 1; n <= 3; n++) {
      const socket = await client();
      socket.end();
      await until(() => listener!.stats.probes === n);
    }
    expect(links).toHaveLength(0);
    expect(listener!.stats).toMatchObject({ accepted: 0, refused: 0 });
    // Nothing to say, and it stays: a guest.
    await client();
    await until(() => links.length === 1);
  });

  it('bounds the handshakes under way', async () => {
    await serve('connect', { handshakeTimeout: 5000 });
    const waiting = await Promise.all(Array.from({ length: MAX_HANDSHAKES }, client));
    await pause(20);
    const late = await client();
    await all(late).catch(() => undefined);
    expect(listener!.stats.overLimit).toBe(1);
    waiting[0]!.destroy();
    await until(() => listener!.stats.refused === 1);
    const next = await client();
    next.write(CONNECT_REQUEST);
    await until(() => links.length === 1);
  });
});

describe('sniff', () => {
  it('tells as early as it can', () => {
    const text = (value: string) => sniff(Buffer.from(value));
    expect([text(''), text('V'), text('VMN3'), text('VMN3T'), text('VMN3Tx')]).toEqual([
      undefined,
      undefined,
      undefined,
      'vpnkit',
      'vpnkit',
    ]);
    expect([text('P'), text('VMX'), text('\0\0')]).toEqual(['http', 'http', 'http']);
  });
});
