import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DnsUpstreamError, type DnsReply, type DnsUpstream } from '../dns/index.js';
import { strictGroup, type DnsGroup, type DnsTier } from './dns-group.js';
import { SplitDns } from './split-dns.js';
import { MacosSplit, linuxSplit } from './system-split.js';
import { RacingUpstream, TieredUpstream } from './tiered-upstream.js';
import { WatchedFolder } from './watched-folder.js';

const group = (domains: string, servers: string, from = 'test'): DnsGroup =>
  strictGroup(from, domains.split(' '), servers.split(' '))!;

class Fake implements DnsUpstream {
  readonly asked: { timeout: number; reply: DnsReply }[] = [];
  closed = 0;
  readonly tier: DnsTier | undefined;
  constructor(tier?: DnsTier) {
    this.tier = tier;
  }
  query(_bytes: Uint8Array, _transport: string, timeout: number, reply: DnsReply): void {
    this.asked.push({ timeout, reply });
  }
  close(): void {
    this.closed++;
  }
}

describe('split DNS', () => {
  let now = 0;
  const made: Fake[] = [];
  const split = (...sources: (() => readonly DnsGroup[])[]): SplitDns => {
    made.length = 0;
    return new SplitDns(
      sources,
      (tier) => {
        const fake = new Fake(tier);
        made.push(fake);
        return fake;
      },
      () => now,
    );
  };
  const server = (dns: SplitDns, name: string): string | undefined =>
    (dns.find(name)?.upstream as Fake | undefined)?.tier?.servers.map(({ host }) => host).join(' ');

  it('leads a name to the longest domain, and of two sources to the first', () => {
    const first = [group('corp.example', '10.0.0.1'), group('lab.corp.example b.example', '10.0.0.2')];
    const second = [group('corp.example', '10.9.9.9'), group('c.example', '10.0.0.3')];
    const dns = split(
      () => first,
      () => second,
    );
    const names = [
      'corp.example',
      'a.b.corp.example',
      'x.lab.corp.example',
      'b.example',
      'c.example',
      'xcorp.example',
      '',
    ];
    expect(names.map((name) => server(dns, name))).toEqual([
      '10.0.0.1',
      '10.0.0.1',
      '10.0.0.2',
      '10.0.0.2',
      '10.0.0.3',
      undefined,
      undefined,
    ]);
    expect(made).toHaveLength(3);
    expect([...dns.all()].map(({ domain }) => domain)).toEqual([
      'corp.example',
      'lab.corp.example',
      'b.example',
      'c.example',
    ]);
  });

  it('takes the root for all names', () => {
    const groups = [{ ...group('x', '10.0.0.1'), domains: [''] }];
    const dns = split(() => groups);
    expect([server(dns, 'a.b'), server(dns, '')]).toEqual(['10.0.0.1', '10.0.0.1']);
  });

  it('follows its sources, keeps servers that stay, and lets the others end in peace', () => {
    now = 0;
    let groups = [group('a', '10.0.0.1'), group('b', '10.0.0.2')];
    const dns = split(() => groups);
    const before = dns.settings();
    const kept = dns.find('a')?.upstream;
    groups = [group('c', '10.0.0.1'), group('b', '10.0.0.3')];
    expect(dns.settings()).not.toBe(before);
    expect(dns.find('a')).toBeUndefined();
    expect(dns.find('c')?.upstream).toBe(kept);
    expect(server(dns, 'b')).toBe('10.0.0.3');
    expect(made.map(({ closed }) => closed)).toEqual([0, 0, 0]);
    const same = dns.settings();
    expect(dns.settings()).toBe(same);
    now = 31_000;
    groups = [group('b', '10.0.0.3')];
    dns.settings();
    expect(made.map(({ closed }) => closed)).toEqual([0, 1, 0]);
    dns.close();
    expect(made.map(({ closed }) => closed)).toEqual([1, 1, 1]);
  });
});

