/** Nobody stalls anybody: memory budgets, slow readers, slow guests, a thousand flows. */
import { describe, expect, it } from 'vitest';
import { type GuestSocket, type HostSocket, type TestNetwork, testNetwork } from './index.js';
import { digestAll, payload, readAll } from './testing.testutil.js';

const SERVER = '198.51.100.1';
const MIB = 1024 * 1024;

/** Jain's fairness index: 1 when all are equal, 1/n when one has everything. */
function jain(shares: readonly number[]): number {
  const sum = shares.reduce((a, b) => a + b, 0);
  return (sum * sum) / (shares.length * shares.reduce((a, b) => a + b * b, 0));
}

/** Connections of the first guest, with their ends at the host; the host's are not read. */
async function connections(lab: TestNetwork, n: number, guest = lab.guest) {
  const servers: HostSocket[] = [];
  lab.host.accept(SERVER, (socket) => servers.push(socket));
  const clients: GuestSocket[] = [];
  for (let i = 0; i < n; i += 100) {
    const some = Array.from({ length: Math.min(100, n - i) }, () => guest.connect(SERVER, 80));
    clients.push(...(await lab.run(Promise.all(some))));
  }
  return { clients, servers };
}

describe('memory budgets', () => {
  it('hold guests back by their windows, lose nothing, and let others go on', async () => {
    const guestMemory = 2 * MIB;
    await using lab = await testNetwork({ limits: { guestMemory } });
    const other = await lab.attach();
    const { clients, servers } = await connections(lab, 24);
    const { bytes, sha256 } = payload(MIB);
    // 24 MiB for hosts that do not read: what they hold themselves (256 KiB each), the budget, and a floor per flow.
    for (const client of clients) client.end(Buffer.from(bytes));
    await lab.clock.advance(30_000);
    const { stack } = lab.network;
    const port = lab.network.guests()[0]!.port;
    expect(port.budget.used).toBeGreaterThan(guestMemory / 2);
    expect(port.budget.peak).toBeLessThanOrEqual(guestMemory + 24 * 16 * 1024 + 65_536);
    expect(stack.budget.used).toBe(port.budget.used);
    // Another guest has its own.
    lab.host.accept(`${SERVER}:81`, (socket) => socket.end('alive'));
    expect(await lab.run(readAll(await lab.run(other.connect(SERVER, 81))))).toBe('alive');
    const digests = await lab.run(Promise.all(servers.map((server) => digestAll(server))), 3_600_000);
    for (const digest of digests) expect(digest).toEqual({ bytes: MIB, sha256 });
    expect(stack.budget.used).toBe(0);
  });

  it('hold hosts back that send to guests that do not read', async () => {
    const guestMemory = 2 * MIB;
    await using lab = await testNetwork(
      { limits: { guestMemory } },
      { guest: { tcp: { receiveWindow: 65_536 } } },
    );
    const { clients, servers } = await connections(lab, 24);
    const { bytes, sha256 } = payload(MIB, 2);
    for (const server of servers) server.end(Buffer.from(bytes));
    await lab.clock.advance(30_000);
    const port = lab.network.guests()[0]!.port;
    expect(port.budget.peak).toBeLessThanOrEqual(guestMemory + 24 * 16 * 1024 + 256 * 1024);
    expect(port.budget.used).toBeGreaterThan(24 * 16 * 1024);
    const digests = await lab.run(Promise.all(clients.map((client) => digestAll(client))), 3_600_000);
    for (const digest of digests) expect(digest).toEqual({ bytes: MIB, sha256 });
    for (const client of clients) client.end();
    await lab.clock.advance(10_000);
    expect(lab.network.stack.budget.used).toBe(0);
  });

  it('of all guests together is bounded too', async () => {
    const totalMemory = 2 * MIB;
    await using lab = await testNetwork({ limits: { totalMemory } });
    const guests = [lab.guest, await lab.attach(), await lab.attach()];
    const { bytes, sha256 } = payload(MIB, 3);
    const all: HostSocket[] = [];
    for (const guest of guests) {
      const { clients, servers } = await connections(lab, 8, guest);
      for (const client of clients) client.end(Buffer.from(bytes));
      all.push(...servers);
    }
    await lab.clock.advance(30_000);
    expect(lab.network.stack.budget.peak).toBeLessThanOrEqual(totalMemory + 24 * 16 * 1024 + 65_536);
    const digests = await lab.run(Promise.all(all.map((server) => digestAll(server))), 3_600_000);
    for (const digest of digests) expect(digest).toEqual({ bytes: MIB, sha256 });
  });
});

