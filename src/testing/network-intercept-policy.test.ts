/** What the policy says of connections to web servers that say a name themselves: one verdict, with an upstream and without. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { clientHello } from '../httpproxy/hello.testutil.js';
import type { HttpProxyConfig, PolicyOptions } from '../index.js';
import type { TestNetwork } from './index.js';
import { ask, ok, proxyLab, until } from './proxy.testutil.js';
import { codeOf } from './testing.testutil.js';

const GOOD = '198.51.100.1';
const OTHER = '198.51.100.66';
const hello = (name: string): string => clientHello(name).toString('latin1');
const get = (host: string): string => `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

/** Everything that is dialled answers: an upstream, an origin. */
async function world(httpProxy: HttpProxyConfig, policy: PolicyOptions): Promise<TestNetwork> {
  const lab = await proxyLab({ httpProxy, policy });
  lab.host.name('good.test', GOOD);
  lab.host.name('other.test', OTHER);
  lab.host.name('hidden.test', '10.0.0.5');
  lab.host.accept('*', (socket) => {
    socket.on('data', (chunk: Buffer) => {
      if (chunk.toString('latin1').startsWith('GET ')) socket.write(ok('served'));
      else if (chunk.toString('latin1').startsWith('CONNECT ')) socket.write('HTTP/1.1 200 OK\r\n\r\n');
      else socket.write('served');
    });
  });
  return lab;
}

const denials = (lab: TestNetwork) =>
  [...lab.network.policy.decisions()].filter(({ verdict }) => verdict === 'deny');

describe.each<readonly [what: string, httpProxy: HttpProxyConfig]>([
  ['with an upstream', { http: ['proxy.corp:3128'] }],
  ['without one', { transparent: 'on' }],
])('names that connections say themselves, %s', (_what, httpProxy) => {
  const ALLOW_GOOD: PolicyOptions = {
    default: 'deny',
    rules: ['allow tcp:good.test:80,443', `allow ${OTHER}`],
  };

  it('count where they lead there, under a policy that allows names only', async () => {
    await using lab = await world(httpProxy, ALLOW_GOOD);
    await lab.run(lab.guest.resolve('good.test'));
    expect(await ask(lab, hello('good.test'), until('served'), [GOOD, 443])).toBe('served');
    expect(await ask(lab, get('good.test'), until('served'), [GOOD, 80])).toContain('served');
    expect(denials(lab)).toEqual([]);
    for (const port of [80, 443]) {
      const explained = await lab.network.explain({ host: 'good.test', port });
      expect(explained).toMatchObject({ verdict: { kind: 'dial' }, rule: 'allow tcp:good.test:80,443' });
    }
  });

  it('do not open an address to which they do not lead: its SYN is refused', async () => {
    await using lab = await world(httpProxy, ALLOW_GOOD);
    await lab.run(lab.guest.resolve('good.test'));
    const { dials } = lab.host.counters;
    expect(await codeOf(lab.run(lab.guest.connect('203.0.113.66', 443)))).not.toBe('no error');
    expect(lab.host.counters.dials).toBe(dials);
    expect(denials(lab)).toMatchObject([{ address: '203.0.113.66', port: 443, rule: 'default' }]);
    const { verdict } = await lab.network.explain({ host: '203.0.113.66', port: 443 });
    expect(verdict.kind).toBe('deny');
  });

  it.each([
    ['a name that nothing allows', 'other.test', GOOD],
    ['a name that nobody has', 'nowhere.test', OTHER],
  ])('are denied at once, with one line of the audit log: %s', async (_case, name, ip) => {
    await using lab = await world(httpProxy, ALLOW_GOOD);
    await lab.run(lab.guest.resolve('good.test'));
    const began = lab.clock.now();
    expect(await ask(lab, hello(name), undefined, [ip, 443])).toBe('[reset]');
    expect(lab.clock.now() - began).toBeLessThan(5);
    expect(denials(lab)).toMatchObject([{ name, rule: 'default' }]);
    expect((await lab.network.explain({ host: name, port: 443 }).catch(() => undefined))?.verdict.kind).toBe(
      'deny',
    );
    expect(lab.network.stats().httpProxy.denied).toBe(1);
    const page = await ask(lab, get(name), until('decision'), [ip, 80]);
    expect(page).toMatch(/^HTTP\/1\.1 403 [^]*rule: default/);
    expect(denials(lab)).toHaveLength(1);
  });

  it('do not take a guest to where the policy denies addresses', async () => {
    await using lab = await world(httpProxy, { rules: ['deny 10.0.0.0/8'] });
    const answer = await ask(lab, hello('hidden.test'), until('served'), [GOOD, 443]);
    // Straight, it is the address that was allowed that answers; an upstream would be asked for the name.
    expect(answer).toBe(httpProxy.http === undefined ? 'served' : '[reset]');
    expect(denials(lab).map(({ rule }) => rule)).toEqual(
      httpProxy.http === undefined ? [] : ['deny 10.0.0.0/8'],
    );
  });

  it('are denied by a rule of their own, also where an address is shared', async () => {
    await using lab = await world(httpProxy, { rules: ['deny bad.test'] });
    lab.host.name('bad.test', GOOD);
    expect(await ask(lab, hello('bad.test'), undefined, [GOOD, 443])).toBe('[reset]');
    expect(await ask(lab, hello('good.test'), until('served'), [GOOD, 443])).toBe('served');
    expect(denials(lab)).toMatchObject([{ name: 'bad.test', rule: 'deny bad.test' }]);
    const id = denials(lab)[0]!.id;
    expect(await ask(lab, get('bad.test'), until('decision'), [GOOD, 80])).toContain(`decision: ${id}`);
  });

  it('are asked about once, when the connection begins', async () => {
    await using lab = await world(httpProxy, { rules: ['ask tcp:any:443'] });
    let questions = 0;
    lab.network.on('ask', (question) => {
      questions++;
      question.allow();
    });
    expect(await ask(lab, hello('good.test'), until('served'), [GOOD, 443])).toBe('served');
    expect(questions).toBe(1);
  });

  it('end with a rule that comes later and denies them', async () => {
    await using lab = await world(httpProxy, {});
    await lab.run(lab.guest.resolve('good.test'));
    const socket = await lab.run(lab.guest.connect(GOOD, 443));
    const answered = new Promise((resolve) => void socket.once('data', resolve));
    socket.on('error', () => undefined);
    socket.write(Buffer.from(hello('good.test'), 'latin1'));
    await lab.run(answered);
    expect(lab.network.flows()).toMatchObject([{ peer: `${GOOD}:443` }]);
    lab.network.policy.add('deny tcp:192.0.2.1', { end: true });
    expect(lab.network.flowCount).toBe(1);
    lab.network.policy.add('deny good.test', { end: true });
    await lab.clock.settle();
    expect(lab.network.flowCount).toBe(0);
  });
});

