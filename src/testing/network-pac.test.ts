/** Proxy auto-config files, the system's settings and credentials from elsewhere, in a network. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type TestNetwork, realScheduler } from './index.js';
import { ask, ok, proxyLab, serve, until } from './proxy.testutil.js';

const GET = 'GET http://origin.test/x?secret HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n';
const CONNECT = 'CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n';
const real = { scheduler: realScheduler };

/** A script; its URL holds it. */
const data = (script: string): string =>
  `data:application/x-ns-proxy-autoconfig,${encodeURIComponent(script)}`;

/** An origin, and proxies of which each says its name. */
function world(lab: TestNetwork): string[] {
  const heads: string[] = [];
  lab.host.name('second.corp', '203.0.113.10');
  for (const [address, name] of [
    ['198.51.100.1:80', 'origin'],
    ['198.51.100.1:443', 'origin'],
    ['203.0.113.9:3128', 'first'],
    ['203.0.113.10:3128', 'second'],
  ] as const)
    serve(lab, address, (head, socket) => {
      heads.push(head);
      if (head.startsWith('CONNECT')) socket.write(`HTTP/1.1 200 OK\r\n\r\n${name}`);
      else socket.write(ok(name));
    });
  return heads;
}

describe('a proxy auto-config file', () => {
  it('says whom requests go to, by host, with names as guests resolve them, and never sees a path', async () => {
    const pac = data(`function FindProxyForURL(url, host) {
      if (url !== 'http://origin.test/' && url !== 'https://origin.test/') throw new Error(url);
      return isInNet(host, '198.51.100.0', '255.255.255.0') ? 'PROXY proxy.corp:3128; PROXY second.corp:3128' : 'DIRECT';
    }`);
    await using lab = await proxyLab({ httpProxy: { pac, noProxy: ['past.test'] } }, real);
    const heads = world(lab);
    lab.host.name('past.test', '198.51.100.1');
    expect(await ask(lab, GET)).toContain('first');
    expect(heads[0]).toContain('GET http://origin.test/x?secret ');
    expect(await ask(lab, CONNECT, until('first'))).toContain('200');
    expect(await ask(lab, GET.replaceAll('origin.test', 'past.test'))).toContain('origin');
    lab.host.fail('203.0.113.9:3128', 'ECONNREFUSED');
    expect(await ask(lab, CONNECT, until('second'))).toContain('200');
    expect(lab.network.stats().httpProxy).toMatchObject({ pac: { asked: 2, kept: 1, failed: 0, ended: 0 } });
  });

  it.each([
    ['direct', undefined, 'origin'],
    ['deny', undefined, '503'],
    ['deny', ['second.corp:3128'], 'second'],
  ] as const)('that does not work means %s, or the lists: %j', async (pacFailure, http, words) => {
    const pac = data('function FindProxyForURL(url, host) { return nothing.there; }');
    await using lab = await proxyLab({ httpProxy: { pac, pacFailure, http } }, real);
    world(lab);
    const answer = await ask(lab, GET);
    expect(answer).toContain(words);
    if (words === '503')
      expect(answer).toMatch(/error=proxy_configuration_error[^]*nothing[^]*netproxy proxy explain/);
    expect(lab.network.stats().httpProxy).toMatchObject({ pac: { failed: 1 } });
  });

  it('that never ends is stopped, told and counted, while everything else goes on', async () => {
    const lines: string[] = [];
    const note = (message: string): void => void lines.push(message);
    const pac = data(`function FindProxyForURL(url, host) {
      if (host === 'origin.test') for (;;) ;
      return 'PROXY proxy.corp:3128';
    }`);
    const logger = { debug: note, info: note, warn: note, error: note };
    await using lab = await proxyLab(
      { httpProxy: { pac, pacFailure: 'deny' } },
      { ...real, deps: { logger } },
    );
    world(lab);
    lab.host.name('good.test', '198.51.100.1');
    expect(await ask(lab, GET.replaceAll('origin.test', 'good.test'))).toContain('first');
    let turns = 0;
    const turn = setInterval(() => turns++, 5);
    expect(await ask(lab, GET)).toMatch(/^HTTP\/1\.1 503 [^]*interrupted/);
    clearInterval(turn);
    // The event loop had its turns meanwhile.
    expect(turns).toBeGreaterThan(5);
    expect(lines.join('\n')).toMatch(/data:[^\n]*… does not work: [^\n]*interrupted/);
    expect(await lab.network.proxy.status()).toMatchObject({ pac: { state: 'fails', failed: 1 } });
  });

  describe('elsewhere', () => {
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync(path.join(tmpdir(), 'netproxy-pac-'));
    });
    afterEach(() => {
      rmSync(folder, { recursive: true });
    });

    it('is read from a file, and again when that changes', async () => {
      const pac = path.join(folder, 'proxy.pac');
      await using lab = await proxyLab({ httpProxy: { pac } }, real);
      world(lab);
      // There is none yet.
      expect(await ask(lab, GET)).toContain('origin');
      const says = (answer: string): void =>
        writeFileSync(pac, `\uFEFFfunction FindProxyForURL() { return "${answer}"; }`);
      says('PROXY proxy.corp:3128');
      await expect.poll(() => ask(lab, GET), { timeout: 15_000 }).toContain('first');
      says('PROXY second.corp:3128');
      await expect.poll(() => ask(lab, GET), { timeout: 15_000 }).toContain('second');
      rmSync(pac);
      expect(await ask(lab, GET)).toContain('second');
    });
  });

  it('is fetched from a URL, over redirections, by the host’s names', async () => {
    await using lab = await proxyLab({ httpProxy: { pac: 'http://me:secret@wpad.corp/a.pac?x=1' } }, real);
    world(lab);
    lab.host.name('wpad.corp', '203.0.113.80');
    const heads: string[] = [];
    serve(lab, '203.0.113.80:80', (head, socket) => {
      heads.push(head);
      const moved =
        'HTTP/1.1 302 Found\r\nLocation: http://wpad.corp:8080/b.pac\r\nContent-Length: 0\r\n\r\n';
      socket.end(moved);
    });
    serve(lab, '203.0.113.80:8080', (_head, socket) =>
      socket.end(ok('function FindProxyForURL() { return "PROXY proxy.corp:3128" }')),
    );
    expect(await ask(lab, GET)).toContain('first');
    expect(heads[0]).toMatch(/^GET \/a\.pac\?x=1 HTTP[^]*authorization: Basic bWU6c2VjcmV0\r\n/i);
    const told = JSON.stringify(await lab.network.proxy.status());
    expect(told).toContain('http://…@wpad.corp/a.pac?…');
    expect(told).not.toMatch(/secret|x=1/);
  });

  it.each([
    ['404', 'HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n', 'answered 404'],
    [
      'elsewhere',
      'HTTP/1.1 302 No\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n',
      'file: is not',
    ],
    ['in circles', 'HTTP/1.1 302 No\r\nLocation: /\r\nContent-Length: 0\r\n\r\n', 'redirections'],
    ['huge', `HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n${'/'.repeat(2_000_000)}`, 'larger than'],
  ])('that cannot be had (%s) is told, and tried again later', async (_what, answer, words) => {
    await using lab = await proxyLab({ httpProxy: { pac: 'http://wpad.corp/' } }, real);
    world(lab);
    lab.host.name('wpad.corp', '203.0.113.80');
    let asked = 0;
    serve(lab, '203.0.113.80:80', (_head, socket) => {
      asked++;
      socket.end(answer);
    });
    expect(await ask(lab, GET)).toContain('origin');
    const { trouble } = (await lab.network.proxy.status()).pac!;
    expect(trouble).toContain(words);
    const before = asked;
    expect(await ask(lab, GET)).toContain('origin');
    expect(asked).toBe(before);
  });

  it.each([['ftp://a.test/p'], ['data:x'], [''], ['http://[']])('%j is none', async (pac) => {
    await expect(proxyLab({ httpProxy: { pac } })).rejects.toMatchObject({ code: 'ERR_NETPROXY_CONFIG' });
  });
});

