/**
 * Garbage into the whole stack, next to a guest that pings. Nothing may throw, tables and memory stay bounded, every
 * frame that the gateway says parses, and afterwards all is back where it began. NETPROXY_COUNTS=full: a million frames;
 * NETPROXY_SEED: another run.
 */
import { describe, expect, it } from 'vitest';
import { type Link, parseMac, writeMac } from '../core/index.js';
import { corpus, Injector, mutate, noise, spoiled } from './fuzz.testutil.js';
import {
  decodeFrame,
  memoryLink,
  ScriptedGuest,
  seededRandom,
  type TestNetwork,
  testNetwork,
} from './index.js';
import { codeOf, count, readAll } from './testing.testutil.js';

const SEED = Number(process.env.NETPROXY_SEED ?? 1);
const FRAMES = count(40_000, 1_000_000);
const BATCH = 200;

/** A network with a guest that pings, and a port for garbage. */
async function arena() {
  const lab = await testNetwork({}, { seed: SEED });
  lab.host.accept('0.0.0.0/1', (socket) => {
    socket.write('banner');
    socket.pipe(socket);
  });
  lab.host.blackhole('128.0.0.0/2');
  lab.host.echoUdp('*');
  lab.host.name('example.test', '198.51.100.1');
  const link = memoryLink(lab.clock);
  const guest = lab.network.attach(link.network, { name: 'garbage' });
  const wrong = watch(link.guest, lab.network.addresses.gatewayMac);
  const injector = new Injector();
  const send = (frames: readonly Uint8Array[]): void => {
    injector.send(frames, (batch) => lab.network.stack.input(guest.port, batch));
  };
  return { lab, guest, wrong, injector, send };
}

/** Looks at every frame of the gateway; returns what is wrong with them. */
function watch(link: Link, gateway: string): string[] {
  const wrong: string[] = [];
  link.start({
    frames: (batch) => {
      for (let i = 0; i < batch.count; i++) {
        const [offset, length] = [batch.meta[i * 4]!, batch.meta[i * 4 + 1]!];
        const frame = decodeFrame(batch.bytes.subarray(offset, offset + length));
        if (frame?.ethernet.source !== gateway || frame.fault === undefined || wrong.length > 10) continue;
        wrong.push(`${frame.fault}: ${Buffer.from(frame.bytes).toString('hex')}`);
      }
    },
    writable: () => undefined,
    closed: () => undefined,
  });
  return wrong;
}

/** Tables and memory that a hostile guest can fill, at their limits at most. */
function expectBounded(lab: TestNetwork): void {
  const { stack } = lab.network;
  const { memory } = lab.network.stats();
  expect(memory.tcpFlows).toBeLessThanOrEqual(2 * 32_768);
  expect(memory.udpMappings).toBeLessThanOrEqual(2 * 2048);
  expect(memory.timers).toBeLessThanOrEqual(3 * (memory.tcpFlows + memory.udpMappings) + 2000);
  expect(memory.blocksOut).toBeLessThan(64 * 1024 * 1024);
  expect(stack.ip.reassembler.size).toBeLessThanOrEqual(2 * 64);
  expect(stack.macs.size).toBeLessThanOrEqual(2 * 256);
  for (const guest of lab.network.guests()) expect(guest.port.neighbours.size).toBeLessThanOrEqual(1024);
}

/** All is as before the garbage came. */
async function expectClean({
  lab,
  guest,
  injector,
  wrong,
}: Awaited<ReturnType<typeof arena>>): Promise<void> {
  await lab.run(lab.guest.ping(lab.gateway));
  expect(wrong).toEqual([]);
  guest.detach();
  await lab.clock.advance(600_000);
  expect(lab.network.stats().memory).toMatchObject({ tcpFlows: 0, udpMappings: 0, blocksOut: 0 });
  expect(injector.pool.bytesOut).toBe(0);
  expect(lab.host.counters).toMatchObject({ openStreams: 0, openUdp: 0, pendingDials: 0 });
  expect(lab.network.stack.ip.reassembler.size).toBe(0);
  await lab.run(lab.guest.ping(lab.gateway));
  await lab.close();
}