describe('what vpnkit’s file allows', () => {
  it('is told by name or address, and a name that does not lead there opens nothing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'netproxy-allow-'));
    try {
      const file = join(folder, 'http_proxy.json');
      writeFileSync(file, JSON.stringify({ allow_enabled: true, allow: ['good.test', '203.0.113.7'] }));
      await using lab = await world({ file }, {});
      expect(await ask(lab, hello('good.test'), until('served'), [GOOD, 443])).toBe('served');
      expect(await ask(lab, hello('any.test'), until('served'), ['203.0.113.7', 443])).toBe('served');
      expect(await ask(lab, hello('other.test'), undefined, [OTHER, 443])).toBe('[reset]');
      expect(await ask(lab, get('other.test'), until('allowed'), [OTHER, 80])).toMatch(/^HTTP\/1\.1 403 /);
      for (const [ip, outcome] of [
        [GOOD, 'ECONNREFUSED'],
        ['203.0.113.7', 'no error'],
      ] as const) {
        lab.host.echoUdp(ip);
        const quic = lab.guest.udp();
        quic.send('initial', ip, 443);
        expect(await codeOf(lab.run(quic.recv({ timeout: 1000 })))).toBe(outcome);
      }
      // By a forged name it gets to where that name leads.
      const dialled: string[] = [];
      lab.host.accept(GOOD, (socket) => {
        dialled.push('good');
        socket.write('served');
      });
      lab.host.accept(OTHER, (socket) => socket.on('data', () => dialled.push('other')));
      expect(await ask(lab, hello('good.test'), until('served'), [OTHER, 443])).toBe('served');
      expect(dialled).toEqual(['good']);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
