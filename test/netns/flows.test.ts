/** How TCP flows begin and end: connect first, refusals named, FIN as FIN, RST as RST, nobody held up. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { until } from '../support/deadline.js';
import { digestOf } from './bytes.mjs';
import { type Packet, isFin, isRst, isSyn } from './capture.js';
import { HOST_UNREACHABLE, type Lab, NET_UNREACHABLE, PROHIBITED, blackHole } from './lab.js';
import { probe } from './probe.js';
import { HOST_ALIAS, kernelGuest, scenarioReady } from './scenario.js';
import type { ServerEvent, Servers } from './servers.js';

const ready = scenarioReady('flows', 'curl', 'tcpdump', 'ss', 'nc');

/** A Linux client repeats an unanswered SYN after 1 s. */
const FIRST_RETRANSMISSION = 1;

describe.runIf(ready)('TCP flows of a kernel guest', () => {
  let lab: Lab;
  let servers: Servers;

  beforeAll(async () => {
    const started = await kernelGuest();
    lab = started.lab;
    servers = await lab.serve({
      echo: { kind: 'tcp-echo' },
      hold: { kind: 'tcp-hold' },
      hold2: { kind: 'tcp-hold' },
      stall: { kind: 'tcp-stall' },
      discard: { kind: 'tcp-discard' },
      source: { kind: 'tcp-source', bytes: 300_000, offset: 5 },
      reset: { kind: 'tcp-reset', bytes: 1000 },
      banner: { kind: 'tcp-banner', text: 'SSH-2.0-lab\r\n' },
      web: { kind: 'http' },
      local: { kind: 'http', address: '127.0.0.1' },
    });
  });

  afterAll(async () => {
    await lab?.destroy();
  });

  const closed = (server: string): Promise<ServerEvent> =>
    servers.event(`close of ${server}`, (one) => one.event === 'close' && one.server === server, 20_000);

  /** Whom the host side is dialling at the moment. */
  const dialling = async (): Promise<string[]> => {
    const lines = await lab.check(lab.host, ['ss', '-Htn', 'state', 'syn-sent']);
    return [...lines.matchAll(/ (198\.19\.\d+\.\d+):/g)].map((match) => match[1] ?? '');
  };

  describe('beginnings', () => {
    it('refuses a closed port before the first SYN is repeated', async () => {
      const port = 4444;
      const capture = await lab.capture(lab.guest, 'tap0', `tcp port ${port}`);
      const result = await lab.client({ mode: 'connect', targets: [{ address: lab.address(), port }] });
      expect(result.errors).toEqual({ ECONNREFUSED: 1 });
      const rst = await capture.packet('RST', isRst);
      await capture.stop();
      const syns = capture.packets.filter(isSyn);
      expect(syns).toHaveLength(1);
      expect(rst.time - (syns[0] as Packet).time).toBeLessThan(FIRST_RETRANSMISSION);
    });

    it('answers SYN-ACK only after the host connected: a black hole never connects', async () => {
      const target = { address: blackHole(77), port: 80 };
      const capture = await lab.capture(lab.guest, 'tap0', `host ${target.address}`);
      const dial = lab.startClient({ mode: 'connect', targets: [target], timeoutMs: 3_000 });
      await until(20_000, 'dial of the host', async () => (await dialling()).includes(target.address));
      expect((await lab.clientResult(dial)).errors).toEqual({ ETIMEOUT: 1 });
      await capture.stop();
      expect(capture.packets.every(isSyn)).toBe(true);
    });

    it('tells the kinds of unreachable apart by ICMP', async () => {
      const dial = (address: string) => lab.client({ mode: 'connect', targets: [{ address, port: 80 }] });
      const capture = await lab.capture(lab.guest, 'tap0', 'icmp');
      expect((await dial(HOST_UNREACHABLE)).errors).toEqual({ EHOSTUNREACH: 1 });
      expect((await dial(NET_UNREACHABLE)).errors).toEqual({ ENETUNREACH: 1 });
      expect((await dial(PROHIBITED)).errors).toEqual({ EHOSTUNREACH: 1 });
      await capture.packet('host unreachable', ({ line }) => /host 192\.0\.2\.1 unreachable/.test(line));
      await capture.packet('net unreachable', ({ line }) => /net 203\.0\.113\.1 unreachable/.test(line));
      await capture.packet('prohibited', ({ line }) => /198\.51\.100\.1.*(prohibited|filtered)/.test(line));
      await capture.stop();
    });

    it('holds nobody up behind 2,000 dials that nobody answers', async () => {
      const holes = Array.from({ length: 2000 }, (_, n) => ({ address: blackHole(n + 1), port: 443 }));
      const pending = lab.startClient({
        mode: 'connect',
        targets: holes,
        count: holes.length,
        timeoutMs: 30_000,
      });
      await pending.waitFor(/"dialling":2000/, 30_000);
      const all = async () => (await dialling()).length >= holes.length;
      await until(40_000, '2,000 dials of the host', all, 200);
      // Dials to the living, one after the other, while they hang: quick answers and quick refusals.
      const live = await lab.client(
        { mode: 'flows', targets: [servers.at('echo')], flows: 50, concurrency: 1, bytes: 1000 },
        60_000,
      );
      expect(live).toMatchObject({ ok: 50, failed: 0 });
      expect(live.ms).toBeLessThan(10_000);
      const refused = await lab.client({ mode: 'connect', targets: [{ address: lab.address(), port: 9 }] });
      expect(refused.errors).toEqual({ ECONNREFUSED: 1 });
      const page = ['curl', '-sS', '-m', '20', servers.url('web')];
      expect(await lab.check(lab.guest, page)).toContain('hello');
      expect(await all()).toBe(true);
      await pending.kill('SIGKILL');
    });

    it('reaches loopback servers of the host by its alias', async () => {
      const { port } = servers.at('local');
      const page = ['curl', '-sS', '-m', '20', `http://${HOST_ALIAS}:${port}/`];
      expect(await lab.check(lab.guest, page)).toContain('hello');
    });

    it('lets a server speak first', async () => {
      const banner = lab.startClient({ mode: 'hold', ...servers.at('banner') });
      await banner.waitFor(/connected/);
      await servers.event('banner', ({ event, server }) => event === 'open' && server === 'banner');
      await servers.endAll('banner');
      expect(await lab.clientResult(banner)).toMatchObject({ text: 'SSH-2.0-lab\r\n', how: 'fin' });
    });
  });

  describe('ends', () => {
    it('carries RST from the guest to the server', async () => {
      const { port } = servers.at('hold');
      const capture = await lab.capture(lab.host, 'lo', `tcp port ${port}`);
      await lab.client({ mode: 'abort', ...servers.at('hold'), bytes: 5_000, holdMs: 300 });
      expect(await closed('hold')).toMatchObject({ how: 'reset', bytes: 5_000 });
      await capture.packet('RST to the server', (packet) => packet.dport === port && isRst(packet));
      await capture.stop();
      expect(capture.packets.filter((packet) => packet.dport === port).some(isFin)).toBe(false);
    });

    it('carries RST from the server to the guest', async () => {
      const { port } = servers.at('reset');
      const capture = await lab.capture(lab.guest, 'tap0', `tcp port ${port}`);
      const result = await lab.client({ mode: 'hold', ...servers.at('reset'), bytes: 1000 });
      expect(result.how).toBe('reset');
      await capture.packet('RST to the guest', (packet) => packet.sport === port && isRst(packet));
      await capture.stop();
      expect(capture.packets.filter((packet) => packet.sport === port).some(isFin)).toBe(false);
    });

    it('carries RST also where nobody reads and much is under way', async () => {
      const stalled = lab.startClient({ mode: 'upload', ...servers.at('stall'), bytes: 50_000_000 });
      await servers.event('stall', ({ event, server }) => event === 'open' && server === 'stall');
      // Beside it others go on at full speed.
      const beside = await lab.client({ mode: 'upload', ...servers.at('discard'), bytes: 5_000_000 });
      expect(beside.text).toBe(`5000000 ${digestOf(5_000_000)}\n`);
      await servers.reset('stall');
      expect(await lab.clientResult(stalled)).toMatchObject({ error: 'ECONNRESET' });
    });

    it('carries FIN both ways', async () => {
      const down = await lab.client({ mode: 'download', ...servers.at('source') });
      expect(down).toMatchObject({ bytes: 300_000, sha256: digestOf(300_000, 5), how: 'fin' });
      expect(await closed('source')).toMatchObject({ how: 'fin', sent: 300_000 });
      const flow = await lab.client({ mode: 'flows', targets: [servers.at('echo')], flows: 3 });
      expect(flow).toMatchObject({ ok: 3, failed: 0 });
    });

    it('keeps the other half open as long as it is used', async () => {
      // The guest ends first: the digest comes back through the half that is left.
      const up = await lab.client({ mode: 'upload', ...servers.at('discard'), bytes: 700_000, offset: 3 });
      expect(up).toMatchObject({ text: `700000 ${digestOf(700_000, 3)}\n`, how: 'fin' });
      // The server ends first: the guest still sends.
      const before = (await servers.stats('source')).bytesIn;
      const late = await probe(lab, { mode: 'late', ...servers.at('source'), bytes: 400_000, holdMs: 1500 });
      expect(late).toEqual({ received: 300_000, how: 'fin' });
      await servers.event(
        'late bytes',
        ({ event, server, bytes }) => event === 'close' && server === 'source' && bytes === 400_000,
      );
      expect((await servers.stats('source')).bytesIn - before).toBe(400_000);
    });

    it('keeps the bytes that were sent before the end', async () => {
      // Written and closed at once, by a guest that does not wait: nothing is cut off.
      const script = `head -c 3000000 /dev/zero | nc -N ${lab.address()} ${servers.at('hold2').port}`;
      const sender = lab.spawn(lab.guest, ['sh', '-c', script], { stdin: 'ignore' });
      await servers.event('open', ({ event, server }) => event === 'open' && server === 'hold2');
      await expect
        .poll(async () => (await servers.stats('hold2')).bytesIn, { timeout: 20_000 })
        .toBe(3_000_000);
      await servers.endAll('hold2');
      expect(await closed('hold2')).toMatchObject({ how: 'fin', bytes: 3_000_000 });
      await sender.waitExit();
    });
  });

  it('moves 100 MB up and down with the right digests', async () => {
    const bytes = count(100_000_000, 1_000_000_000);
    const timeoutMs = count(60_000, 300_000);
    const file = lab.path('down');
    const get = ['curl', '-sS', '-o', file, servers.url('web', `/${bytes}?offset=11`)];
    await lab.check(lab.guest, get, { timeoutMs });
    expect(await lab.check(lab.guest, ['sha256sum', file], { timeoutMs })).toContain(digestOf(bytes, 11));
    const put = ['curl', '-sS', '-T', file, servers.url('web', '/up')];
    expect(await lab.check(lab.guest, put, { timeoutMs })).toBe(`${bytes} ${digestOf(bytes, 11)}\n`);
  }, 600_000);
});
