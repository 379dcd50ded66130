/** Upstream proxies: whom a request goes to, with which credentials, and what happens when they do not want or do not work. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Logger } from '../core/index.js';
import { type HostSocket, type TestNetwork, realScheduler } from './index.js';
import { ask, ok, proxyLab, serve, until } from './proxy.testutil.js';

const GET = 'GET http://origin.test/x HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n';
const CONNECT = 'CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n';

/** An HTTP proxy that opens tunnels in which everything comes back. */
function tunnels(lab: TestNetwork, address: string, heads: string[]): void {
  serve(lab, address, (head, socket) => {
    heads.push(head);
    if (!head.startsWith('CONNECT')) {
      socket.write(ok('by proxy'));
      return;
    }
    socket.removeAllListeners('data');
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    socket.pipe(socket);
  });
}

describe('an upstream by http', () => {
  it('gets whole URLs, CONNECT with the name, and its own credentials; the origin gets none', async () => {
    const lines: string[] = [];
    const note = (message: string, fields?: object): void =>
      void lines.push(message + JSON.stringify(fields ?? {}));
    const logger: Logger = { debug: note, info: note, warn: note, error: note };
    await using lab = await proxyLab(
      { httpProxy: { http: ['http://me:pa%3Ass@proxy.corp:3128'], noProxy: ['.direct.test'] } },
      { deps: { logger } },
    );
    lab.host.name('www.direct.test', '198.51.100.2');
    const heads: string[] = [];
    tunnels(lab, '203.0.113.9:3128', heads);
    let direct = '';
    serve(lab, '198.51.100.2:80', (head, socket) => {
      direct = head;
      socket.write(ok('direct'));
    });
    expect(await ask(lab, GET)).toContain('by proxy');
    expect(await ask(lab, `${CONNECT}ping`, until('ping'))).toMatch(/^HTTP\/1\.1 200 [^]*\r\n\r\nping$/);
    const secret = Buffer.from('me:pa:ss').toString('base64');
    const guestSecret = 'Proxy-Authorization: Basic Z3Vlc3Q6c2VjcmV0';
    const past = `GET http://www.direct.test/ HTTP/1.1\r\nHost: x\r\n${guestSecret}\r\nConnection: close\r\n\r\n`;
    expect(await ask(lab, past)).toContain('direct');
    expect(heads[0]).toMatch(/^GET http:\/\/origin\.test\/x HTTP\/1\.1\r\nHost: origin\.test\r\n/);
    expect(heads[1]).toMatch(/^CONNECT origin\.test:443 HTTP\/1\.1\r\nHost: origin\.test:443\r\n/);
    for (const head of heads) expect(head).toContain(`Proxy-Authorization: Basic ${secret}\r\n`);
    expect(direct).not.toMatch(/authorization|secret/i);
    const told = lines.join('\n') + JSON.stringify(lab.network.stats());
    expect(told).toContain('http://proxy.corp:3128');
    for (const word of ['pa:ss', 'pa%3Ass', secret, 'Z3Vlc3Q6c2VjcmV0', 'guest:secret'])
      expect(told).not.toContain(word);
    // The flow of the tunnel is one, spliced.
    expect(lab.network.stats().outbound.adopted).toBe(1);
  });

  it('passes a challenge on, and an authentication that belongs to the connection goes over one', async () => {
    await using lab = await proxyLab({ httpProxy: { http: ['proxy.corp:3128'] } });
    let connections = 0;
    lab.host.accept('203.0.113.9:3128', (socket) => {
      connections++;
      let step = 0;
      socket.on('data', (chunk: Buffer) => {
        const text = chunk.toString();
        const token = /Proxy-Authorization: NTLM (\S+)/.exec(text)?.[1];
        step = token === 'one' ? 1 : token === 'three' && step === 1 ? 2 : step === 2 ? 2 : 0;
        if (step === 2 && text.startsWith('CONNECT')) socket.write('HTTP/1.1 200 OK\r\n\r\ntunnel');
        else if (step === 2) socket.write(ok('authenticated'));
        else {
          const challenge = step === 1 ? 'NTLM two' : 'NTLM';
          socket.write(
            `HTTP/1.1 407 No\r\nProxy-Authenticate: ${challenge}\r\nContent-Length: 4\r\n\r\nwhat`,
          );
        }
      });
    });
    for (const [request, done] of [
      ['GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n', 'authenticated'],
      ['CONNECT origin.test:443 HTTP/1.1\r\nHost: x\r\n', 'tunnel'],
    ] as const) {
      connections = 0;
      const tokens = ['Proxy-Authorization: NTLM one\r\n', 'Proxy-Authorization: NTLM three\r\n', ''];
      const answer = await lab.run(async () => {
        const socket = await lab.guest.connect(lab.gateway, 3128);
        socket.write(`${request}${tokens.shift()!}\r\n`);
        let text = '';
        for await (const chunk of socket) {
          text += (chunk as Buffer).toString();
          if (text.endsWith(done)) break;
          if (text.endsWith('what')) {
            text += ' ';
            socket.write(`${request}${tokens.shift()!}\r\n`);
          }
        }
        socket.destroy();
        return text;
      });
      expect(answer).toMatch(/^HTTP\/1\.1 407 [^]*Proxy-Authenticate: NTLM two\r\n[^]*HTTP\/1\.1 200 /);
      expect(connections).toBe(1);
      await lab.clock.advance(10_000);
      expect(lab.network.stats().httpProxy).toMatchObject({ clients: 0, kept: 0 });
    }
  });

  it('says what it answered: wrong credentials, no tunnel, rubbish', async () => {
    await using lab = await proxyLab({ httpProxy: { http: ['http://me:wrong@proxy.corp:3128'] } });
    let answer = 'HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n';
    serve(lab, '203.0.113.9:3128', (_head, socket) => socket.write(answer));
    for (const request of [GET, CONNECT]) {
      const told = await ask(lab, request);
      expect(told).toMatch(/^HTTP\/1\.1 502 [^]*received-status=407[^]*Check user and password/);
      expect(told).not.toContain('wrong');
    }
    answer = 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n';
    expect(await ask(lab, CONNECT)).toMatch(/^HTTP\/1\.1 403 [^]*http:\/\/proxy\.corp:3128[^]*403 Forbidden/);
    answer = 'SSH-2.0-OpenSSH\r\n\r\n';
    for (const request of [GET, CONNECT]) expect(await ask(lab, request)).toMatch(/^HTTP\/1\.1 502 /);
  });

  it('falls back to the next one, and heals when the first is back', async () => {
    await using lab = await proxyLab({
      httpProxy: { http: ['proxy.corp:3128', 'http://203.0.113.10:3128'] },
    });
    lab.host.fail('203.0.113.9:3128', 'ECONNREFUSED');
    serve(lab, '203.0.113.10:3128', (_head, socket) => socket.write(ok('second')));
    expect(await ask(lab, GET)).toContain('second');
    const { dials } = lab.host.counters;
    expect(await ask(lab, GET)).toContain('second');
    // The one that failed is not tried first again so soon.
    expect(lab.host.counters.dials - dials).toBeLessThanOrEqual(1);
    lab.host.fail('203.0.113.10:3128', 'ETIMEDOUT');
    await lab.clock.advance(20_000);
    expect(await ask(lab, GET)).toMatch(/^HTTP\/1\.1 50[24] /);
    serve(lab, '203.0.113.9:3128', (_head, socket) => socket.write(ok('first')));
    expect(await ask(lab, GET)).toContain('first');
    expect(lab.network.stats().httpProxy.upstreams).toMatchObject({
      'http://proxy.corp:3128': { failures: expect.any(Number) as number, requests: 1 },
    });
  });

  it.each([
    ['ECONNREFUSED', 502, 'connection_refused', 'Check that it runs'],
    ['ETIMEDOUT', 504, 'connection_timeout', 'firewall'],
    ['EHOSTUNREACH', 502, 'destination_ip_unroutable', 'VPN'],
    ['EMFILE', 503, 'proxy_internal_response', 'limits'],
  ])('dead by %s is %i, %s', async (errno, status, error, check) => {
    await using lab = await proxyLab({ httpProxy: { http: ['proxy.corp:3128'] } });
    lab.host.fail('203.0.113.9:3128', errno);
    for (const request of [GET, CONNECT]) {
      const answer = await ask(lab, request);
      expect(answer).toContain(`HTTP/1.1 ${status} `);
      expect(answer).toContain(`error=${error}; next-hop="http://proxy.corp:3128"`);
      expect(answer).toContain(check);
    }
  });
});

