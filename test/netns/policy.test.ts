/** What the policy says is what happens, and what `netproxy explain` tells. */
import { afterEach, describe, expect, it } from 'vitest';
import { CLI } from '../support/requirements.js';
import { Lab } from './lab.js';
import { LibraryNetwork } from './library.js';
import { probe } from './probe.js';
import { GATEWAY, HOST_ALIAS, scenarioReady, serveTap } from './scenario.js';
import type { Servers } from './servers.js';

const ready = scenarioReady('policy', 'tcpdump', 'dig');

/** EC2 and its like. */
const METADATA = '169.254.169.254';

interface Told {
  readonly verdict: string;
  readonly rule: string;
  readonly how?: string;
}

describe.runIf(ready)('policy', () => {
  let lab: Lab;

  afterEach(async () => {
    await lab?.destroy();
  });

  /** A guest under these flags; the host side has the metadata address too, and a server on its loopback. */
  async function under(flags: readonly string[]): Promise<Servers> {
    lab = await Lab.create();
    await lab.check(lab.host, ['ip', 'addr', 'add', `${METADATA}/32`, 'dev', 'lo']);
    const servers = await lab.serve({
      one: { kind: 'tcp-echo', port: 8001 },
      two: { kind: 'tcp-echo', address: lab.address(1), port: 8002 },
      secret: { kind: 'tcp-echo', address: METADATA, port: 80 },
      loopback: { kind: 'tcp-echo', address: '127.0.0.1', port: 8003 },
      datagrams: { kind: 'udp-echo', port: 8001 },
    });
    await serveTap(lab, flags);
    await lab.dhcp();
    return servers;
  }

  /** 'ok', or the error of a connection that the guest tries. */
  async function dial(address: string, port: number): Promise<string> {
    const result = await lab.client({
      mode: 'flows',
      targets: [{ address, port }],
      bytes: 100,
      timeoutMs: 4_000,
    });
    return result.ok === 1 ? 'ok' : (Object.keys(result.errors as object)[0] ?? '?');
  }

  /** What `netproxy explain` says of it with the same flags. */
  async function explain(flags: readonly string[], target: string, ...more: string[]): Promise<Told> {
    const argv = [process.execPath, CLI, 'explain', '--json', ...flags, ...more, target];
    return JSON.parse(await lab.check(lab.host, argv)) as Told;
  }

  it('by default: everything but metadata; loopback by the alias alone', async () => {
    await under([]);
    expect(await dial(lab.address(), 8001)).toBe('ok');
    expect(await explain([], '198.18.0.1:8001')).toMatchObject({ verdict: 'dial', rule: 'default' });
    expect(await dial(HOST_ALIAS, 8003)).toBe('ok');
    expect(await explain([], `${HOST_ALIAS}:8003`)).toMatchObject({ verdict: 'dial', via: 'alias' });
    expect(await dial(METADATA, 80)).toBe('EHOSTUNREACH');
    expect(await explain([], `${METADATA}:80`)).toMatchObject({ verdict: 'deny', rule: 'link-local' });
    expect(await dial(GATEWAY, 8003)).toBe('ECONNREFUSED');
    expect(await explain([], `${GATEWAY}:53`)).toMatchObject({ verdict: 'service', service: 'dns' });
  });

  it('denies by address, port and protocol; the first rule that fits decides', async () => {
    const flags = ['--allow', 'tcp:198.18.0.1:8001', '--deny', '198.18.0.0/30', '--deny', 'udp:any:8001'];
    await under(flags);
    expect(await dial(lab.address(), 8001)).toBe('ok');
    expect(await explain(flags, '198.18.0.1:8001')).toMatchObject({ verdict: 'dial' });
    expect(await dial(lab.address(1), 8002)).toBe('EHOSTUNREACH');
    expect(await explain(flags, '198.18.0.2:8002')).toMatchObject({
      verdict: 'deny',
      rule: 'deny 198.18.0.0/30',
    });
    const capture = await lab.capture(lab.guest, 'tap0', 'icmp');
    const udp = await probe(lab, {
      mode: 'udpConnected',
      address: lab.address(),
      port: 8001,
      tries: 2,
      timeoutMs: 500,
    });
    expect(udp['error']).toBeDefined();
    await capture.packet('prohibited', ({ line }) => /prohibited|filtered/.test(line));
    await capture.stop();
    expect(await explain(flags, '198.18.0.1:8001', '--protocol', 'udp')).toMatchObject({ verdict: 'deny' });
  });

  it('denies everything by default when told to, but for what is allowed', async () => {
    const flags = ['--default-policy', 'deny', '--allow', 'tcp:198.18.0.2:8002'];
    await under(flags);
    expect(await dial(lab.address(1), 8002)).toBe('ok');
    expect(await dial(lab.address(), 8001)).toBe('EHOSTUNREACH');
    expect(await dial(HOST_ALIAS, 8003)).toBe('EHOSTUNREACH');
    // The gateway's own services stay.
    expect(await lab.check(lab.guest, ['dig', '+short', 'gateway.docker.internal'])).toContain(GATEWAY);
    expect(await explain(flags, '198.18.0.1:8001')).toMatchObject({ verdict: 'deny', rule: 'default' });
  });

  it('lets a rule open the metadata address', async () => {
    const flags = ['--allow', `tcp:${METADATA}:80`];
    await under(flags);
    expect(await dial(METADATA, 80)).toBe('ok');
    expect(await explain(flags, `${METADATA}:80`)).toMatchObject({ verdict: 'dial' });
  });

  it('has no host alias when it is off, and no rule about the host can be walked around', async () => {
    await under(['--host-alias', 'off']);
    expect(await dial(HOST_ALIAS, 8003)).not.toBe('ok');
    expect(await lab.check(lab.guest, ['dig', 'host.docker.internal'])).toMatch(/NXDOMAIN/);
    await lab.destroy();

    const flags = ['--deny', 'host'];
    await under(flags);
    expect(await dial(HOST_ALIAS, 8003)).toBe('EHOSTUNREACH');
    expect(await dial(lab.address(), 8001)).toBe('EHOSTUNREACH');
    for (const target of [`${HOST_ALIAS}:8003`, '198.18.0.1:8001', 'host.docker.internal:8003'])
      expect(await explain(flags, target)).toMatchObject({ verdict: 'deny', rule: 'deny host' });
  });

  it('puts the alias where it is told to', async () => {
    await under(['--host-alias', '192.168.127.77']);
    expect(await dial('192.168.127.77', 8003)).toBe('ok');
    expect(await lab.check(lab.guest, ['dig', '+short', 'host.docker.internal'])).toBe('192.168.127.77\n');
  });

  it('holds for the guest it names, and counts', async () => {
    lab = await Lab.create();
    const other = await Lab.create();
    const tap = (one: Lab, name: string) => ({
      name: 'tap0',
      netns: `/run/netns/${one.guest}`,
      guest: { name },
    });
    const rule = 'deny tcp:198.18.0.1@build';
    const library = await LibraryNetwork.start(lab.host, {
      config: { policy: { rules: [rule] } },
      taps: [tap(lab, 'build'), tap(other, 'web')],
    });
    try {
      await lab.dhcp();
      await other.dhcp();
      await lab.serve({ one: { kind: 'tcp-echo', port: 8001 } });
      expect(await dial(lab.address(), 8001)).toBe('EHOSTUNREACH');
      const free = await other.client({ mode: 'flows', targets: [{ address: lab.address(), port: 8001 }] });
      expect(free.ok).toBe(1);
      const query = { host: lab.address(), port: 8001 };
      expect(await library.explain({ ...query, guest: 'build' })).toMatchObject({
        rule,
        verdict: { kind: 'deny' },
      });
      expect(await library.explain({ ...query, guest: 'web' })).toMatchObject({ verdict: { kind: 'dial' } });
      expect((await library.look()).stats.rules[rule]).toBeGreaterThanOrEqual(1);
    } finally {
      await library.stop();
      await other.destroy();
    }
  });
});
