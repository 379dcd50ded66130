import { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { FakeUpstream, decode, query, respond, serverWith } from './dns.testutil.js';
import { DnsTcpServer, DnsTcpSession, frameTcp, type DnsTcpOptions } from './index.js';

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('DnsTcpSession', () => {
  const one = query('one.example', 'A');
  const two = query('two.example', 'A');
  const stream = new Uint8Array([...frameTcp(one), ...frameTcp(two)]);

  it('hands over whole messages, however they are cut', () => {
    for (let size = 1; size <= stream.length; size++) {
      const got: Uint8Array[] = [];
      const session = new DnsTcpSession((message) => got.push(message));
      for (let at = 0; at < stream.length; at += size) {
        expect(session.push(stream.subarray(at, at + size))).toBe(true);
      }
      expect(got).toEqual([one, two]);
      expect(session.partial).toBe(false);
    }
  });

  it('waits at the limit of pending messages', () => {
    const got: Uint8Array[] = [];
    const session = new DnsTcpSession((message) => got.push(message), 1);
    session.push(stream);
    expect(got).toEqual([one]);
    expect(session.full).toBe(true);
    expect(session.answered()).toBe(true);
    expect(got).toEqual([one, two]);
  });

  it('ends at a message that is too short, or when more than a message waits', () => {
    expect(new DnsTcpSession(() => undefined).push(Uint8Array.of(0, 0))).toBe(false);
    expect(new DnsTcpSession(() => undefined).push(Uint8Array.of(0, 11))).toBe(false);
    const session = new DnsTcpSession(() => undefined, 1);
    session.push(frameTcp(one));
    expect(session.push(new Uint8Array(70_000))).toBe(true);
    expect(session.push(new Uint8Array(1))).toBe(false);
  });

  it('carries the longest message', () => {
    const long = new Uint8Array(65_535).fill(7);
    const got: Uint8Array[] = [];
    const session = new DnsTcpSession((message) => got.push(message));
    const framed = frameTcp(long);
    session.push(framed.subarray(0, 40_000));
    expect(session.partial).toBe(true);
    session.push(framed.subarray(40_000));
    expect(got).toEqual([long]);
  });
});

/** The guest's end of a connection in memory. */
class Wire extends Duplex {
  readonly got: Buffer[] = [];
  closed_ = false;
  stalled: (() => void) | undefined;
  stall = false;
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.got.push(chunk);
    if (this.stall) this.stalled = callback;
    else callback();
  }
  ids(): number[] {
    const all = Buffer.concat(this.got);
    const ids: number[] = [];
    for (let at = 0; at < all.length; at += 2 + all.readUInt16BE(at))
      ids.push(decode(all.subarray(at + 2)).id!);
    return ids;
  }
}

describe('DnsTcpServer', () => {
  function bench(
    options: DnsTcpOptions = {},
    reply = (asked: Uint8Array) => Promise.resolve(respond(asked, [])),
  ) {
    const clock = { time: 0, now: () => clock.time, wall: () => 0 };
    const server = serverWith({ upstream: new FakeUpstream(reply) });
    return { clock, server, tcp: new DnsTcpServer(server, clock, options) };
  }

  it('answers pipelined queries in the order in which the answers come', async () => {
    const held: (() => void)[] = [];
    const { tcp } = bench(
      {},
      (asked) => new Promise((resolve) => held.push(() => resolve(respond(asked, [])))),
    );
    const wire = new Wire();
    expect(tcp.accept(wire, { id: 1 })).toBe(true);
    wire.push(frameTcp(query('slow.example', 'A', { id: 1 })));
    wire.push(frameTcp(query('fast.example', 'A', { id: 2 })));
    wire.push(frameTcp(query('host.docker.internal', 'A', { id: 3 })));
    await tick();
    held[1]!();
    await tick();
    held[0]!();
    await tick();
    expect(wire.ids()).toEqual([3, 2, 1]);
  });

  it('answers what is pending after the client’s FIN, then closes', async () => {
    let release: () => void = () => undefined;
    const { tcp } = bench(
      {},
      (asked) => new Promise((resolve) => (release = () => resolve(respond(asked, [])))),
    );
    const wire = new Wire();
    tcp.accept(wire, { id: 1 });
    wire.push(frameTcp(query('slow.example', 'A', { id: 7 })));
    wire.push(null);
    await tick();
    expect(wire.writableEnded).toBe(false);
    release();
    await tick();
    expect(wire.ids()).toEqual([7]);
    expect(wire.writableEnded).toBe(true);
    expect(tcp.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
  });

  it('does not read on while answers pile up', async () => {
    const { tcp, server } = bench({ maxPending: 2 }, () => new Promise(() => undefined));
    const wire = new Wire();
    tcp.accept(wire, { id: 1 });
    for (let id = 0; id < 5; id++) wire.push(frameTcp(query(`x${id}.example`, 'A', { id })));
    await tick();
    expect(server.pending).toBe(2);
    expect(wire.isPaused()).toBe(true);
  });

  it('does not read on while the client does not read', async () => {
    const { tcp, server } = bench();
    const wire = new Wire({ writableHighWaterMark: 10 });
    wire.stall = true;
    tcp.accept(wire, { id: 1 });
    wire.push(frameTcp(query('host.docker.internal', 'A', { id: 1 })));
    await tick();
    expect(wire.isPaused()).toBe(true);
    wire.push(frameTcp(query('host.docker.internal', 'A', { id: 2 })));
    await tick();
    expect(server.counters.received.tcp).toBe(1);
    wire.stall = false;
    wire.stalled!();
    await tick();
    await tick();
    expect(wire.ids()).toEqual([1, 2]);
  });

  it('closes idle and malformed connections', async () => {
    const { tcp, clock } = bench({ idleMillis: 1000 });
    const idle = new Wire();
    const bad = new Wire();
    tcp.accept(idle, { id: 1 });
    tcp.accept(bad, { id: 1 });
    bad.push(Uint8Array.of(0, 1, 2));
    await tick();
    expect(bad.destroyed).toBe(true);
    expect(tcp.nextTimeout()).toBe(1000);
    clock.time = 600;
    idle.push(frameTcp(query('host.docker.internal', 'A')));
    await tick();
    tcp.poll(1000);
    expect(idle.destroyed).toBe(false);
    tcp.poll(1600);
    expect(idle.destroyed).toBe(true);
    await tick();
    expect(tcp.counters).toEqual({ accepted: 2, refused: 0, idle: 1, malformed: 1 });
  });

  it('of one guest: refuses at limit + 1, until one closes', async () => {
    const { tcp } = bench({ maxSessionsPerGuest: 1 });
    const first = new Wire();
    expect(tcp.accept(first, { id: 1 })).toBe(true);
    const second = new Wire();
    expect(tcp.accept(second, { id: 1 })).toBe(false);
    expect(second.destroyed).toBe(true);
    expect(tcp.accept(new Wire(), { id: 2 })).toBe(true);
    first.destroy(new Error('reset'));
    await tick();
    expect(tcp.accept(new Wire(), { id: 1 })).toBe(true);
  });
});