describe('settings of the system', () => {
  it('are those of this moment, below the environment', async () => {
    let proxy = 'proxy.corp';
    const systemProxy = {
      name: 'the system',
      run: () => Promise.resolve(proxy),
      parse: (host: string) => ({
        http: [`http://${host}:3128`],
        https: [],
        noProxy: ['past.test'],
        pac: undefined,
      }),
    };
    const deps = { systemProxy };
    await using lab = await proxyLab({ httpProxy: { system: true } }, { deps });
    world(lab);
    expect(await ask(lab, GET)).toContain('first');
    expect(await lab.network.proxy.explain('https://origin.test')).toMatchObject({ upstreams: ['direct'] });
    proxy = 'second.corp';
    await lab.clock.advance(1000);
    expect(await ask(lab, GET)).toContain('second');
    expect(await lab.network.proxy.status()).toMatchObject({
      source: 'system',
      from: 'the system',
      http: ['http://second.corp:3128'],
      noProxy: ['past.test'],
    });
    const environment = { http_proxy: 'http://proxy.corp:3128' };
    await using above = await proxyLab({ httpProxy: { system: true, environment } }, { deps });
    world(above);
    expect(await ask(above, GET)).toContain('first');
    expect((await above.network.proxy.status()).sources).toEqual(['environment', 'system']);
  });
});