describe('garbage', () => {
  it('of every length from 0 bytes, and every truncation of every frame', async () => {
    const place = await arena();
    const frames = await corpus();
    expect(frames.length).toBeGreaterThan(25);
    for (const frame of frames) {
      const lengths = frame.length < 2000 ? frame.length : 200;
      place.send(Array.from({ length: lengths + 1 }, (_, n) => frame.subarray(0, n)));
      await place.lab.clock.settle();
      expect(await place.lab.run(place.lab.guest.ping(place.lab.gateway))).toBeLessThan(50);
    }
    expectBounded(place.lab);
    await expectClean(place);
  });

  it(`random and mutated, ${FRAMES} frames`, async () => {
    const place = await arena();
    const { lab, send } = place;
    const frames = await corpus();
    const random = seededRandom(SEED);
    const gateway = new Uint8Array(6);
    writeMac(gateway, 0, parseMac(lab.network.addresses.gatewayMac)!);
    for (let sent = 0; sent < FRAMES; sent += BATCH) {
      const batch = Array.from({ length: BATCH }, (_, i) =>
        i % 4 === 0 ? noise(random, gateway) : mutate(random, frames, i % 4 > 1),
      );
      try {
        send(batch);
        await lab.clock.advance(2);
      } catch (error) {
        throw new Error(`seed ${SEED}, frames ${sent} to ${sent + BATCH}`, { cause: error });
      }
      if (sent % (BATCH * 20) !== 0) continue;
      expectBounded(lab);
      expect(await lab.run(lab.guest.ping(lab.gateway))).toBeLessThan(50);
    }
    await expectClean(place);
  }, 1_800_000);

  it('from a guest that lies in the middle of its connections', async () => {
    const place = await arena();
    const { lab } = place;
    lab.host.accept('*:7', (socket) => socket.pipe(socket));
    for (let seed = 1; seed <= count(6, 200); seed++) {
      const link = memoryLink(lab.clock);
      const attached = lab.network.attach(link.network, { name: 'liar' });
      const liar = new ScriptedGuest(spoiled(link.guest, 0.05, SEED * 1000 + seed), {
        scheduler: lab.clock,
        random: seededRandom(seed),
      });
      liar.configure({ ip: '192.168.127.66', gateway: lab.gateway });
      const talk = async (size: number): Promise<void> => {
        const socket = await liar.connect('198.51.100.7', 7, { timeout: 30_000 });
        socket.end(new Uint8Array(size));
        await readAll(socket);
      };
      const work = Array.from({ length: 20 }, (_, i) => codeOf(talk(20_000 + i)));
      await lab.clock.advance(20_000);
      expect(await lab.run(lab.guest.ping(lab.gateway))).toBeLessThan(50);
      expectBounded(lab);
      liar.close();
      await lab.run(Promise.all(work));
      await lab.clock.settle();
      expect(attached.attached).toBe(false);
    }
    await expectClean(place);
  }, 600_000);
});

describe('a scripted guest', () => {
  it('bears garbage too', async () => {
    const lab = await testNetwork();
    const frames = await corpus();
    const random = seededRandom(SEED);
    const link = memoryLink(lab.clock);
    const guest = new ScriptedGuest(link.guest, { scheduler: lab.clock });
    guest.configure({ ip: '192.168.127.2', gateway: '192.168.127.1' });
    link.network.start({ frames: () => undefined, writable: () => undefined, closed: () => undefined });
    const own = new Uint8Array(6);
    writeMac(own, 0, guest.mac);
    for (let i = 0; i < count(5000, 100_000); i++) {
      const frame = mutate(random, frames);
      if (frame.length < 14) continue;
      frame.set(own);
      const { output } = link.network;
      output.bytes.set(frame, output.begin(frame.length));
      output.end(0, 0);
      if (i % 100 === 0) {
        output.flush();
        await lab.clock.advance(1);
      }
    }
    guest.close();
    await lab.close();
  });
});
