/** The engine's API forwarded: bytes both ways, starts that are looked at, ports that follow containers, hostile engines. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, type Server, type Socket, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ask } from '../../api/api.testutil.js';
import { type Logger, silentLogger } from '../../core/index.js';
import { type TestNetwork, realScheduler, testNetwork } from '../../testing/index.js';
import { DockerForward, type DockerSettings } from './forward.js';
import { networkHost } from './hosts.js';
import { MockEngine } from './mock-engine.testutil.js';

let folder: string;
let lab: TestNetwork;
let engine: MockEngine;
let forward: DockerForward;
let warnings: string[];
const at = (name: string): string => path.join(folder, name);
const logger: Logger = { ...silentLogger, warn: (text) => void warnings.push(text) };

const open = async (more: Partial<DockerSettings> = {}): Promise<void> => {
  const settings = { guestSock: at('engine'), listen: at('docker'), ...more };
  forward = await DockerForward.open(settings, networkHost(lab.network), logger);
};

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'np-docker-'));
  warnings = [];
  engine = new MockEngine();
  await engine.listen(at('engine'));
  lab = await testNetwork({}, { scheduler: realScheduler });
  await open();
  await watched();
});

afterEach(async () => {
  await forward.close();
  await engine.close();
  await lab.close();
  rmSync(folder, { recursive: true, force: true });
});

async function until(what: string, ask: () => boolean): Promise<void> {
  for (const end = Date.now() + 15_000; !ask();) {
    if (Date.now() > end) throw new Error(`not within 15 s: ${what}; warnings: ${warnings.join('; ')}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The watcher has looked at everything. */
const watched = (): Promise<void> =>
  until('watched', () => engine.events.size === 1 && engine.requests.includes('GET /containers/json'));

const call = (line: string, body?: object) => {
  const [method = '', where = ''] = line.split(' ');
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers =
    text === undefined ? {} : { 'content-type': 'application/json', 'content-length': text.length };
  return ask({ socketPath: at('docker'), method, path: where, headers }, text);
};
const specs = (): string[] =>
  lab.network
    .ports()
    .map(({ spec }) => spec)
    .toSorted();
const bound = (spec: string): Promise<void> => until(spec, () => specs().join() === spec);

/** Everything that comes, until the other end closes its half. */
function all(socket: Socket): Promise<Buffer> {
  const pieces: Buffer[] = [];
  return new Promise((resolve, reject) => {
    socket.on('data', (piece) => pieces.push(piece)).once('error', reject);
    socket.once('end', () => resolve(Buffer.concat(pieces)));
  });
}

describe('requests', () => {
  it('reach the engine, and its answers come back', async () => {
    expect(await call('GET /v1.41/version')).toMatchObject({ status: 200, body: { Version: '20.10.24' } });
    expect(await call('GET /v1.41/containers/none/json')).toMatchObject({ status: 404 });
    expect((await call('HEAD /_ping')).headers['builder-version']).toBe('1');
  });

  it('follow each other on one connection, in pieces of any size', async () => {
    const socket = connect({ path: at('docker'), allowHalfOpen: true });
    const came = all(socket);
    const text = 'GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n'.repeat(3);
    const load =
      'POST /images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n';
    for (const byte of Buffer.from(text + load + text)) {
      if (!socket.write(Buffer.of(byte))) await new Promise((resolve) => socket.once('drain', resolve));
      if (byte === 10) await new Promise(setImmediate);
    }
    socket.end();
    const answers = (await came).toString().split('HTTP/1.1 200 OK').length - 1;
    expect(answers).toBe(7);
    expect(engine.uploads).toEqual([{ size: 5, digest: createHash('sha256').update('hello').digest('hex') }]);
  });

  it('of the size of a build go through byte by byte, without being kept', async () => {
    const piece = randomBytes(65_536);
    const hash = createHash('sha256');
    const socket = connect({ path: at('docker') });
    const pieces = 256;
    socket.write(
      `POST /build HTTP/1.1\r\nHost: d\r\nContent-Length: ${pieces * piece.length}\r\nConnection: close\r\n\r\n`,
    );
    const came = all(socket);
    for (let i = 0; i < pieces; i++) {
      hash.update(piece);
      if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve));
    }
    expect((await came).toString()).toContain('Successfully built');
    expect(engine.uploads).toEqual([{ size: pieces * piece.length, digest: hash.digest('hex') }]);
  });

  it('that the engine takes over become streams whose halves end by themselves', async () => {
    for (const [upgrade, old] of [
      ['Connection: Upgrade\r\nUpgrade: tcp\r\n', false],
      ['', true],
    ] as const) {
      engine.oldHijack = old;
      const body = '{"Detach":false}';
      for (const where of ['/v1.41/containers/x/attach?stream=1', '/exec/x/start']) {
        const socket = connect({ path: at('docker'), allowHalfOpen: true });
        const came = all(socket);
        socket.write(
          `POST ${where} HTTP/1.1\r\nHost: d\r\n${upgrade}Content-Length: ${body.length}\r\n\r\n${body}`,
        );
        const bytes = randomBytes(300_000);
        // What looks like a request is none any more.
        socket.write(Buffer.concat([Buffer.from('POST /containers/x/start HTTP/1.1\r\n\r\n'), bytes]));
        socket.end();
        const answer = await came;
        const start = answer.indexOf('\r\n\r\n') + 4;
        expect(answer.toString('latin1', 0, 25)).toContain(old ? '200 OK' : '101 UPGRADED');
        expect(answer.subarray(answer.length - bytes.length).equals(bytes)).toBe(true);
        expect(answer.length - start).toBe(bytes.length + 37);
      }
    }
  });

  it('are answered where there is no engine', async () => {
    await engine.close();
    expect(await call('GET /version')).toMatchObject({
      status: 502,
      body: { message: expect.stringContaining('the engine cannot be reached') as string },
    });
  });
});