describe('credentials from elsewhere', () => {
  /** A proxy that takes one password. */
  function guarded(lab: TestNetwork, password: () => string): string[] {
    const heads: string[] = [];
    serve(lab, '203.0.113.9:3128', (head, socket) => {
      heads.push(head);
      const wanted = Buffer.from(`me:${password()}`).toString('base64');
      if (!head.includes(`Proxy-Authorization: Basic ${wanted}\r\n`))
        socket.write('HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n');
      else if (head.startsWith('CONNECT')) socket.write('HTTP/1.1 200 OK\r\n\r\ntunnel');
      else socket.write(ok('first'));
    });
    return heads;
  }

  it('are in the environment', async () => {
    const environment = { http_proxy: 'proxy.corp:3128', NETPROXY_PROXY_CREDENTIALS: 'me:secret' };
    await using lab = await proxyLab({ httpProxy: { environment } });
    world(lab);
    guarded(lab, () => 'secret');
    expect(await ask(lab, GET)).toContain('first');
    expect(await lab.network.proxy.status()).toMatchObject({ credentials: 'environment' });
  });

  it('are printed by a command, which is asked again when they are refused; nobody else gets to see them', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'netproxy-credentials-'));
    try {
      const file = path.join(folder, 'secret');
      writeFileSync(file, 'me:topsecret1');
      const lines: string[] = [];
      const note = (message: string, fields?: object): void =>
        void lines.push(message + JSON.stringify(fields ?? {}));
      const logger = { debug: note, info: note, warn: note, error: note };
      const httpProxy = { http: ['proxy.corp:3128'], credentialsCommand: `cat '${file}'` };
      await using lab = await proxyLab({ httpProxy }, { ...real, deps: { logger } });
      let password = 'topsecret1';
      const origin = world(lab);
      const heads = guarded(lab, () => password);
      expect(await ask(lab, GET)).toContain('first');
      password = 'topsecret2';
      // Asked too soon, and the same again.
      expect(await ask(lab, GET)).toMatch(/^HTTP\/1\.1 502 [^]*received-status=407/);
      writeFileSync(file, 'me:topsecret2');
      await expect.poll(() => ask(lab, GET), { timeout: 15_000, interval: 500 }).toContain('first');
      expect(await ask(lab, CONNECT, until('tunnel'))).toContain('200');
      expect(heads.length).toBeGreaterThan(3);
      const told =
        lines.join('\n') + JSON.stringify([lab.network.stats(), await lab.network.proxy.status(), origin]);
      for (const secret of ['topsecret1', 'topsecret2'])
        for (const text of [secret, Buffer.from(`me:${secret}`).toString('base64')])
          expect(told).not.toContain(text);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('that a command cannot print are a problem of the settings', async () => {
    const httpProxy = { http: ['proxy.corp:3128'], credentialsCommand: 'exit 7' };
    await using lab = await proxyLab({ httpProxy }, real);
    guarded(lab, () => 'x');
    expect(await ask(lab, GET)).toMatch(/^HTTP\/1\.1 502 [^]*proxy_configuration_error[^]*code 7[^]*by hand/);
  });
});