describe('an upstream by SOCKS', () => {
  /** Speaks SOCKS 5 with user and password; then it is the origin. */
  function socks(socket: HostSocket, asked: string[], reply: number): void {
    let stage = 0;
    socket.on('data', (chunk: Buffer) => {
      if (stage === 0) socket.write(Buffer.from([5, 2]));
      else if (stage === 1) {
        asked.push(chunk.subarray(1).toString('latin1'));
        socket.write(Buffer.from([1, 0]));
      } else if (stage === 2) {
        asked.push(chunk.toString('hex'));
        socket.write(Buffer.from([5, reply, 0, 1, 0, 0, 0, 0, 0, 0]));
      } else socket.write(ok('by socks'));
      stage++;
    });
  }

  it.each([
    ['socks5', '05010001c63364010050'],
    ['socks5h', `050100030b${Buffer.from('origin.test').toString('hex')}0050`],
  ])('%s resolves where it should', async (scheme, request) => {
    await using lab = await proxyLab({ httpProxy: { http: [`${scheme}://u:p@proxy.corp`] } });
    const asked: string[] = [];
    lab.host.accept('203.0.113.9:1080', (socket) => {
      socks(socket, asked, 0);
    });
    expect(await ask(lab, GET)).toContain('by socks');
    expect(asked).toEqual(['\x01u\x01p', request]);
    asked.length = 0;
    const tunnel = 'CONNECT origin.test:80 HTTP/1.1\r\nHost: x\r\n\r\nhi';
    expect(await ask(lab, tunnel, until('by socks'))).toContain('by socks');
    expect(asked[1]).toBe(request);
  });

  it('says what it answered', async () => {
    await using lab = await proxyLab({ httpProxy: { http: ['socks5h://u:p@proxy.corp'] } });
    lab.host.accept('203.0.113.9:1080', (socket) => {
      socks(socket, [], 5);
    });
    expect(await ask(lab, GET)).toMatch(/^HTTP\/1\.1 502 [^]*answered: connection refused/);
    expect(lab.network.stats().httpProxy.upstreams).toMatchObject({
      'socks5h://proxy.corp:1080': { failures: 0 },
    });
  });
});

