/** Interception: guests that know of no proxy, and go by it. A scripted guest, the world is a host in memory. */
import { describe, expect, it } from 'vitest';
import type { Logger } from '../core/index.js';
import { clientHello } from '../httpproxy/hello.testutil.js';
import type { NetworkConfig } from '../index.js';
import type { HostSocket, TestNetwork } from './index.js';
import { ask, ok, proxyLab, until } from './proxy.testutil.js';
import { codeOf } from './testing.testutil.js';

const ORIGIN = '198.51.100.1';
const PROXY = '203.0.113.9:3128';
const BY_PROXY: NetworkConfig = { httpProxy: { http: ['proxy.corp:3128'] } };
const HELLO = clientHello('origin.test').toString('latin1');

interface Seen {
  readonly heads: string[];
  /** What came in tunnels. */
  readonly bytes: string[];
  connections: number;
}

/** An upstream that writes down what it is asked; in its tunnels `tunnel` serves. */
function upstream(
  lab: TestNetwork,
  tunnel: (socket: HostSocket) => void = (socket) => socket.write('welcome'),
  refusal?: string,
): Seen {
  const seen: Seen = { heads: [], bytes: [], connections: 0 };
  lab.host.accept(PROXY, (socket) => {
    seen.connections++;
    let text = '';
    let open = false;
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (open) seen.bytes.push(chunk.toString('latin1'));
      for (let end = text.indexOf('\r\n\r\n'); !open && end >= 0; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end);
        text = text.slice(end + 4);
        seen.heads.push(head);
        if (!head.startsWith('CONNECT')) socket.write(ok(`by proxy ${seen.heads.length}`));
        else if (refusal !== undefined) socket.write(`HTTP/1.1 ${refusal}\r\nContent-Length: 0\r\n\r\n`);
        else {
          open = true;
          socket.write('HTTP/1.1 200 OK\r\n\r\n');
          if (text !== '') seen.bytes.push(text);
          tunnel(socket);
        }
      }
    });
  });
  return seen;
}

const get = (host: string, path = '/'): string => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

