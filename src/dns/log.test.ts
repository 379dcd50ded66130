import { describe, expect, it } from 'vitest';
import { DNS_LOGGED, DnsLog } from './log.js';
import { builtin, query, serverWith } from './dns.testutil.js';
import type { DnsEvent } from './types.js';

const event = (name: string): DnsEvent => ({
  guest: { id: 1 },
  question: { name, type: 28, class: 1 },
  source: 'zone',
  rcode: 3,
  millis: 2,
  transport: 'tcp',
  server: '10.0.0.1',
  answer: Uint8Array.of(0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0),
});

describe('the log of answers', () => {
  it('tells and remembers', () => {
    const log = new DnsLog(() => 1234);
    const told: string[] = [];
    const end = log.watch(({ id, name }) => told.push(`${id} ${name}`));
    log.add(event('a'), 'guest1');
    log.add(event('b'), 'guest1');
    end();
    log.add({ ...event('c'), question: undefined }, 'guest2');
    expect(told).toEqual(['1 a', '2 b']);
    expect(log.recent()).toHaveLength(3);
    expect(log.recent()[0]).toEqual({
      id: 1,
      time: 1234,
      guest: 'guest1',
      name: 'a',
      type: 28,
      source: 'zone',
      rcode: 3,
      millis: 2,
      transport: 'tcp',
      server: '10.0.0.1',
      answers: 2,
    });
  });

  it('remembers the last ones, in order', () => {
    const log = new DnsLog(() => 0);
    for (let i = 1; i <= DNS_LOGGED + 10; i++) log.add(event(`n${i}`), 'g');
    const ids = log.recent().map(({ id }) => id);
    expect(ids).toEqual(Array.from({ length: DNS_LOGGED }, (_, i) => i + 11));
  });
});

describe('explaining the way of a query', () => {
  const way = (server: ReturnType<typeof serverWith>, name: string, type: string, now = 0) =>
    server
      .explain(query(name, type), { id: 1 }, now)
      .map(({ source, answers }) => `${source}${answers ? '!' : ''}`);

  it('ends with who answers', async () => {
    const server = serverWith({
      decide: (name) => (name === 'bad.test' ? { id: 1, rule: 'deny bad.test' } : undefined),
      local: [builtin()],
    });
    expect(way(server, 'bad.test', 'A')).toEqual(['policy!']);
    expect(way(server, 'gateway.docker.internal', 'A')).toEqual(['policy', 'builtin!']);
    expect(way(server, 'www.test', 'A')).toEqual(['policy', 'builtin', 'cache', 'relay!']);
    await server.handle(query('www.test', 'A'), 'udp', { id: 1 }, 0);
    expect(server.explain(Uint8Array.of(1), { id: 1 }, 0)).toEqual([]);
  });
});
