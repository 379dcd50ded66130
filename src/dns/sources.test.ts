/** Who answers: local names in their order, the route of a name, and what is told about it. */
import { describe, expect, it } from 'vitest';
import {
  FakeResolver,
  FakeUpstream,
  GUEST,
  address,
  ask,
  builtin,
  query,
  respond,
  serverWith,
} from './dns.testutil.js';
import { HostsFileNames, Rcode, type DnsConfig, type DnsEvent, type LocalNames } from './index.js';

describe('hosts file and name servers', () => {
  const hosts = {
    addresses: (name: string) => ({ 'printer.lan': ['10.0.0.7'], six: ['fd00::7'] })[name],
    names: (found: string) => ({ '10.0.0.7': ['printer.lan', 'printer'] })[found],
  };
  const upstream = new FakeUpstream((asked) => respond(asked, [address('relayed', '9.9.9.9')]));
  const mode = (): 'relay' => 'relay';
  const local = [builtin(), new HostsFileNames(hosts, mode)];
  const config: Partial<DnsConfig> = { local, upstream, mode, resolver: new FakeResolver({}) };

  it('the file first', async () => {
    const server = serverWith(config);
    expect((await ask(server, query('Printer.LAN', 'A'))).answers).toEqual(['Printer.LAN A 10.0.0.7']);
    expect((await ask(server, query('six', 'AAAA'))).answers).toEqual(['six AAAA fd00::7']);
    expect((await ask(server, query('7.0.0.10.in-addr.arpa', 'PTR'))).answers).toHaveLength(2);
    expect(server.counters.sources.hosts).toBe(3);
  });

  it('then the servers, also for the other family and other types', async () => {
    const server = serverWith(config);
    for (const [name, type] of [
      ['printer.lan', 'AAAA'],
      ['printer.lan', 'MX'],
      ['example.com', 'A'],
      ['8.0.0.10.in-addr.arpa', 'PTR'],
    ] as const) {
      expect((await ask(server, query(name, type))).answers).toEqual(['relayed A 9.9.9.9']);
    }
  });
});

describe('where an answer comes from', () => {
  const says = (source: 'zone' | 'hosts', knows: string, rcode: number): LocalNames => ({
    source,
    resolve: ({ name }) => (name.endsWith(knows) ? { rcode } : undefined),
  });

  it('the first of the local names that knows', async () => {
    const local = [says('zone', 'a.example', Rcode.nxDomain), says('hosts', 'example', Rcode.noError)];
    const server = serverWith({ local });
    expect((await ask(server, query('x.a.example', 'A'))).rcode).toBe('NXDOMAIN');
    expect((await ask(server, query('b.example', 'A'))).rcode).toBe('NOERROR');
    expect((await ask(server, query('b.test', 'A'))).rcode).toBe('NOERROR');
    expect(server.counters.sources).toMatchObject({ zone: 1, hosts: 1, relay: 1 });
  });

  it('names with a route are relayed there and nowhere else, also where the host has a resolver', async () => {
    const corp = new FakeUpstream((asked) => respond(asked, [address('x.corp', '10.1.0.1')]));
    const upstream = new FakeUpstream((asked) => respond(asked, [address('else', '9.9.9.9')]));
    const resolver = new FakeResolver({ 'y.example/4': ['10.0.0.2'], 'x.corp/4': ['6.6.6.6'] });
    const route = (name: string) => (name.endsWith('corp') ? corp : undefined);
    const server = serverWith({ upstream, route, resolver });
    expect((await ask(server, query('X.corp', 'A'))).answers).toEqual(['x.corp A 10.1.0.1']);
    expect((await ask(server, query('y.example', 'A'))).answers).toEqual(['y.example A 10.0.0.2']);
    expect((await ask(server, query('y.example', 'MX'))).answers).toEqual(['else A 9.9.9.9']);
    expect([corp.asked.length, upstream.asked.length, resolver.asked]).toEqual([1, 1, ['y.example/4']]);
  });

  it('each answer is told once, with who said it and how long it took', async () => {
    const events: DnsEvent[] = [];
    let now = 10;
    const server = serverWith({
      observe: (event) => void events.push({ ...event, answer: event.answer.slice() }),
      clock: { now: () => now },
      upstream: new FakeUpstream((asked) => {
        now = 17;
        return respond(asked, [address('x.example', '10.0.0.1')]);
      }),
    });
    const answer = await server.handle(query('X.example', 'A'), 'udp', GUEST, now);
    await server.handle(query('host.docker.internal', 'A'), 'tcp', GUEST, now);
    expect(events).toHaveLength(2);
    expect(events[0]).toMatchObject({ guest: GUEST, source: 'relay', rcode: 0, millis: 7, server: 'fake' });
    expect(events[0]).toMatchObject({ question: { name: 'x.example', type: 1 }, transport: 'udp', answer });
    expect(events[1]).toMatchObject({ source: 'builtin', millis: 0, server: undefined, transport: 'tcp' });
    expect(server.counters.latency.reduce((sum, n) => sum + n)).toBe(2);
    expect(server.counters.latency[3]).toBe(1);
  });
});