describe('connections to web servers while an upstream is set', () => {
  it('go by it as requests with whole URLs, kept alive, on the connection that stood before the guest was answered', async () => {
    await using lab = await proxyLab(BY_PROXY);
    const seen = upstream(lab);
    const answer = await ask(lab, get('origin.test', '/a') + get('origin.test', '/b'), until('proxy 2'), [
      ORIGIN,
      80,
    ]);
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*by proxy 1HTTP\/1\.1 200 OK\r\n[^]*by proxy 2$/);
    expect(seen.heads.map((head) => head.split('\r\n', 2))).toEqual([
      ['GET http://origin.test/a HTTP/1.1', 'Host: origin.test'],
      ['GET http://origin.test/b HTTP/1.1', 'Host: origin.test'],
    ]);
    expect(seen.connections).toBe(1);
    expect(lab.network.stats().httpProxy).toMatchObject({ intercepted: 1, requests: 2 });
  });

  it('go by CONNECT to the name that TLS says, spliced, and the bytes are those of the guest', async () => {
    await using lab = await proxyLab(BY_PROXY);
    const seen = upstream(lab);
    expect(await ask(lab, HELLO, until('welcome'), [ORIGIN, 443])).toBe('welcome');
    expect(seen.heads).toEqual(['CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443']);
    expect(seen.bytes.join('')).toBe(HELLO);
    expect(seen.connections).toBe(1);
    expect(lab.network.stats().outbound).toMatchObject({ opened: 1, adopted: 1 });
    expect(lab.network.stats().httpProxy).toMatchObject({ tunnelsByName: 1, tunnelsByAddress: 0 });
    // Nobody asked for its address: the guest was not told of it, and so it had to be.
    await lab.clock.advance(10_000);
    expect(lab.network.stats().httpProxy.clients).toBe(0);
    expect(lab.host.counters.openStreams).toBe(0);
  });

  it.each([
    ['TLS without a name', clientHello('').toString('latin1'), 443],
    ['another protocol', 'SSH-2.0-client\r\n', 443],
    ['HTTP on the port of TLS', get('origin.test'), 443],
    ['a server that speaks first', '', 443],
    ['TLS on the port of HTTP', HELLO, 80],
    ['a server that speaks first, port 80', '', 80],
  ])('go by CONNECT to the address: %s', async (_what, text, port) => {
    await using lab = await proxyLab(BY_PROXY);
    const seen = upstream(lab);
    expect(await ask(lab, text, until('welcome'), [ORIGIN, port])).toBe('welcome');
    expect(seen.heads).toEqual([`CONNECT ${ORIGIN}:${port} HTTP/1.1\r\nHost: ${ORIGIN}:${port}`]);
    expect(seen.bytes.join('')).toBe(text);
    expect(lab.network.stats().httpProxy).toMatchObject({ tunnelsByAddress: 1, silent: text === '' ? 1 : 0 });
  });

  it('are not answered while it is dead, and are as soon as it is back', async () => {
    await using lab = await proxyLab(BY_PROXY);
    lab.host.accept(ORIGIN, (socket) => socket.write('never'));
    lab.host.fail(PROXY, 'ECONNREFUSED');
    for (const port of [80, 443])
      expect(await codeOf(lab.run(lab.guest.connect(ORIGIN, port)))).toBe('ECONNREFUSED');
    lab.host.blackhole(PROXY);
    expect(await codeOf(lab.run(lab.guest.connect(ORIGIN, 443, { timeout: 20_000 })))).toBe('ETIMEDOUT');
    upstream(lab);
    expect(await ask(lab, HELLO, until('welcome'), [ORIGIN, 443])).toBe('welcome');
    await lab.clock.advance(60_000);
    expect(lab.host.counters.pendingDials + lab.host.counters.openStreams).toBe(0);
  });

  it('end when it refuses: with a page on port 80, a reset on 443, its status in the log', async () => {
    const lines: string[] = [];
    const note = (message: string, fields?: object): void =>
      void lines.push(message + JSON.stringify(fields ?? {}));
    const logger: Logger = { debug: note, info: note, warn: note, error: note };
    await using lab = await proxyLab(BY_PROXY, { deps: { logger } });
    upstream(lab, undefined, '403 Forbidden');
    expect(await ask(lab, HELLO, undefined, [ORIGIN, 443])).toBe('[reset]');
    expect(lines.join('\n')).toMatch(
      /intercepted origin\.test:443: http:\/\/proxy\.corp:3128 .*403 Forbidden.*"status":403/,
    );
    expect(await ask(lab, '', undefined, [ORIGIN, 80])).toMatch(/^HTTP\/1\.1 403 [^]*403 Forbidden/);
    upstream(lab, undefined, '500 Broken');
    expect(await ask(lab, '', undefined, [ORIGIN, 80])).toMatch(/^HTTP\/1\.1 502 [^]*500 Broken/);
    expect(lab.network.stats().httpProxy.refusedTunnels).toBe(3);
  });

  it('fall back to the next one, and take another when what stood has ended', async () => {
    await using lab = await proxyLab({ httpProxy: { http: ['203.0.113.8:3128', 'proxy.corp:3128'] } });
    lab.host.fail('203.0.113.8:3128', 'ETIMEDOUT', { delay: 50 });
    const seen = upstream(lab);
    expect(await ask(lab, HELLO, until('welcome'), [ORIGIN, 443])).toBe('welcome');
    let first = true;
    lab.host.accept(PROXY, (socket) => {
      if (first) socket.end();
      else socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\n\r\nagain'));
      first = false;
    });
    expect(await ask(lab, '', until('again'), [ORIGIN, 443])).toBe('again');
    expect(seen.connections).toBe(1);
  });

  it('go straight where a name or an address is past it', async () => {
    const httpProxy = { http: ['proxy.corp:3128'], noProxy: ['.direct.test', '198.51.100.77'] };
    await using lab = await proxyLab({ httpProxy });
    const seen = upstream(lab);
    for (const port of [80, 443])
      lab.host.accept(`198.51.100.2:${port}`, (socket) =>
        socket.on('data', (chunk: Buffer) => socket.write(chunk)),
      );
    const hello = clientHello('www.direct.test').toString('latin1');
    expect(await ask(lab, hello, until(hello), ['198.51.100.2', 443])).toBe(hello);
    expect(seen.heads).toEqual([]);
    expect(seen.connections).toBe(1);
    lab.host.accept('198.51.100.2:80', (socket) => socket.on('data', () => socket.write(ok('straight'))));
    expect(await ask(lab, get('www.direct.test'), until('straight'), ['198.51.100.2', 80])).toContain(
      'straight',
    );
    // By its address: as if there were no proxy.
    lab.host.accept('198.51.100.77', (socket) => socket.write('at once'));
    const { dials } = lab.host.counters;
    expect(await ask(lab, '', until('at once'), ['198.51.100.77', 443])).toBe('at once');
    expect(lab.host.counters.dials).toBe(dials + 1);
    expect(lab.network.stats().httpProxy.intercepted).toBe(2);
    // One that is past it but dead; connections that wait for a request are gone by then.
    await lab.clock.advance(10_000);
    lab.host.fail('198.51.100.2', 'ECONNREFUSED');
    expect(await ask(lab, hello, undefined, ['198.51.100.2', 443])).toBe('[reset]');
    expect(await ask(lab, get('www.direct.test'), until('refused'), ['198.51.100.2', 80])).toMatch(
      /^HTTP\/1\.1 502 /,
    );
  });

  it('go by SOCKS by the name, greeted before the guest is answered', async () => {
    await using lab = await proxyLab({ httpProxy: { http: ['socks5h://proxy.corp:1080'] } });
    const said: string[] = [];
    lab.host.accept('203.0.113.9:1080', (socket) => {
      socket.on('data', (chunk: Buffer) => {
        said.push(chunk.toString('latin1'));
        if (said.length === 1) socket.write(Buffer.from([5, 0]));
        else if (said.length === 2) socket.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
        else socket.write('tunnel');
      });
    });
    expect(await ask(lab, HELLO, until('tunnel'), [ORIGIN, 443])).toBe('tunnel');
    expect(said[1]).toBe('\x05\x01\0\x03\x0borigin.test\x01\xbb');
    lab.host.accept('203.0.113.9:1080', (socket) =>
      socket.once('data', () => socket.write(Buffer.from([5, 255]))),
    );
    expect(await codeOf(lab.run(lab.guest.connect(ORIGIN, 443, { timeout: 3000 })))).not.toBe('no error');
  });

  it('refuse QUIC, which could not go by it', async () => {
    await using lab = await proxyLab({ httpProxy: { http: ['proxy.corp:3128'], noProxy: ['203.0.113.50'] } });
    lab.host.echoUdp('*');
    const socket = lab.guest.udp();
    socket.send('initial', ORIGIN, 443);
    expect(await codeOf(lab.run(socket.recv({ timeout: 1000 })))).toBe('ECONNREFUSED');
    socket.send('past it', '203.0.113.50', 443);
    expect((await lab.run(socket.recv())).port).toBe(443);
    socket.send('dns', ORIGIN, 53);
    expect((await lab.run(socket.recv())).port).toBe(53);
    expect(lab.network.stats().httpProxy.refusedQuic).toBe(1);
    const quic = await lab.network.explain({ host: ORIGIN, port: 443, protocol: 'udp' });
    expect(quic).toMatchObject({ verdict: { kind: 'deny', how: 'reset' }, rule: 'http proxy' });
  });
});