describe('isolation', () => {
  it('readers that never read pin no more than their windows, and others keep their speed', async () => {
    await using lab = await testNetwork();
    const { clients, servers } = await connections(lab, 40);
    for (const client of clients) client.write(Buffer.alloc(2 * MIB));
    await lab.clock.advance(1000);
    const { bytes, sha256 } = payload(8 * MIB, 4);
    lab.host.accept(`${SERVER}:443`, (socket) => fast.push(socket));
    const fast: HostSocket[] = [];
    const client = await lab.run(lab.guest.connect(SERVER, 443));
    const before = lab.clock.now();
    client.end(Buffer.from(bytes));
    expect(await lab.run(digestAll(fast[0]!))).toEqual({ bytes: bytes.length, sha256 });
    expect(lab.clock.now() - before).toBeLessThan(2000);
    // Blocks that are out: what is queued and little more, not a batch for each of the slow flows' slices.
    const { held, blocksOut } = lab.network.stats().memory;
    expect(held).toBeGreaterThan(2 * MIB);
    expect(blocksOut).toBeLessThan(held * 1.5 + 6 * MIB);
    for (const socket of [...clients, ...servers]) socket.destroy();
    await lab.clock.advance(1000);
    expect(lab.network.stats().memory.held).toBe(0);
  });

  it('a guest whose link is blocked holds up its own flows only', async () => {
    await using lab = await testNetwork();
    const other = await lab.attach();
    const stuck = await connections(lab, 10);
    const { output } = lab.network.guests()[0]!.port;
    const { bytes, sha256 } = payload(4 * MIB, 5);
    // A link that takes nothing: what is written to it is never delivered, and it says so.
    Object.defineProperty(output, 'blocked', { value: true, configurable: true });
    for (const server of stuck.servers) server.write(Buffer.alloc(4 * MIB));
    await lab.clock.advance(200);
    const { servers, clients } = await connections(lab, 1, other);
    const before = lab.clock.now();
    servers.at(-1)!.end(Buffer.from(bytes));
    expect(await lab.run(digestAll(clients[0]!))).toEqual({ bytes: bytes.length, sha256 });
    expect(lab.clock.now() - before).toBeLessThan(2000);
    expect(lab.network.guests()[0]!.port.budget.used).toBeLessThanOrEqual(10 * MIB);
    expect(stuck.clients.reduce((sum, client) => sum + client.bytesRead, 0)).toBe(0);
  });
});

describe('a thousand flows', () => {
  it('share a link fairly, up and down', { timeout: 120_000 }, async () => {
    await using lab = await testNetwork({ subnet: '10.0.0.0/16' });
    const flows = 1000;
    const { clients, servers } = await connections(lab, flows);
    const size = 192 * 1024;
    // Up: all at once; the fairness is looked at when half of everything has arrived.
    for (const server of servers) server.resume();
    const taken = new Map<HostSocket, number>();
    for (const server of servers)
      server.on('data', (chunk: Buffer) => taken.set(server, (taken.get(server) ?? 0) + chunk.length));
    for (const client of clients) client.write(Buffer.alloc(size));
    const total = (): number => [...taken.values()].reduce((a, b) => a + b, 0);
    await lab.clock.runUntil(() => total() >= (flows * size) / 2);
    expect(taken.size).toBe(flows);
    expect(jain([...taken.values()])).toBeGreaterThan(0.9);
    await lab.clock.runUntil(() => total() === flows * size);
    // The windows are small by then; no edge ever moved back, so nothing was outside.
    expect(lab.network.stats().tcp.droppedOutsideWindow).toBe(0);
    // Down.
    for (const client of clients) client.resume();
    for (const server of servers) server.write(Buffer.alloc(size));
    const got = (): number[] => clients.map((client) => client.bytesRead);
    await lab.clock.runUntil(() => got().reduce((a, b) => a + b, 0) >= (flows * size) / 2);
    expect(jain(got())).toBeGreaterThan(0.9);
  });
});
