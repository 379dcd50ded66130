/** A policy that changes while guests run, and rules by name. */
import { describe, expect, it } from 'vitest';
import type { AuditEntry } from '../policy/index.js';
import { type TestNetwork, testNetwork } from './index.js';
import { codeOf, readAll } from './testing.testutil.js';

const GOOD = '198.51.100.1';
const OTHER = '198.51.100.2';

async function denying(rules: readonly string[]) {
  const lab = await testNetwork({ policy: { default: 'deny', rules } });
  lab.host.accept('*', (socket) => socket.end('ok'));
  lab.host.echoUdp('*');
  lab.host.name('good.example', GOOD);
  lab.host.name('www.good.example', OTHER);
  lab.host.name('bad.example', OTHER);
  const told: AuditEntry[] = [];
  lab.network.on('decision', (entry) => told.push(entry));
  return { lab, told };
}

/** 'no error', or why a connection did not come to be. */
function dial(lab: TestNetwork, ip: string, port: number): Promise<string> {
  return codeOf(lab.run(async () => readAll(await lab.guest.connect(ip, port, { timeout: 5000 }))));
}

describe('rules that come and go', () => {
  it('hold for new flows at once', async () => {
    const { lab } = await denying([]);
    await using _ = lab;
    const { policy } = lab.network;
    expect(await dial(lab, GOOD, 80)).not.toBe('no error');
    const rule = policy.add(`allow tcp:${GOOD}:80`);
    expect(await dial(lab, GOOD, 80)).toBe('no error');
    policy.add('deny any', { before: rule.id });
    expect(await dial(lab, GOOD, 80)).not.toBe('no error');
    policy.set({ default: 'allow', rules: [] });
    expect(await dial(lab, GOOD, 80)).toBe('no error');
    expect(policy.remove(rule.id)).toBeUndefined();
    expect(lab.network.stats().policy).toMatchObject({ denied: 2, allowed: 2 });
  });

  it('end flows that are not allowed any more, when told to', async () => {
    await using lab = await testNetwork();
    lab.host.accept('*', () => undefined);
    const quiet = await lab.run(lab.guest.connect(GOOD, 80));
    const other = await lab.run(lab.guest.connect(OTHER, 80));
    const ended: string[] = [];
    for (const [name, socket] of Object.entries({ quiet, other }))
      socket.on('error', (error: NodeJS.ErrnoException) => ended.push(`${name} ${error.code ?? ''}`));
    const rule = lab.network.policy.add(`deny ${GOOD}`);
    await lab.clock.advance(1000);
    expect(lab.network.flows()).toHaveLength(2);
    lab.network.policy.remove(rule.id);
    lab.network.policy.add(`deny ${GOOD}`, { end: true });
    await lab.clock.advance(1000);
    expect(lab.network.flows().map(({ peer }) => peer)).toEqual([`${OTHER}:80`]);
    expect(ended).toEqual(['quiet ECONNRESET']);
  });

  it('judge datagrams of a running stream anew', async () => {
    await using lab = await testNetwork();
    lab.host.echoUdp('*');
    const socket = lab.guest.udp();
    socket.send('one', GOOD, 7);
    expect((await lab.run(socket.recv())).port).toBe(7);
    lab.network.policy.add(`deny udp:${GOOD}`);
    socket.send('two', GOOD, 7);
    expect(await codeOf(lab.run(socket.recv({ timeout: 1000 })))).not.toBe('no error');
  });
});