describe('ports of containers', () => {
  it('are bound before the start, and go with the container', async () => {
    const bindings = {
      '80/tcp': [{ HostPort: '8080' }],
      '53/udp': [{ HostIp: '127.0.0.1', HostPort: '5300' }],
    };
    const { body } = await call('POST /v1.41/containers/create?name=web', {
      HostConfig: { PortBindings: bindings },
    });
    const { Id } = body as { Id: string };
    expect(specs()).toEqual([]);
    expect(await call(`POST /v1.41/containers/${Id}/start`)).toMatchObject({ status: 204 });
    expect(specs()).toEqual(['*:8080:8080/tcp', '127.0.0.1:5300:5300/udp']);
    expect((await call('GET /netproxy/ports')).body).toEqual([
      { container: Id, name: 'web', protocol: 'tcp', host: '*', port: 8080, state: 'published' },
      { container: Id, name: 'web', protocol: 'udp', host: '127.0.0.1', port: 5300, state: 'published' },
    ]);
    expect(await call(`POST /containers/web/restart`)).toMatchObject({ status: 204 });
    expect(specs()).toHaveLength(2);
    expect(await call(`POST /v1.41/containers/web/stop`)).toMatchObject({ status: 204 });
    await bound('');
  });

  it('that the engine chooses are there when the start is answered', async () => {
    const bindings = { '80/tcp': [{ HostPort: '' }], '81/tcp': [{ HostPort: '0', HostIp: '::1' }] };
    engine.create('web', {
      ...bindings,
      '82/tcp': [{ HostPort: '9000-9010' }],
      '83/sctp': [{ HostPort: '7' }],
    });
    expect(await call('POST /containers/web/start')).toMatchObject({ status: 204 });
    expect(specs()).toEqual(['*:32768:32768/tcp', '*:32770:32770/tcp', '[::1]:32769:32769/tcp']);
    expect(warnings.join()).toContain('83/sctp');
  });

  it('stay as they are when a container that runs is started again', async () => {
    engine.create('web', { '80/tcp': [{ HostPort: '' }], '81/tcp': [{ HostPort: '8081' }] });
    await call('POST /containers/web/start');
    const before = lab.network.ports().map(({ id }) => id);
    expect(before).toHaveLength(2);
    expect(await call('POST /containers/web/start')).toMatchObject({ status: 304 });
    expect(lab.network.ports().map(({ id }) => id)).toEqual(before);
  });

  it('follow containers that others start, and those that run already', async () => {
    const first = engine.create('first', { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8081' }] });
    engine.start(first);
    await bound('127.0.0.1:8081:8081/tcp');
    await forward.close();
    expect(specs()).toEqual([]);
    await open();
    await bound('127.0.0.1:8081:8081/tcp');
    engine.remove(first);
    await bound('');
  });

  it('survive the loss of the engine, and are what they should be when it is back', async () => {
    const one = engine.create('one', { '80/tcp': [{ HostPort: '8081' }] });
    const two = engine.create('two', { '80/tcp': [{ HostPort: '8082' }] });
    engine.start(one);
    await bound('*:8081:8081/tcp');
    await engine.close();
    await until('told', () => warnings.some((text) => text.includes('the engine is away')));
    expect(specs()).toEqual(['*:8081:8081/tcp']);
    engine.die(one);
    engine.start(two);
    await engine.listen(at('engine'));
    await bound('*:8082:8082/tcp');
  });

  it('may be kept at one address', async () => {
    await forward.close();
    await open({ hostIp: '127.0.0.1' });
    const bindings = { '80/tcp': [{ HostPort: '8080' }, { HostIp: '10.1.2.3', HostPort: '8081' }] };
    engine.create('web', { ...bindings, '82/tcp': [{ HostIp: '::1', HostPort: '8082' }] });
    await call('POST /containers/web/start');
    expect(specs()).toEqual(['127.0.0.1:8080:8080/tcp', '127.0.0.1:8081:8081/tcp', '[::1]:8082:8082/tcp']);
  });
});

describe('a start', () => {
  it('whose port is taken is refused in words, and the engine never hears of it', async () => {
    await lab.network.publish('0.0.0.0:8080:80');
    engine.create('web', { '79/tcp': [{ HostPort: '8079' }], '80/tcp': [{ HostPort: '8080' }] });
    const message = 'Ports are not available: listen tcp 0.0.0.0:8080: address already in use';
    expect(await call('POST /containers/web/start')).toMatchObject({ status: 500, body: { message } });
    expect(engine.find('web')?.running).toBe(false);
    expect(specs()).toEqual(['0.0.0.0:8080:80/tcp']);
  });

  it('names the container that has the port, unless that one has ended', async () => {
    const first = engine.create('first', { '80/tcp': [{ HostPort: '8080' }] });
    engine.create('second', { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }] });
    await call('POST /containers/first/start');
    const message = 'Bind for 127.0.0.1:8080 failed: port is already allocated (container first)';
    expect(await call('POST /containers/second/start')).toMatchObject({ status: 500, body: { message } });
    first.running = false;
    expect(await call('POST /containers/second/start')).toMatchObject({ status: 204 });
    expect(specs()).toEqual(['127.0.0.1:8080:8080/tcp']);
  });

  it('that the engine refuses, or never answers, gives the ports back', async () => {
    engine.create('web', { '80/tcp': [{ HostPort: '8080' }] });
    engine.refuseStart = 'no such image';
    expect(await call('POST /containers/web/start')).toMatchObject({
      status: 500,
      body: { message: 'no such image' },
    });
    expect(specs()).toEqual([]);
    engine.override = ({ url, socket }) => {
      if (url?.endsWith('/start') !== true) return false;
      socket.destroy();
      return true;
    };
    await expect(call('POST /containers/web/start')).rejects.toThrow();
    await bound('');
  });

  it('of a container with an address that is none is refused', async () => {
    engine.create('web', { '80/tcp': [{ HostIp: 'unix:/etc/passwd', HostPort: '8080' }] });
    const message = '"unix:/etc/passwd" is no IP address of the host';
    expect(await call('POST /containers/web/start')).toMatchObject({ status: 500, body: { message } });
  });
});

