import { createHash } from 'node:crypto';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeIo } from '../../host/index.js';
import { createNetwork } from '../../index.js';
import { byLine } from './agent-messages.js';
import { parseSize } from './demo.js';
import { QemuAgent } from './qemu-agent.js';
import { ScriptedDemoGuest } from './scripted-guest.js';
import {
  type ScriptResult,
  type Shell,
  shellDownload,
  shellPing,
  shellRefused,
  shellResolve,
  shellUpload,
} from './shell.js';
import { STEPS } from './steps.js';
import { digestOf, httpDownload, httpUpload, parseReceipt, testBytes } from './transfer.js';

const open: (() => void)[] = [];
afterEach(() => {
  for (const close of open.splice(0)) close();
});

/** A TCP server on loopback; its port. */
async function listen(handler: (socket: Socket) => void): Promise<number> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  open.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

describe('parseSize', () => {
  it.each([
    ['100MB', 100e6],
    ['1GB', 1e9],
    ['512KiB', 524_288],
    ['20m', 20e6],
    ['1', 1],
    ['3 gib', 3 * 2 ** 30],
  ])('%s is %d', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', '0', '-1', '1.5GB', '1TB', 'MB', '9999999GB'])('%j is none', (text) => {
    expect(() => parseSize(text)).toThrow('--size');
  });
});

describe('transfer', () => {
  it('has test bytes whose beginning is the same at any length', () => {
    const all = Buffer.concat([...testBytes(200_001)]);
    expect(all.length).toBe(200_001);
    expect(Buffer.concat([...testBytes(70_000)]).equals(all.subarray(0, 70_000))).toBe(true);
    expect(digestOf(200_001)).toBe(sha256(all));
    expect([...testBytes(0)]).toEqual([]);
  });

  it('uploads, and reads the receipt', async () => {
    const port = await listen((socket) => {
      let body = Buffer.alloc(0);
      socket.on('data', (chunk) => {
        body = Buffer.concat([body, chunk]);
        const start = body.indexOf('\r\n\r\n') + 4;
        if (start < 4 || body.length - start < 100_000) return;
        socket.end(`HTTP/1.1 200 OK\r\n\r\n100000 ${sha256(body.subarray(start))}\n`);
      });
    });
    const receipt = await httpUpload(connect(port, '127.0.0.1'), 100_000);
    expect(receipt).toMatchObject({ bytes: 100_000, sha256: digestOf(100_000) });
  });

  it('downloads and hashes the body, however it is cut', async () => {
    const port = await listen((socket) => {
      socket.write('HTTP/1.0 200 OK\r\n');
      setTimeout(() => socket.end('X: y\r\n\r\nbody'), 10);
    });
    const got = await httpDownload(connect(port, '127.0.0.1'), 4);
    expect(got).toMatchObject({ bytes: 4, sha256: sha256(Buffer.from('body')) });
  });

  it.each([
    ['HTTP/1.0 404 Not Found\r\n\r\n', 'the server said HTTP/1.0 404 Not Found'],
    ['HTTP/1.0', 'the connection ended before the answer'],
    ['x'.repeat(20_000), 'no HTTP answer'],
  ])('rejects %j', async (answer, why) => {
    const port = await listen((socket) => {
      socket.on('error', () => undefined).resume();
      socket.end(answer);
    });
    await expect(httpDownload(connect(port, '127.0.0.1'), 4)).rejects.toThrow(why);
  });

  it('knows a receipt', () => {
    expect(parseReceipt(`5 ${'a'.repeat(64)}\n`)).toEqual({ bytes: 5, sha256: 'a'.repeat(64) });
    expect(() => parseReceipt('nonsense')).toThrow('unexpected answer "nonsense"');
  });
});

describe('byLine', () => {
  it('gives whole lines', () => {
    const lines: string[] = [];
    const take = byLine((line) => lines.push(line));
    for (const chunk of ['a', 'b\nc', '\n', '\nd']) take(Buffer.from(chunk));
    expect(lines).toEqual(['ab', 'c', '']);
  });
});