describe('rules by name', () => {
  it('hold for the addresses to which the guest was led, and for the name itself', async () => {
    const { lab, told } = await denying(['allow tcp:good.example:80']);
    await using _ = lab;
    // It was not led there yet.
    expect(await dial(lab, GOOD, 80)).not.toBe('no error');
    expect((await lab.run(lab.guest.query('good.example', 'A'))).rcode).toBe('NOERROR');
    expect(await dial(lab, GOOD, 80)).toBe('no error');
    expect(await dial(lab, GOOD, 81)).not.toBe('no error');
    expect(await dial(lab, OTHER, 80)).not.toBe('no error');
    for (const name of ['bad.example', 'www.good.example', 'host.netproxy.internal'])
      expect((await lab.run(lab.guest.query(name, 'A'))).rcode, name).toBe('REFUSED');
    expect(told.map(({ protocol, address, port, name }) => [protocol, name ?? `${address}:${port}`])).toEqual(
      [
        ['tcp', `${GOOD}:80`],
        ['tcp', 'good.example'],
        ['tcp', `${OTHER}:80`],
        ['dns', 'bad.example'],
        ['dns', 'www.good.example'],
        ['dns', 'host.netproxy.internal'],
      ],
    );
    // The first one is allowed by now.
    for (const { protocol, name, address, port, rule } of told.slice(1)) {
      const host = protocol === 'dns' ? name! : address!;
      const explained = await lab.run(lab.network.explain({ host, port }));
      expect(explained, host).toMatchObject({ verdict: { kind: 'deny' }, rule });
    }
  });

  it('say in DNS which decision it was; the same question is the same decision', async () => {
    const { lab, told } = await denying([]);
    await using _ = lab;
    const answers = [];
    for (const type of ['A', 'AAAA', 'A'])
      answers.push(await lab.run(lab.guest.query('bad.example', type, { udpSize: 1232 })));
    expect(answers.map(({ rcode }) => rcode)).toEqual(['REFUSED', 'REFUSED', 'REFUSED']);
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({ protocol: 'dns', name: 'bad.example', guest: 'guest1', rule: 'default' });
  });

  it('let names be asked for without flows, and flows without names', async () => {
    const { lab } = await denying(['allow dns:*.example', `allow ${OTHER}`]);
    await using _ = lab;
    expect((await lab.run(lab.guest.query('good.example', 'A'))).rcode).toBe('NOERROR');
    expect(await dial(lab, GOOD, 80)).not.toBe('no error');
    expect(await dial(lab, OTHER, 80)).toBe('no error');
    expect((await lab.run(lab.guest.query('gateway.netproxy.internal', 'A'))).rcode).toBe('NOERROR');
  });

  it('hold for the host under all its names', async () => {
    await using lab = await testNetwork({ policy: { rules: ['deny host.docker.internal'] } });
    lab.host.accept('*', (socket) => socket.end('host'));
    expect(await dial(lab, lab.network.addresses.hostAlias!, 80)).not.toBe('no error');
    for (const name of ['host.netproxy.internal', 'host.containers.internal', 'host.docker.internal'])
      expect((await lab.run(lab.guest.query(name, 'A'))).rcode).toBe('REFUSED');
    expect(lab.host.counters.dials).toBe(0);
  });
});

describe('a denied flow', () => {
  it('is one decision, however often its packets are sent again', async () => {
    const { lab, told } = await denying([]);
    await using _ = lab;
    const socket = lab.guest.udp();
    for (let n = 0; n < 5; n++) socket.send('x', OTHER, 53);
    await lab.clock.advance(100);
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({ protocol: 'udp', address: OTHER, port: 53, verdict: 'deny' });
  });
});

describe('redirects', () => {
  it('lead TCP and UDP elsewhere, and the guest sees where it went', async () => {
    await using lab = await testNetwork({
      policy: { rules: [`redirect any:80 to ${OTHER}:8080`, `redirect udp:${GOOD} to host:7`] },
    });
    lab.host.accept(`${OTHER}:8080`, (socket) => socket.end('led'));
    lab.host.echoUdp('127.0.0.1:7');
    const socket = await lab.run(lab.guest.connect(GOOD, 80));
    expect(await lab.run(readAll(socket))).toBe('led');
    const udp = lab.guest.udp();
    udp.send('x', GOOD, 5353);
    expect(await lab.run(udp.recv())).toMatchObject({ ip: GOOD, port: 5353 });
    expect(await lab.network.explain({ host: GOOD, port: 80 })).toMatchObject({
      verdict: { kind: 'dial', via: 'redirect', port: 8080 },
    });
  });

  it('lead nowhere that a rule before them denies', async () => {
    await using lab = await testNetwork({
      policy: { rules: [`deny ${OTHER}`, `redirect any:80 to ${OTHER}`, 'redirect any:81 to 224.0.0.1'] },
    });
    lab.host.accept('*', (socket) => socket.end('led'));
    expect(await dial(lab, GOOD, 80)).not.toBe('no error');
    expect(await dial(lab, GOOD, 81)).not.toBe('no error');
    expect(await lab.network.explain({ host: GOOD, port: 80 })).toMatchObject({ rule: `deny ${OTHER}` });
  });
});
