/** The parts of serve that look at a network: events, readiness, the middleware. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLogger } from '../core/index.js';
import { nodeScheduler } from '../host/index.js';
import { createNetwork } from '../index.js';
import { ScriptedGuest, memoryLink } from '../testing/index.js';
import { FakeTerminal } from './cli.testutil.js';
import { printEvents } from './events.js';
import { installMiddleware } from './middleware.js';
import { readiness } from './ready.js';
import { spawnNamespace } from './run.js';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'np-cli-'));
});
afterAll(() => {
  rmSync(dir, { recursive: true });
});

const network = () => createNetwork({ subnet: '10.9.0.0/24' }, { native: false });

describe('events and readiness', () => {
  it('tell what happens as JSON lines', async () => {
    const net = network();
    const lines: string[] = [];
    printEvents(net, (line) => lines.push(line));
    await net.start();
    const link = memoryLink(nodeScheduler);
    net.attach(link.network, { name: 'one' });
    const guest = new ScriptedGuest(link.guest, { name: 'one' });
    await guest.dhcp();
    expect(readiness(net, [], {})).toMatchObject({
      ready: true,
      addresses: { subnet: '10.9.0.0/24', gateway: '10.9.0.1' },
      guests: [{ name: 'one', link: { kind: 'memory' } }],
    });
    guest.close();
    await net.stop(0);
    const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events.map(({ event }) => event)).toEqual(['started', 'attached', 'lease', 'detached', 'stopped']);
    expect(events[2]).toMatchObject({ kind: 'bound', ip: '10.9.0.2', hostname: 'one' });
    expect(lines.every((line) => line.endsWith('}\n'))).toBe(true);
  });
});

describe('middleware', () => {
  it('captures what the guest sees, through a bad cable', async () => {
    const net = network();
    const file = path.join(dir, 'x.pcapng');
    const middleware = await installMiddleware(
      net,
      { version: 1, pcap: file, faults: 'delay=1ms' },
      silentLogger,
    );
    await net.start();
    const link = memoryLink(nodeScheduler);
    net.attach(link.network);
    const guest = new ScriptedGuest(link.guest);
    await guest.dhcp();
    expect(await guest.ping('10.9.0.1')).toBeGreaterThan(1.5);
    guest.close();
    await net.stop(0);
    await middleware.close();
    const bytes = readFileSync(file);
    expect(bytes.readUInt32LE(0)).toBe(0x0a0d0d0a);
    expect(bytes.length).toBeGreaterThan(1000);
  });

  it('says which capture cannot be written', async () => {
    await using net = network();
    await expect(
      installMiddleware(net, { version: 1, pcap: path.join(dir, 'none', 'x') }, silentLogger),
    ).rejects.toThrow(/cannot write the capture .*none/);
  });
});

describe('run', () => {
  it('says that it needs the addon', async () => {
    await using net = network();
    const options = { command: ['true'], dns: true, mapRoot: false };
    expect(() => spawnNamespace(net, options)).toThrow(
      /a namespace needs the native addon, and there is none: it was not asked for/,
    );
    expect(new FakeTerminal().stdout).toBe('');
  });
});
