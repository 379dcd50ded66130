/** What was set live comes back from the state file: ports, zones, rules. */
import { describe, expect, it } from 'vitest';
import { MemoryDisk } from '../host/state.testutil.js';
import type { NetworkConfig } from '../index.js';
import { FakeHost, type TestNetwork, realScheduler, testNetwork } from './index.js';
import { readAll } from './testing.testutil.js';

const ZONE = { name: 'corp.test', records: [{ name: 'www', type: 'A', value: '10.0.0.1' }] } as const;
const OTHER = { name: 'corp.test', records: [{ name: 'www', type: 'A', value: '10.0.0.2' }] } as const;

/** A network on this disk; ended as by kill -9, the disk stays as it is. */
function start(disk: MemoryDisk, config: NetworkConfig = {}, host?: FakeHost): Promise<TestNetwork> {
  return testNetwork(
    { stateFile: '/state', ...config },
    { scheduler: realScheduler, guest: false, deps: { ...host?.deps, disk } },
  );
}

async function begin(disk: MemoryDisk, config: NetworkConfig = {}, host?: FakeHost): Promise<TestNetwork> {
  const lab = await start(disk, config, host);
  await lab.network.start();
  return lab;
}

const specs = ({ network }: TestNetwork): string[] => network.ports().map(({ spec }) => spec);

describe('published ports', () => {
  it('come back with the port that was chosen; those of the configuration are its own', async () => {
    const disk = new MemoryDisk();
    await using before = await begin(disk, { publish: ['9000:90'] });
    await before.network.publish('127.0.0.1:0:80,preserve-source');
    await before.network.publish('8081:81');
    const temporary = await before.network.publish('8082:82', { keep: false });
    const gone = await before.network.publish('8083:83');
    expect(before.network.ports().map(({ kept }) => kept)).toEqual([false, true, true, false, true]);
    gone.close();
    await before.network.saved();
    const chosen = specs(before)[1]!;
    await using after = await begin(disk, { publish: ['9001:90'] });
    expect(specs(after)).toEqual(['127.0.0.1:9001:90/tcp', chosen, '127.0.0.1:8081:81/tcp']);
    expect(after.network.ports().every(({ waiting }) => waiting === undefined)).toBe(true);
    expect(temporary.port).toBe(8082);
  });

  it('give way to the configuration', async () => {
    const disk = new MemoryDisk();
    await using before = await begin(disk);
    await before.network.publish('8081:81');
    await before.network.saved();
    await using after = await begin(disk, { publish: ['8081:99'] });
    expect(specs(after)).toEqual(['127.0.0.1:8081:99/tcp']);
    await after.network.saved();
    expect([...disk.records.keys()].filter((key) => key.startsWith('port/'))).toEqual([]);
  });

  it('are given to who publishes the same again, once', async () => {
    const disk = new MemoryDisk();
    await using before = await begin(disk);
    await before.network.publish('8081:81');
    await before.network.saved();
    await using after = await begin(disk);
    const again = await after.network.publish('8081:81');
    expect(specs(after)).toEqual(['127.0.0.1:8081:81/tcp']);
    await expect(after.network.publish('8081:81')).rejects.toMatchObject({ errno: 'EADDRINUSE' });
    again.close();
    await after.network.saved();
    await using last = await begin(disk);
    expect(specs(last)).toEqual([]);
  });

  it('wait where somebody has their place, and listen when it is free', async () => {
    const disk = new MemoryDisk();
    const host = new FakeHost(realScheduler);
    await using before = await begin(disk);
    await before.network.publish('8081:81');
    await before.network.publish('8082:82');
    await before.network.saved();
    await using holder = await begin(new MemoryDisk(), { publish: ['8081:1', '8082:2'] }, host);
    await using after = await begin(disk, {}, host);
    expect(after.network.ports()).toMatchObject([
      { waiting: expect.stringContaining('address already in use') as string, kept: true },
      { waiting: expect.stringContaining('address already in use') as string, kept: true },
    ]);
    // Withdrawn while it waits.
    expect(after.network.unpublish(after.network.ports()[1]!.id)).toBe(true);
    const listens = new Promise((resolve) => after.network.once('published', resolve));
    for (const { id } of holder.network.ports()) holder.network.unpublish(id);
    await listens;
    expect(after.network.ports()).toMatchObject([{ port: 8081, kept: true }]);
    expect(after.network.ports()[0]!.waiting).toBeUndefined();
    host.connect('127.0.0.1', 8081).destroy();
    expect(() => host.connect('127.0.0.1', 8082)).toThrow('ECONNREFUSED');
  });
});