describe('tiers and races', () => {
  const answer = (rcode: number): Uint8Array => Uint8Array.of(0, 0, 0x80, rcode, 0, 0, 0, 0, 0, 0, 0, 0);
  const error = new DnsUpstreamError('timeout', 'late');
  const asked = (upstream: DnsUpstream): { said: unknown[] } => {
    const said: unknown[] = [];
    upstream.query(new Uint8Array(12), 'udp', 1000, {
      answered: (bytes, server) => said.push([bytes[3], server]),
      failed: ({ code }) => said.push(code),
    });
    return { said };
  };

  it('ask the next tier when one fails, is late or has nothing better', () => {
    let now = 0;
    const [a, b, c] = [new Fake(), new Fake(), new Fake()];
    const tiers = new TieredUpstream(
      [
        { upstream: a, timeout: 100 },
        { upstream: b, timeout: undefined },
        { upstream: c, timeout: undefined },
      ],
      () => now,
    );
    const { said } = asked(tiers);
    expect(a.asked[0]?.timeout).toBe(100);
    now = 100;
    a.asked[0]!.reply.failed(error);
    expect(b.asked[0]?.timeout).toBe(450);
    now = 200;
    b.asked[0]!.reply.answered(answer(2), 'b');
    expect(c.asked[0]?.timeout).toBe(800);
    c.asked[0]!.reply.answered(answer(3), 'c');
    expect(said).toEqual([[3, 'c']]);
    tiers.close();
    expect([a.closed, b.closed, c.closed]).toEqual([1, 1, 1]);
  });

  it('give the poor answer of an earlier tier when the last one fails', () => {
    const [a, b] = [new Fake(), new Fake()];
    const { said } = asked(
      new TieredUpstream([
        { upstream: a, timeout: undefined },
        { upstream: b, timeout: undefined },
      ]),
    );
    a.asked[0]!.reply.answered(answer(5), 'a');
    b.asked[0]!.reply.failed(error);
    expect(said).toEqual([[5, 'a']]);
  });

  it('take the first good answer of a race', () => {
    const all = [new Fake(), new Fake(), new Fake()];
    const { said } = asked(new RacingUpstream(all));
    all[0]!.asked[0]!.reply.answered(answer(2), 'a');
    all[2]!.asked[0]!.reply.answered(answer(0), 'c');
    all[1]!.asked[0]!.reply.answered(answer(0), 'b');
    expect(said).toEqual([[0, 'c']]);
    const none = [new Fake(), new Fake()];
    const lost = asked(new RacingUpstream(none));
    none[0]!.asked[0]!.reply.answered(answer(2), 'a');
    none[1]!.asked[0]!.reply.failed(error);
    expect(lost.said).toEqual([[2, 'a']]);
    const dead = [new Fake(), new Fake()];
    const failed = asked(new RacingUpstream(dead));
    for (const {
      asked: [query],
    } of dead)
      query!.reply.failed(error);
    expect(failed.said).toEqual(['timeout']);
  });
});

describe('what the system says', () => {
  let folder = '';
  let now = 0;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'np-split-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const write = (name: string, text: string): void => {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), text);
  };
  const tick = (): number => (now += 1000);

  it('is read from links and private interfaces, while they are there', () => {
    let resolved = true;
    const paths = {
      resolved: path.join(folder, 'netif'),
      networkd: path.join(folder, 'links'),
      resolvconf: path.join(folder, 'resolvconf'),
    };
    const source = linuxSplit(
      () => resolved,
      paths,
      () => now,
    );
    const seen = (): string[] => source().map(({ domains, from }) => `${domains.join(' ')} by ${from}`);
    expect(seen()).toEqual([]);
    expect(source()).toBe(source());
    write('netif/7', 'SERVERS=10.8.0.1\nDOMAINS=~corp.example\n');
    write('links/2', 'DNS=10.0.0.1\nDOMAINS=lan\n');
    write('resolvconf/interfaces/wg0', 'nameserver 10.64.0.1\nsearch vpn.example\n');
    write('resolvconf/interfaces/eth0', 'nameserver 10.0.0.1\nsearch lan\n');
    write('resolvconf/private/wg0', '');
    expect(seen()).toEqual([]);
    tick();
    expect(seen()).toEqual([
      'corp.example by link 7 of systemd',
      'lan by link 2 of systemd',
      'vpn.example by wg0 of openresolv',
    ]);
    const same = source();
    tick();
    expect(source()).toBe(same);
    rmSync(path.join(folder, 'netif/7'));
    tick();
    expect(seen()).toEqual(['lan by link 2 of systemd', 'vpn.example by wg0 of openresolv']);
    resolved = false;
    expect(seen()).toEqual(['vpn.example by wg0 of openresolv']);
  });

  it('leaves out what is no small file', () => {
    write('f/a', 'x'.repeat(70_000));
    write('f/b/c', 'inside');
    write('f/d', 'text');
    const watched = new WatchedFolder(
      path.join(folder, 'f'),
      (text, name) => `${name} ${text}`,
      () => now,
    );
    expect(watched.get()).toEqual(['d text']);
    expect(watched.changes).toBe(1);
  });

  it('is asked of scutil, the first time before any query', () => {
    const text = (server: string): string =>
      `DNS configuration\n\nresolver #1\n  nameserver[0] : 10.0.0.1\n\nresolver #2\n  domain : corp.example\n  nameserver[0] : ${server}\n`;
    const later: ((text: string | undefined) => void)[] = [];
    const macos = new MacosSplit(
      { now: () => text('10.8.0.1'), later: (done) => later.push(done) },
      () => now,
    );
    const servers = (): (string | undefined)[] =>
      macos.source().map(({ tiers }) => tiers[0]?.servers[0]?.host);
    expect(servers()).toEqual(['10.8.0.1']);
    tick();
    expect(servers()).toEqual(['10.8.0.1']);
    tick();
    servers();
    expect(later).toHaveLength(1);
    later[0]!(text('10.8.0.2'));
    expect(servers()).toEqual(['10.8.0.2']);
    const same = macos.source();
    later[1]?.(undefined);
    expect(macos.source()).toBe(same);
  });
});
