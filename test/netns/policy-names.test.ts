/** Default-deny with one name allowed, tried with the clients that people have; and questions that somebody answers. */
import { afterEach, describe, expect, it } from 'vitest';
import { requireTool, requirements } from '../support/requirements.js';
import { Lab } from './lab.js';
import { probe } from './probe.js';
import { HOST_ALIAS, scenarioReady, serveTap } from './scenario.js';

const ready =
  scenarioReady('policy by name', 'curl', 'dig') && requirements('policy by name', requireTool('dnsmasq'));

/** Servers that are not the host: no name opens that. */
const GOOD = '203.0.113.10';
const OTHER = '203.0.113.11';

/** As the control API gives it. */
interface Decision {
  readonly id: number;
  readonly protocol: string;
  readonly address?: string;
  readonly port?: number;
  readonly name?: string;
  readonly verdict: string;
  readonly rule: string;
}

describe.runIf(ready)('policy by name', () => {
  let lab: Lab;

  afterEach(async () => {
    await lab?.destroy();
  });

  /** A guest under these flags; GOOD and OTHER are in a namespace behind the host, and have names. */
  async function under(...flags: readonly string[]): Promise<void> {
    lab = await Lab.create();
    const far = await lab.namespace('far');
    const ip = (netns: string, ...args: string[]) => lab.check(netns, ['ip', ...args]);
    await ip(lab.host, 'link', 'add', 'far0', 'type', 'veth', 'peer', 'name', 'far1', 'netns', far);
    await ip(lab.host, 'addr', 'add', '203.0.113.1/24', 'dev', 'far0');
    await ip(lab.host, 'link', 'set', 'far0', 'up');
    for (const address of [GOOD, OTHER]) await ip(far, 'addr', 'add', `${address}/24`, 'dev', 'far1');
    await ip(far, 'link', 'set', 'far1', 'up');
    await lab.serve(
      {
        good: { kind: 'http', address: GOOD, port: 80 },
        other: { kind: 'http', address: OTHER, port: 80 },
        tls: { kind: 'tcp-echo', address: OTHER, port: 443 },
        dns: { kind: 'udp-echo', address: OTHER, port: 53 },
      },
      far,
    );
    await lab.serve({ loopback: { kind: 'http', address: '127.0.0.1', port: 8003 } });
    await lab.dns([`--host-record=good.lab.test,${GOOD}`, `--host-record=other.lab.test,${OTHER}`]);
    await serveTap(lab, ['--services', `unix:${lab.path('api')}`, ...flags]);
    await lab.dhcp();
  }

  /** What the control API answers. */
  async function api(path: string, ...more: string[]): Promise<unknown> {
    const argv = [
      'curl',
      '-sS',
      '-m',
      '30',
      '--unix-socket',
      lab.path('api'),
      ...more,
      `http://netproxy/v1/${path}`,
    ];
    const text = await lab.check(lab.host, argv);
    return text === '' ? undefined : JSON.parse(text);
  }

  const items = async (path: string): Promise<Decision[]> =>
    ((await api(path)) as { items: Decision[] }).items;
  const decisions = (): Promise<Decision[]> => items('policy/decisions');

  function answer(id: number, body: object): Promise<unknown> {
    return api(`policy/asks/${id}`, '--json', JSON.stringify(body));
  }

  /** curl's exit code: 0 it got something, 6 no such name, 7 refused at once, 28 nobody answered in time. */
  async function curl(...args: string[]): Promise<number> {
    const { code } = await lab.exec(lab.guest, ['curl', '-sS', '-o', '/dev/null', '-m', '15', ...args]);
    return code ?? -1;
  }

  it('default-deny with one name: everything else is denied at once, told once, and explained the same', async () => {
    await under('--default-policy', 'deny', '--allow', 'tcp:good.lab.test:80,443');
    expect(await curl('http://good.lab.test/100')).toBe(0);
    expect(await decisions()).toEqual([]);
    let seen = 0;
    /** Exactly one decision more, about this, which explain agrees with. */
    const deniedOnce = async (what: string, holds: Partial<Decision>): Promise<void> => {
      const all = await decisions();
      expect(all.slice(seen), what).toMatchObject([{ verdict: 'deny', rule: 'default', ...holds }]);
      seen = all.length;
      const { protocol, address, port, name } = all.at(-1)!;
      const query =
        protocol === 'dns' ? `host=${name!}` : `host=${address!}&port=${port!}&protocol=${protocol}`;
      expect(await api(`policy/explain?${query}`), what).toMatchObject({ verdict: 'deny', rule: 'default' });
    };

    expect(await curl('http://other.lab.test/')).toBe(6);
    await deniedOnce('another name', { protocol: 'dns', name: 'other.lab.test' });
    // The right name, and an address that it does not lead to.
    expect(await curl('-k', '--resolve', `good.lab.test:443:${OTHER}`, 'https://good.lab.test/')).toBe(7);
    await deniedOnce('forged SNI', { protocol: 'tcp', address: OTHER, port: 443 });
    expect(await curl('-H', 'Host: good.lab.test', `http://${OTHER}/`)).toBe(7);
    await deniedOnce('forged Host', { protocol: 'tcp', address: OTHER, port: 80 });
    expect(await curl('http://good.lab.test:81/')).toBe(7);
    await deniedOnce('another port', { protocol: 'tcp', address: GOOD, port: 81, name: 'good.lab.test' });

    const dig = (...args: string[]) =>
      lab.exec(lab.guest, ['dig', '+tries=1', '+time=15', `@${OTHER}`, ...args, 'good.lab.test']);
    for (const [what, port, ...args] of [
      ['DNS by UDP', 53],
      ['DNS by TCP', 53, '+tcp'],
      ['the port of DNS over TLS', 853, '+tcp', '-p', '853'],
    ] as const) {
      expect((await dig(...args)).stdout, what).toMatch(/unreachable|no servers could be reached/);
      await deniedOnce(what, { protocol: args.length === 0 ? 'udp' : 'tcp', address: OTHER, port });
    }
    const raw = { mode: 'udpConnected', address: OTHER, port: 4444, tries: 3, timeoutMs: 500 } as const;
    expect((await probe(lab, raw))['error']).toBeDefined();
    await deniedOnce('raw UDP', { protocol: 'udp', address: OTHER, port: 4444 });

    for (const zone of ['netproxy', 'docker', 'containers']) {
      expect(await curl(`http://host.${zone}.internal:8003/`)).toBe(6);
      await deniedOnce(`the host as ${zone}`, { protocol: 'dns', name: `host.${zone}.internal` });
    }
    for (const address of [HOST_ALIAS, lab.address(), '203.0.113.1']) {
      expect(await curl(`http://${address}:8003/`)).toBe(7);
      await deniedOnce(`the host as ${address}`, { protocol: 'tcp', address, port: 8003 });
    }
    // And what is allowed still is.
    expect(await curl('http://good.lab.test/100')).toBe(0);
  });

  it('asks, lets one connection through, and the next without asking when told so', async () => {
    await under('--ask', 'tcp:any:80');
    /** Starts curl and waits until somebody is asked about it; the id of the question. */
    const asked = async (): Promise<{ done: Promise<number>; id: number }> => {
      const done = curl('http://other.lab.test/100');
      for (;;) {
        const [question] = await items('policy/asks');
        if (question !== undefined) return { done, id: question.id };
      }
    };
    const first = await asked();
    await answer(first.id, { verdict: 'allow' });
    expect(await first.done).toBe(0);
    const second = await asked();
    expect(second.id).not.toBe(first.id);
    await answer(second.id, { verdict: 'deny' });
    expect(await second.done).toBe(7);
    const third = await asked();
    await answer(third.id, { verdict: 'allow', remember: true });
    expect(await third.done).toBe(0);
    expect(await curl('http://other.lab.test/100')).toBe(0);
    expect(await items('policy/asks')).toEqual([]);
    const { rules } = (await api('policy')) as { rules: readonly { readonly rule: string }[] };
    expect(rules.map(({ rule }) => rule)).toContain('allow tcp:other.lab.test:80@guest1');
  });
});