describe('interception and the settings', () => {
  it('is off where it is told to be, on where it is told to be, and only on its ports', async () => {
    await using off = await proxyLab({ httpProxy: { http: ['proxy.corp:3128'], transparent: 'off' } });
    off.host.accept(ORIGIN, (socket) => socket.write('straight'));
    expect(await ask(off, '', until('straight'), [ORIGIN, 443])).toBe('straight');
    await using ports = await proxyLab({
      httpProxy: { http: ['proxy.corp:3128'], httpPorts: [8080], httpsPorts: [8443] },
    });
    const seen = upstream(ports);
    ports.host.accept(`${ORIGIN}:80`, (socket) => socket.write('straight'));
    expect(await ask(ports, '', until('straight'), [ORIGIN, 80])).toBe('straight');
    expect(await ask(ports, HELLO, until('welcome'), [ORIGIN, 8443])).toBe('welcome');
    expect(await ask(ports, get('origin.test:8080'), until('proxy 2'), [ORIGIN, 8080])).toContain('by proxy');
    expect(seen.heads[1]).toContain('GET http://origin.test:8080/ HTTP/1.1');
    await using none = await proxyLab();
    none.host.accept(ORIGIN, (socket) => socket.write('straight'));
    expect(await ask(none, '', until('straight'), [ORIGIN, 443])).toBe('straight');
    expect(none.network.stats().httpProxy.intercepted).toBe(0);
  });

  it('without an upstream leads where the guest wanted to go', async () => {
    await using lab = await proxyLab({ httpProxy: { transparent: 'on' } });
    lab.host.accept(`${ORIGIN}:80`, (socket) => socket.on('data', () => socket.write(ok('direct'))));
    lab.host.accept(`${ORIGIN}:443`, (socket) => socket.on('data', (chunk: Buffer) => socket.write(chunk)));
    expect(await ask(lab, get('whatever.test'), until('direct'), [ORIGIN, 80])).toContain('direct');
    expect(await ask(lab, HELLO, until(HELLO), [ORIGIN, 443])).toBe(HELLO);
    expect(await codeOf(lab.run(lab.guest.connect('198.51.100.99', 443)))).toBe('ECONNREFUSED');
    lab.host.accept(`${ORIGIN}:443`, (socket) => socket.write('hello, I speak first'));
    expect(await ask(lab, '', until('first'), [ORIGIN, 443])).toBe('hello, I speak first');
  });

  it('is explained: by whom, why, past what', async () => {
    await using lab = await proxyLab({
      httpProxy: { http: ['proxy.corp:3128', 'direct'], https: ['socks5://s:1'], noProxy: ['.direct.test'] },
    });
    lab.host.name('www.direct.test', '198.51.100.2');
    const route = async (host: string, port: number) => {
      const explained = await lab.network.explain({ host, port });
      return explained.route && [explained.route.upstreams.map(({ name }) => name), explained.route.why];
    };
    expect(await route('origin.test', 80)).toEqual([
      ['http://proxy.corp:3128', 'direct'],
      'the proxy for http of the configuration',
    ]);
    expect(await route(ORIGIN, 443)).toEqual([['socks5://s:1'], 'the proxy for https of the configuration']);
    expect(await route('www.direct.test', 443)).toEqual([
      ['direct'],
      '".direct.test" goes past the proxy (the configuration)',
    ]);
    expect(await route('origin.test', 8080)).toBeUndefined();
    expect(await route(lab.network.addresses.hostAlias!, 80)).toBeUndefined();
  });
});
