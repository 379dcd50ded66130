import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import net, { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BlockPool, plainMemory, silentLogger } from '../core/index.js';
import type { Link } from '../core/index.js';
import { Collector, pause, testFrame } from './compliance.testutil.js';
import { fdLink, stdioLink } from './fd-link.js';
import { listeningInodes } from './holder.js';
import { listenLinks } from './listener.js';
import type { LinkListener } from './listener.js';
import { dial, StreamPeer } from './peers.testutil.js';
import { UNIX_PATH_MAX } from './spec.js';

let directory: string;
let file: string;
const open: LinkListener[] = [];
const links: Link[] = [];

beforeEach(() => {
  directory = fs.mkdtempSync(path.join(tmpdir(), 'listen-'));
  file = path.join(directory, 'q.sock');
});

afterEach(async () => {
  for (const link of links.splice(0)) link.close();
  for (const listener of open.splice(0)) await listener.close();
  fs.rmSync(directory, { recursive: true });
});

const deps = () => ({
  pool: new BlockPool(plainMemory),
  logger: silentLogger,
  onLink: (link: Link) => void links.push(link),
});

async function listen(where = file): Promise<LinkListener> {
  const listener = await listenLinks('qemu', where, deps());
  open.push(listener);
  return listener;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(2);
}

/** A process that listens at the path, and does not clean up when it is killed. */
async function otherProcess() {
  const script = `require('net').createServer().listen(process.argv[1], () => process.stdout.write('up'))`;
  const child = spawn(process.execPath, ['-e', script, file], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return child;
}

describe('a unix listener', () => {
  it('makes the socket 0600, whatever the umask, and removes it', async () => {
    const old = process.umask(0);
    const listener = await listen();
    process.umask(old);
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    expect(process.umask(old)).toBe(old);
    expect(fs.readdirSync(directory)).toEqual(['q.sock']);
    await listener.close();
    await listener.close();
    expect(fs.readdirSync(directory)).toEqual([]);
  });

  it('takes many guests and lets them live on when it closes', async () => {
    const listener = await listen();
    const sockets = await Promise.all(Array.from({ length: 20 }, () => dial({ path: file })));
    await until(() => links.length === 20);
    expect(listener.stats).toMatchObject({ links: 20, accepted: 20 });
    expect(new Set(links.map((link) => link.name)).size).toBe(20);
    await listener.close();
    const handler = new Collector();
    links[0]!.start(handler);
    for (const socket of sockets) new StreamPeer(socket, 'be32').send(testFrame(60));
    expect(await handler.take(1)).toEqual([testFrame(60)]);
    for (const socket of sockets) socket.destroy();
    for (const link of links) link.start(new Collector());
  });

  it('leaves a socket alone that somebody put at its path since', async () => {
    const listener = await listen();
    fs.rmSync(file);
    const other = createServer().listen({ path: file });
    await once(other, 'listening');
    await listener.close();
    expect(fs.existsSync(file)).toBe(true);
    (await dial({ path: file })).destroy();
    other.close();
  });

  it('reclaims the socket of a dead process', async () => {
    const child = await otherProcess();
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(fs.existsSync(file)).toBe(true);
    await listen();
    (await dial({ path: file })).destroy();
  });

  it('names the process that holds a live socket', async () => {
    const child = await otherProcess();
    await expect(listen()).rejects.toMatchObject({
      code: 'ERR_NETPROXY_LISTEN',
      errno: 'EADDRINUSE',
      message: expect.stringContaining(`pid ${child.pid}`),
      remedy: expect.stringContaining('Stop it'),
    });
    child.kill('SIGKILL');
    await once(child, 'exit');
    await listen();
    // A second netproxy is named too, although its socket was bound under another name.
    await expect(listen()).rejects.toMatchObject({ message: expect.stringContaining(`pid ${process.pid}`) });
    expect(fs.readdirSync(directory)).toEqual(['q.sock']);
  });

  it('replaces no other file', async () => {
    fs.writeFileSync(file, 'precious');
    await expect(listen()).rejects.toThrow('exists and is not a socket');
    expect(fs.readFileSync(file, 'utf8')).toBe('precious');
    fs.rmSync(file);
    fs.symlinkSync('/nowhere', file);
    await expect(listen()).rejects.toThrow('is not a socket');
    expect(fs.readdirSync(directory)).toEqual(['q.sock']);
  });

  it.runIf(process.getuid?.() === 0)('leaves a dead socket of another user alone', async () => {
    const child = await otherProcess();
    child.kill('SIGKILL');
    await once(child, 'exit');
    fs.chownSync(file, 12_345, 12_345);
    await expect(listen()).rejects.toThrow('belongs to user 12345');
    expect(fs.existsSync(file)).toBe(true);
  });

  it('says what is wrong with a path', async () => {
    await expect(listen(`${directory}/no/q`)).rejects.toThrow('its directory does not exist');
    await expect(listen(`${directory}/`.padEnd(UNIX_PATH_MAX + 1, 'x'))).rejects.toThrow('bytes long');
    expect(fs.readdirSync(directory)).toEqual([]);
  });

  it('takes a path of the greatest length', async () => {
    const long = `${directory}/`.padEnd(UNIX_PATH_MAX, 'x');
    const listener = await listen(long);
    (await dial({ path: long })).destroy();
    expect(fs.statSync(long).mode & 0o777).toBe(0o600);
    await listener.close();
    expect(fs.readdirSync(directory)).toEqual([]);
  });
});

interface Handle {
  readonly fd: number;
  getsockname(out: object): void;
}

describe('other addresses', () => {
  it('tells the port that was chosen, and a taken one', async () => {
    const listener = await listen('tcp:127.0.0.1:0');
    const port = Number(listener.address.split(':')[2]);
    expect(port).toBeGreaterThan(0);
    await expect(listen(`tcp:127.0.0.1:${port}`)).rejects.toMatchObject({
      code: 'ERR_NETPROXY_LISTEN',
      errno: 'EADDRINUSE',
      message: expect.stringMatching(/address already in use \(.+, pid \d+\)\.$/),
    });
  });

  it('listens on an inherited socket', async () => {
    // Bound but known to no event loop yet, as a parent's socket is.
    const make = (net as unknown as { _createServerHandle(host: string, port: number, family: 4): Handle })
      ._createServerHandle;
    const handle = make('127.0.0.1', 0, 4);
    const bound: { port?: number } = {};
    handle.getsockname(bound);
    await listen(`fd:${handle.fd}`);
    const socket = await dial({ host: '127.0.0.1', port: bound.port! });
    await until(() => links.length === 1);
    socket.destroy();
    await expect(listen('fd:999')).rejects.toMatchObject({ code: 'ERR_NETPROXY_LISTEN' });
  });

  it('asks for the addon where Node has no such sockets', async () => {
    for (const spec of ['1024', '3:1024']) {
      await expect(listenLinks('vsock', spec, deps())).rejects.toMatchObject({
        code: 'ERR_NETPROXY_NATIVE',
        remedy: expect.stringContaining('build:native'),
      });
    }
    await expect(listenLinks('vpnkit', file, deps())).rejects.toThrow('needs `assign`');
  });
});

describe('dialling', () => {
  it('fails at once when nobody is there', async () => {
    await expect(listen(`connect:unix:${file}`)).rejects.toMatchObject({
      code: 'ERR_NETPROXY_DIAL',
      errno: 'ENOENT',
      message: expect.stringContaining(file),
    });
  });

  it('dials again when the peer went away, until it is closed', async () => {
    let server = createServer((socket) => socket.on('error', () => undefined).resume());
    const up = async (): Promise<void> => {
      server.listen({ path: file });
      await once(server, 'listening');
    };
    await up();
    const listener = await listen(`connect:unix:${file}`);
    await until(() => links.length === 1);
    const handler = new Collector();
    links[0]!.start(handler);
    server.close();
    links[0]!.close();
    await handler.ended;
    await until(() => listener.stats.redials > 0);
    server = createServer((socket) => socket.on('error', () => undefined).resume());
    await up();
    await until(() => links.length === 2);
    await listener.close();
    links[1]!.close();
    const { redials } = listener.stats;
    await pause(300);
    expect(listener.stats.redials).toBe(redials);
    server.close();
  });
});

describe('inherited descriptors', () => {
  it('refuses what is no pipe or socket', async () => {
    const fd = fs.openSync('/dev/null', 'r+');
    const plain = fs.openSync(path.join(directory, 'f'), 'w+');
    const remedy = expect.stringContaining('pipe or a stream socket');
    await expect(fdLink(fd, 'qemu', deps())).rejects.toMatchObject({ code: 'ERR_NETPROXY_LINK', remedy });
    await expect(fdLink(plain, 'qemu', deps())).rejects.toThrow('is a file');
    await expect(fdLink(999, 'qemu', deps())).rejects.toThrow('descriptor 999 is not open');
    expect(() => stdioLink(deps(), plain, plain)).toThrow('is a file');
    fs.closeSync(fd);
    fs.closeSync(plain);
  });
});

describe('who holds a socket', () => {
  it('reads /proc/net/unix', () => {
    const text = [
      'Num       RefCount Protocol Flags    Type St Inode Path',
      '0000000000000000: 00000002 00000000 00010000 0001 01 111 /run/a.sock',
      '0000000000000000: 00000003 00000000 00000000 0001 03 222 /run/a.sock',
      '0000000000000000: 00000002 00000000 00010000 0001 01 333 /run/.a.sock.0a1b2c',
      '0000000000000000: 00000002 00000000 00010000 0001 01 444 /run/.a.sock.bak',
      '0000000000000000: 00000003 00000000 00000000 0001 03 555',
      '',
    ].join('\n');
    expect([...listeningInodes(text, '/run/a.sock')]).toEqual(['111', '333']);
  });
});