describe('settings', () => {
  it('of the environment', async () => {
    const environment = { HTTP_PROXY: 'http://proxy.corp:3128', no_proxy: 'direct.test' };
    await using lab = await proxyLab({ httpProxy: { environment } });
    tunnels(lab, '203.0.113.9:3128', []);
    expect(await ask(lab, GET)).toContain('by proxy');
  });

  it('of vpnkit’s file: they change while it runs, and say who may be asked for', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'netproxy-proxy-'));
    try {
      const file = join(folder, 'http_proxy.json');
      writeFileSync(file, JSON.stringify({ http: 'proxy.corp:3128', exclude: 'a.test, b.test' }));
      await using lab = await proxyLab({ httpProxy: { file } }, { scheduler: realScheduler });
      serve(lab, '203.0.113.9:3128', (_head, socket) => socket.write(ok('by proxy')));
      serve(lab, '198.51.100.1:80', (_head, socket) => socket.write(ok('direct')));
      expect(await ask(lab, GET)).toContain('by proxy');
      writeFileSync(file, JSON.stringify({ http: 'proxy.corp:3128', exclude: 'origin.test' }));
      await eventually(async () => (await ask(lab, GET)).includes('direct'));
      writeFileSync(file, '{ "http": 7 }');
      expect(await ask(lab, GET)).toContain('direct');
      const allow = { allow_enabled: true, allow: ['other.test'], allow_error_msg: 'no way to %s' };
      writeFileSync(file, JSON.stringify(allow));
      await eventually(async () => /^HTTP\/1\.1 403 [^]*no way to origin\.test/.test(await ask(lab, GET)));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it.each([
    [{ http: ['ftp://proxy.corp'] }, 'ftp://proxy.corp'],
    [{ http: ['http://u:secret@proxy.corp:99999'] }, 'http://…@proxy.corp:99999'],
    [{ http: ['proxy.corp'], noProxy: ['a..b'] }, 'a..b'],
    [{ http: ['proxy.corp'], file: '/tmp/x' }, 'both say'],
    [{ caFile: '/nowhere/ca.pem' }, '/nowhere/ca.pem'],
  ])('%j is refused', async (httpProxy, words) => {
    await expect(proxyLab({ httpProxy })).rejects.toMatchObject({
      code: 'ERR_NETPROXY_CONFIG',
      message: expect.stringContaining(words) as string,
    });
  });
});

/** Until it is so; a test that waits for nothing ends by its time limit. */
async function eventually(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 50));
}