describe('an engine that lies', () => {
  let rogue: Server | undefined;
  afterEach(() => void rogue?.close());

  /** Says this to everybody who asks. */
  async function say(...words: readonly (string | Buffer)[]): Promise<void> {
    await forward.close();
    rogue = createServer((socket) => {
      socket.on('error', () => undefined).resume();
      for (const word of words) socket.write(word);
    });
    await new Promise<void>((resolve) => rogue?.listen(0, '127.0.0.1', resolve));
    await open({ guestSock: `tcp:127.0.0.1:${(rogue.address() as AddressInfo).port}` });
  }

  it.each([
    [
      'endless heads',
      ['HTTP/1.1 200 OK\r\n', 'X: y\r\n'.repeat(300_000)],
      'the head of a message is longer than',
    ],
    ['a length that is none', ['HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n'], undefined],
    ['chunks that are none', ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'], undefined],
    [
      'sizes without end',
      ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', 'a'.repeat(100_000)],
      undefined,
    ],
  ])('with %s loses the connection, and nothing else', async (_what, words, message) => {
    await say(...words);
    if (message === undefined) await expect(call('GET /version')).rejects.toThrow();
    else
      expect(await call('GET /version')).toMatchObject({
        status: 502,
        body: { message: expect.stringContaining(message) as string },
      });
    await until('told', () => warnings.some((text) => text.includes('the engine is away')));
    expect(specs()).toEqual([]);
  });

  it('about its containers is not believed', async () => {
    const wrong = [
      '[',
      '{"Id":1}',
      JSON.stringify({ Id: 'x', HostConfig: { PortBindings: { '80/tcp': [{ HostPort: 8 }] } } }),
      `"${'x'.repeat(5 * 1024 * 1024)}"`,
    ];
    for (const text of wrong) {
      engine.override = ({ url }, response) => {
        if (url !== '/containers/web/json') return false;
        response.end(text);
        return true;
      };
      // Without its ports being known the start goes on: the engine decides.
      expect(await call('POST /containers/web/start')).toMatchObject({ status: 404 });
    }
    expect(warnings).toHaveLength(wrong.length);
    expect(specs()).toEqual([]);
  });
});