describe('shell', () => {
  const saying =
    (output: string, code = 0): Shell =>
    async (): Promise<ScriptResult> => ({ code, output });

  it('reads ping', async () => {
    const output = '64 bytes from x: icmp_seq=1 ttl=64 time=0.50 ms\n64 bytes: seq=2 ttl=64 time=0.25 ms\n';
    expect(await shellPing(saying(output), 'ping', '10.0.0.1')).toBe(0.25);
    await expect(
      shellPing(saying('3 packets transmitted, 0 received', 1), 'ping', '10.0.0.1'),
    ).rejects.toThrow('0 received');
  });

  it('reads dig', async () => {
    expect(await shellResolve(saying('alias.\n10.0.0.7\n'), 'x')).toBe('10.0.0.7');
    await expect(shellResolve(saying(''), 'x')).rejects.toThrow('x has no address');
  });

  it('reads curl', async () => {
    const digest = 'b'.repeat(64);
    expect(await shellDownload(saying(`0.500 100\n${digest}  /f\n`), '/f', 'u')).toEqual({
      ms: 500,
      bytes: 100,
      sha256: digest,
    });
    expect(await shellUpload(saying(`100 ${digest}\n0.25\n`), '/f', 'u')).toEqual({
      ms: 250,
      bytes: 100,
      sha256: digest,
    });
    const refused = "0.004\ncurl: (7) Failed to connect to 10.0.0.1 port 1: Couldn't connect to server\n";
    expect(await shellRefused(saying(refused, 7), 'u')).toBe(4);
    await expect(shellRefused(saying('0.1\n'), 'u')).rejects.toThrow('it was accepted');
    await expect(shellRefused(saying('10.0\ncurl: (28) timed out\n', 28), 'u')).rejects.toThrow('timed out');
  });
});

describe('QemuAgent', () => {
  /** An agent and the guest's end of its port. */
  async function pair(): Promise<{ agent: QemuAgent; guest: Socket }> {
    let guest: Socket | undefined;
    const port = await listen((socket) => {
      guest = socket;
    });
    const socket = connect(port, '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    while (guest === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
    open.push(() => guest?.destroy());
    return { agent: new QemuAgent(socket), guest };
  }

  it('matches answers that come in pieces and out of order', async () => {
    const { agent, guest } = await pair();
    guest.write('READY 1.23 0 0\n');
    await agent.ready;
    const first = agent.run('one');
    const second = agent.run('two');
    guest.write('END 2 7 8\nEND 1 0 ');
    guest.write('END 1 0 3\nabc');
    expect(await second).toEqual({ code: 7, output: 'END 1 0 ' });
    expect(await first).toEqual({ code: 0, output: 'abc' });
  });

  it('fails what waits when the guest is gone, or says something else', async () => {
    const { agent, guest } = await pair();
    const waiting = agent.run('x');
    guest.destroy();
    await expect(waiting).rejects.toThrow('the guest is gone');
    const other = await pair();
    const lost = other.agent.run('x');
    other.guest.write('nonsense\n');
    await expect(lost).rejects.toThrow('something else');
  });
});

describe('steps', () => {
  it('pass on the scripted guest', async () => {
    const text = (url: string): Promise<string> => fetch(url).then((response) => response.text());
    await using network = createNetwork(
      { policy: { default: 'deny', rules: ['allow host'] } },
      { native: false },
    );
    await network.start();
    const http = await listen((socket) => {
      serveBytes(socket);
    });
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    const echo = await nodeIo.bindUdp('127.0.0.1', 0, {
      datagram: (bytes, host, from) => {
        echo.send(bytes, host, from);
      },
      error: () => undefined,
    });
    open.push(() => {
      echo.close();
    });
    const guest = new ScriptedDemoGuest(network);
    const scene = {
      network,
      guest,
      servers: { address: '127.0.0.1', http, udp: echo.port, closed: port },
      target: network.addresses.hostAlias!,
      bytes: 100_000,
      get: async (url: string) => (url.includes('/digest/') ? `100000 ${digestOf(100_000)}\n` : text(url)),
    };
    const lines: string[] = [];
    for (const step of STEPS) lines.push(await step.run(scene));
    await guest.close();
    expect(lines).toHaveLength(8);
    expect(lines[0]).toMatch(/^lease 192\.168\.\d+\.2 in [\d.]+ ms$/);
    expect(lines[4]).toMatch(/^100 kB down at [\d.]+ .bit\/s, sha256 ok$/);
  });
});

/** The servers of the demo as far as one connection needs them. */
function serveBytes(socket: Socket): void {
  let seen = Buffer.alloc(0);
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    seen = Buffer.concat([seen, chunk]);
    const start = seen.indexOf('\r\n\r\n') + 4;
    if (start < 4) return;
    if (seen.toString('latin1', 0, 3) === 'GET') {
      socket.write('HTTP/1.0 200 OK\r\n\r\n');
      for (const piece of testBytes(100_000)) socket.write(piece);
      socket.end();
    } else if (seen.length - start >= 100_000) {
      socket.end(`HTTP/1.0 200 OK\r\n\r\n100000 ${sha256(seen.subarray(start))}\n`);
    }
  });
}