describe('a guest that is silent', () => {
  it('is found by its name at the address that it had', async () => {
    const disk = new MemoryDisk();
    await using before = await begin(disk);
    await before.attach();
    const second = await before.attach({ name: 'build', mac: '52:54:00:00:00:42' });
    await before.network.publish('build@8081:81');
    await before.network.saved();
    await using after = await begin(disk);
    const first = await after.attach({ lease: false });
    first.configure({ ip: '192.168.127.2', gateway: after.gateway });
    first.listen(81, (socket) => socket.end('another one'));
    const again = await after.attach({ name: 'build', mac: '52:54:00:00:00:42', lease: false });
    again.configure({ ip: second.lease!.ip, gateway: after.gateway });
    again.listen(81, (socket) => socket.end('the one'));
    expect(await readAll(after.host.connect('127.0.0.1', 8081))).toBe('the one');
  });
});

describe('zones', () => {
  it('come back as they were put and removed, unless the configuration changed', async () => {
    const disk = new MemoryDisk();
    const gone = { name: 'gone.test', records: [] };
    const config = { dns: { zones: [ZONE, gone] } };
    await using before = await begin(disk, config);
    before.network.dns.putZone(OTHER);
    before.network.dns.removeZone('gone.test');
    before.network.dns.putZone({ name: 'new.test' });
    await before.network.saved();
    await using same = await begin(disk, config);
    expect(same.network.dns.zones()).toEqual([OTHER, { name: 'new.test' }]);
    // As the configuration says it: nothing of it is kept any more.
    same.network.dns.putZone(ZONE);
    await same.network.saved();
    expect([...disk.records.keys()].filter((key) => key.includes('corp'))).toEqual([]);
    same.network.dns.putZone(OTHER);
    await same.network.saved();
    await using changed = await begin(disk, { dns: { zones: [{ ...ZONE, ttl: 5 }, gone] } });
    expect(changed.network.dns.zones()).toEqual([{ ...ZONE, ttl: 5 }, { name: 'new.test' }]);
  });
});

describe('the policy', () => {
  const config = { policy: { rules: ['deny 10.0.0.0/8'] } };
  const rules = ({ network }: TestNetwork): string[] => network.policy.rules().map(({ rule }) => rule);

  it('comes back whole, in its order', async () => {
    const disk = new MemoryDisk();
    await using before = await begin(disk, config);
    const [first] = before.network.policy.rules();
    before.network.policy.add('allow tcp:10.1.2.3', { before: first!.id });
    before.network.policy.set({ default: 'deny', log: 'all' });
    await before.network.saved();
    await using after = await begin(disk, config);
    expect(rules(after)).toEqual(['allow tcp:10.1.2.3', 'deny 10.0.0.0/8']);
    expect([after.network.policy.default, after.network.policy.log]).toEqual(['deny', 'all']);
  });

  it('is what the configuration says where that was changed, and where live changes were undone', async () => {
    const disk = new MemoryDisk();
    await using before = await begin(disk, config);
    const added = before.network.policy.add('allow 10.1.2.3');
    await before.network.saved();
    expect(disk.records.has('policy/live')).toBe(true);
    await using changed = await begin(disk, { policy: { rules: ['deny 10.0.0.0/8'], default: 'deny' } });
    expect(rules(changed)).toEqual(['deny 10.0.0.0/8']);
    before.network.policy.remove(added.id);
    await before.network.saved();
    expect(disk.records.has('policy/live')).toBe(false);
  });
});

describe('records of another hand', () => {
  it('are left out, and nothing ends', async () => {
    const disk = new MemoryDisk();
    const { StateStore } = await import('../host/index.js');
    const logger = {
      debug: () => undefined,
      info: () => undefined,
      warn: () => undefined,
      error: () => undefined,
    };
    const store = new StateStore('/state', { logger, scheduler: realScheduler, disk });
    store.put('port', 'nonsense', true);
    store.put('port', '8081:81', 7);
    store.put('zone', 'a.test', 7);
    store.put('zone', 'b.test', { over: '74234e98afe7498f', zone: { name: 1 } });
    store.put('policy', 'live', { over: 'x', rules: 7 });
    await new Promise((resolve) => store.commit(resolve));
    await using lab = await begin(disk);
    expect(specs(lab)).toEqual(['127.0.0.1:8081:81/tcp']);
    expect(lab.network.dns.zones()).toEqual([]);
    expect(lab.network.policy.rules()).toEqual([]);
    const guest = await lab.attach();
    guest.listen(81, (socket) => socket.end('hello'));
    expect(await readAll(lab.host.connect('127.0.0.1', 8081))).toBe('hello');
  });
});
