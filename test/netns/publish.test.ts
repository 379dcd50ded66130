/** Published ports: the host's port leads into the guest, TCP and UDP, ends carried as what they are. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/deadline.js';
import { digestOf } from './bytes.mjs';
import type { Lab } from './lab.js';
import type { Netproxy } from './netproxy.js';
import { probe } from './probe.js';
import { GATEWAY, GUEST, kernelGuest, scenarioReady } from './scenario.js';
import { type ServerEvent, Servers } from './servers.js';

const ready = scenarioReady('published ports', 'curl', 'socat');

/** Ports of the guest; each is published on 198.18.0.1 with 10,000 added. */
const PORTS = { web: 80, discard: 81, source: 82, hold: 83, nobody: 84, reset: 85 } as const;
const UDP_PORT = 90;
const AT = '198.18.0.1';
const outside = (name: keyof typeof PORTS) => ({ address: AT, port: PORTS[name] + 10_000 });

describe.runIf(ready)('published ports', () => {
  let lab: Lab;
  let netproxy: Netproxy;
  let inside: Servers;

  beforeAll(async () => {
    const specs = [
      ...Object.values(PORTS).map((port) => `${AT}:${port + 10_000}:${port}`),
      `${AT}:${UDP_PORT + 10_000}:${UDP_PORT}/udp`,
      '8088:80',
      `0:${PORTS.web}/tcp`,
      `198.18.0.2:9090:${GUEST}:80`,
    ];
    const started = await kernelGuest(specs.flatMap((spec) => ['--publish', spec]));
    ({ lab, netproxy } = started);
    const address = '0.0.0.0';
    inside = await lab.serve(
      {
        web: { kind: 'http', address, port: PORTS.web },
        discard: { kind: 'tcp-discard', address, port: PORTS.discard },
        source: { kind: 'tcp-source', address, port: PORTS.source, bytes: 3_000_000, offset: 9 },
        hold: { kind: 'tcp-hold', address, port: PORTS.hold },
        reset: { kind: 'tcp-reset', address, port: PORTS.reset, bytes: 100 },
        udp: { kind: 'udp-echo', address, port: UDP_PORT },
      },
      lab.guest,
    );
  });

  afterAll(async () => {
    await lab?.destroy();
  });

  const curl = (...args: string[]): Promise<string> =>
    lab.check(lab.host, ['curl', '-sS', '-m', '30', ...args]);

  it('serve HTTP from the guest, at every address that was asked for', async () => {
    for (const url of [`http://${AT}:10080/`, 'http://127.0.0.1:8088/', 'http://198.18.0.2:9090/'])
      expect(await curl(url)).toContain('hello');
    // The guest sees the gateway as the client.
    expect(await curl('-o', '/dev/null', '-w', '%header{x-client}', `http://${AT}:10080/`)).toContain(
      GATEWAY,
    );
  });

  it('are told with the port that was chosen, where any would do', async () => {
    const { ports } = JSON.parse(netproxy.ready) as {
      ports: { port: number; guestPort: number; host: string }[];
    };
    const chosen = ports.find(({ port, host }) => host === '127.0.0.1' && port !== 8088);
    expect(chosen).toMatchObject({ guestPort: 80 });
    expect(await curl(`http://127.0.0.1:${chosen?.port}/`)).toContain('hello');
  });

  it('listen where they were told to, on the loopback where nothing was said, and nowhere else', async () => {
    const { ports } = JSON.parse(netproxy.ready) as { ports: { port: number; host: string }[] };
    const told = ports
      .filter(({ port }) => port !== UDP_PORT + 10_000)
      .map(({ host, port }) => `${host}:${port}`);
    const listening = (await lab.check(lab.host, ['ss', '-Htln'])).trim().split('\n');
    expect(listening.map((line) => line.split(/\s+/)[3]).sort()).toEqual(told.sort());
    expect(told.join(' ')).not.toContain('0.0.0.0');
  });

  it('carry large files both ways', async () => {
    const bytes = 20_000_000;
    const up = await lab.client(
      { mode: 'upload', ...outside('discard'), bytes, offset: 1 },
      60_000,
      lab.host,
    );
    expect(up).toMatchObject({ text: `${bytes} ${digestOf(bytes, 1)}\n`, how: 'fin' });
    const down = await lab.client({ mode: 'download', ...outside('source') }, 60_000, lab.host);
    expect(down).toMatchObject({ bytes: 3_000_000, sha256: digestOf(3_000_000, 9), how: 'fin' });
  });

  it('carry many flows at once', async () => {
    const flows = Array.from({ length: 20 }, () => curl(`http://${AT}:10080/100K`, '-o', '/dev/null'));
    await Promise.all(flows);
  });

  it('reset the client where the guest refuses', async () => {
    // The port of the host listens, so it connects; the guest's refusal follows as RST, not as an end.
    const result = await lab.client({ mode: 'hold', ...outside('nobody') }, 30_000, lab.host);
    // Depending on who is faster, it comes with the connection or right behind it.
    expect(result.error ?? result.how).toMatch(/reset/i);
    expect(result.bytes ?? 0).toBe(0);
  });

  it('carry RST both ways', async () => {
    await lab.client({ mode: 'abort', ...outside('hold'), bytes: 2_000, holdMs: 500 }, 30_000, lab.host);
    const closed = await inside.event('abort', ({ event, server }) => event === 'close' && server === 'hold');
    expect(closed).toMatchObject({ how: 'reset', bytes: 2_000 });
    const result = await lab.client({ mode: 'hold', ...outside('reset'), bytes: 100 }, 30_000, lab.host);
    expect(result.how).toBe('reset');
  });

  it('keep half-closed flows open', async () => {
    // The client ends first and still gets what the guest sends: the digest of its own bytes.
    const up = await lab.client({ mode: 'upload', ...outside('discard'), bytes: 5_000 }, 30_000, lab.host);
    expect(up).toMatchObject({ text: `5000 ${digestOf(5_000)}\n`, how: 'fin' });
    // The guest ends first and still gets what the client sends.
    const late = await probe(
      lab,
      { mode: 'late', ...outside('source'), bytes: 70_000, holdMs: 800 },
      lab.host,
    );
    expect(late).toEqual({ received: 3_000_000, how: 'fin' });
    const bytes = (event: ServerEvent) => event.event === 'close' && event.server === 'source' && event.bytes;
    await inside.event('late bytes', (event) => bytes(event) === 70_000);
  });

  it('carry datagrams of many clients, each with its own answers', async () => {
    const port = UDP_PORT + 10_000;
    const one = () => lab.client({ mode: 'udp', address: AT, port, count: 20, bytes: 900 }, 30_000, lab.host);
    for (const result of await Promise.all([one(), one(), one()])) {
      expect(result).toMatchObject({ wrong: 0, from: [`${AT}:${port}`] });
      expect(result.received).toBeGreaterThanOrEqual(19);
    }
    expect(
      await probe(lab, { mode: 'udpConnected', address: AT, port, bytes: 30_000 }, lab.host),
    ).toMatchObject({
      bytes: 30_000,
      same: true,
    });
  });

  it('say who holds a port that is taken', async () => {
    const holder = lab.spawn(lab.host, ['socat', 'TCP4-LISTEN:7070,bind=127.0.0.1,fork', '/dev/null']);
    await until(10_000, 'listener', async () =>
      (await lab.check(lab.host, ['ss', '-Hltn', 'sport', '= 7070'])).includes('7070'),
    );
    const second = lab.startNetproxy([
      'serve',
      '--qemu',
      `unix:${lab.path('x.sock')}`,
      '--publish',
      '7070:80',
    ]);
    await expect(second).rejects.toThrow(/127\.0\.0\.1:7070: address already in use \(socat, pid \d+\)/);
    await holder.kill();
  });

  it('serve again after the guest came back', async () => {
    // The servers end and others take their place: nothing of the old flows is in the way.
    await inside.stop();
    const refused = await lab.client({ mode: 'hold', ...outside('web') }, 30_000, lab.host);
    expect(refused.error ?? refused.how).toMatch(/reset/i);
    inside = await Servers.start(lab.guest, { web: { kind: 'http', address: '0.0.0.0', port: PORTS.web } });
    expect(await curl(`http://${AT}:10080/`)).toContain('hello');
  });
});
