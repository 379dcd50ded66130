import { describe, expect, it } from 'vitest';
import type { Neighbour } from '../arp/index.js';
import { BlockPool, type Ipv4, plainMemory } from '../core/index.js';
import { testNetwork } from '../testing/index.js';
import type { StackPort } from './port.js';
import { SYN_BACKLOG, SynBacklog } from './syn-backlog.js';

describe('SynBacklog', () => {
  it('keeps so many headers and no more, answers the oldest first, and gives its memory back', () => {
    const pool = new BlockPool(plainMemory);
    const backlog = new SynBacklog(undefined as unknown as StackPort, pool);
    const neighbour = {} as Neighbour;
    const header = new Uint8Array(100);
    const push = (n: number): boolean => {
      new DataView(header.buffer).setUint32(7, n);
      return backlog.push(neighbour, header, 7, 20 + 4 * (n % 11), n as Ipv4);
    };
    const seen: number[] = [];
    const serve = (n: number): void => {
      backlog.serve(n, (_port, who, block, at, length, destination) => {
        const { view } = block.region;
        expect([who, view.getUint32(at), length]).toEqual([
          neighbour,
          destination,
          20 + 4 * (destination % 11),
        ]);
        seen.push(destination);
      });
    };
    for (let n = 0; n < SYN_BACKLOG; n++) expect(push(n)).toBe(true);
    expect([push(1), backlog.size]).toEqual([false, SYN_BACKLOG]);
    serve(3);
    expect([seen.join(), push(9000), push(9001), push(9002), push(9003)]).toEqual([
      '0,1,2',
      true,
      true,
      true,
      false,
    ]);
    serve(10_000);
    expect(seen).toEqual([...Array.from({ length: SYN_BACKLOG }, (_, n) => n), 9000, 9001, 9002]);
    expect([backlog.size, pool.bytesOut]).toEqual([0, 0]);
    push(1);
    backlog.clear();
    expect([backlog.size, pool.bytesOut]).toEqual([0, 0]);
  });

  it('connections that wait for their turn are opened all the same, without a SYN that is sent again', async () => {
    await using lab = await testNetwork();
    lab.host.accept('*:80', (socket) => socket.end('x'));
    const all = Array.from({ length: 300 }, () => lab.guest.connect('198.51.100.1', 80));
    const began = lab.clock?.now() ?? 0;
    await lab.run(Promise.all(all));
    expect((lab.clock?.now() ?? 0) - began).toBeLessThan(900);
    expect(lab.network.stats().stack.synBacklogFull).toBe(0);
    expect(lab.network.stats().outbound.dialed).toBe(300);
  });
});
