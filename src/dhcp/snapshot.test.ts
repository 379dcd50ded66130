import { describe, expect, it } from 'vitest';
import { formatIpv4, type Ipv4 } from '../core/index.js';
import { Bench, MAC_A, MAC_B, ip, macOf, typeOf } from './dhcp.testutil.js';
import { MessageType } from './index.js';

const SMALL = { subnet: { base: ip('10.0.0.0'), prefix: 29 }, gateway: ip('10.0.0.1'), excluded: [] };
const DAY = 86_400;
const text = (address: Ipv4): string => formatIpv4(address);

describe('snapshots', () => {
  it('survive a restart: leases, order of reuse, remaining time', () => {
    const bench = new Bench(SMALL);
    for (const n of [1, 2, 3, 4, 5])
      bench.obtain({ mac: macOf(n), hostname: `h${n}`, clientId: [n, 0, 0] }, n);
    for (const n of [4, 2]) {
      bench.send(MessageType.release, { mac: macOf(n), clientId: [n, 0, 0], ciaddr: `10.0.0.${n + 1}` }, n);
    }
    bench.pass(100);
    const file = JSON.parse(JSON.stringify(bench.server.snapshot(bench)));
    const next = new Bench(SMALL);
    next.now = 5;
    next.wall = bench.wall + 1000_000;
    expect(next.server.restore(file, next)).toEqual({ restored: 5, rejected: 0 });
    expect(next.server.leases().map((lease) => [text(lease.ip), lease.hostname, lease.expires])).toEqual([
      ['10.0.0.2', 'h1', 5 + (DAY - 1100) * 1000],
      ['10.0.0.4', 'h3', 5 + (DAY - 1100) * 1000],
      ['10.0.0.6', 'h5', 5 + (DAY - 1100) * 1000],
    ]);
    expect(next.server.snapshot(next)).toEqual(file);
    expect(text(next.obtain({ mac: macOf(9) }, 9)!)).toBe('10.0.0.5');
    expect(
      typeOf(next.send(MessageType.request, { mac: macOf(1), clientId: [1, 0, 0], ciaddr: '10.0.0.2' }, 7)),
    ).toBe(MessageType.ack);
  });

  it('expired ones come back free, endless ones endless, and clock jumps do not lengthen a lease', () => {
    const bench = new Bench();
    const lease = (n: number, expires?: number) => ({
      ip: `192.168.127.${n}`,
      mac: macOf(n),
      state: 'bound',
      ...(expires === undefined ? {} : { expires }),
    });
    const leases = [lease(2, bench.wall - 1), lease(3), lease(4, bench.wall + 1e15)];
    expect(bench.server.restore({ version: 1, leases }, bench)).toEqual({ restored: 3, rejected: 0 });
    expect(bench.server.leases().map((found) => found.expires)).toEqual([
      Number.POSITIVE_INFINITY,
      bench.now + DAY * 1000,
    ]);
  });

  it('rejects what is damaged, doubled or out of place', () => {
    const bench = new Bench({ maxLeases: 3 });
    const good = { ip: '192.168.127.2', mac: MAC_A, state: 'bound', expires: bench.wall + 1e6 };
    const leases = [
      good,
      good,
      { ...good, ip: '192.168.127.3' },
      { ...good, ip: '192.168.127.1', mac: MAC_B },
      { ...good, ip: '10.0.0.1', mac: MAC_B },
      { ...good, ip: 7 },
      { ...good, mac: 'x' },
      { ...good, state: 'offered' },
      { ...good, clientId: 'xyz' },
      { ...good, clientId: 12 },
      { ...good, expires: 'soon' },
      { ...good, expires: Number.NaN },
      null,
      'lease',
    ];
    expect(bench.server.restore({ version: 1, leases }, bench)).toEqual({ restored: 1, rejected: 13 });
    for (const junk of [undefined, null, 1, 'x', [], {}, { version: 2, leases }, { version: 1, leases: 3 }]) {
      expect(new Bench().server.restore(junk, bench)).toEqual({ restored: 0, rejected: 0 });
    }
    const many = Array.from({ length: 5 }, (_, n) => ({
      ...good,
      ip: `192.168.127.${n + 10}`,
      mac: macOf(n),
    }));
    expect(bench.server.restore({ version: 1, leases: many }, bench)).toEqual({ restored: 2, rejected: 3 });
  });
});
