/**
 * Two TCP connections over a channel with seeded loss, reordering, duplication, delay, jitter and bandwidth, on virtual
 * time. Every segment becomes bytes and is parsed again; every invariant of the wire is checked as it passes.
 */
import { BlockPool, plainMemory, seq, seqDiff, seqGt, seqLe, type Block, type Seq } from '../core/index.js';
import {
  ACK,
  createTcpCounters,
  FIN,
  MIN_HEADER,
  PSH,
  readSegment,
  RST,
  segmentIn,
  SYN,
  TcpConnection,
  type SegmentIn,
  type SegmentOut,
  type TcpCounters,
  type TcpEnd,
  type TcpOwner,
} from './index.js';
import { CLEAR, type ChannelSettings, type EndSettings } from './channel.testutil.js';
import { peerClosed } from './state.js';
import { EventQueue, PATTERN, patternAt, seeded } from './virtual.testutil.js';

const HEADER_AND_OPTIONS = 60;

/** One side: an application that sends a pattern and checks the pattern that it gets. */
export class End implements TcpOwner {
  readonly connection: TcpConnection;
  readonly counters: TcpCounters = createTcpCounters();
  peer!: End;
  readonly channel: ChannelSettings;
  readonly name: string;
  private readonly sim: NetSim;
  private readonly settings: EndSettings;
  private readonly segment: SegmentIn;
  private block: Block | undefined;
  private used = 0;
  private timer = 0;
  private pacing = 0;
  private busyUntil = 0;
  private readPending = false;
  fin = false;
  /** When the peer's stream was complete, ms. */
  finAt = 0;
  end: TcpEnd | undefined;
  sent = 0;
  got = 0;
  /** What the peer allowed, for the checks. */
  private seenAck: Seq | undefined;
  private edge: Seq | undefined;
  segments = 0;

  constructor(sim: NetSim, name: string, settings: EndSettings, channel: Partial<ChannelSettings>) {
    this.sim = sim;
    this.name = name;
    this.settings = settings;
    this.channel = { ...CLEAR, ...channel };
    this.connection = new TcpConnection(this, {
      memory: plainMemory,
      pool: sim.pool,
      mss: 1460,
      iss: seq(settings.iss ?? 1000),
      timeWait: 240_000,
      counters: this.counters,
      ...settings.tcp,
    });
    if (settings.abortAt !== undefined)
      sim.at(settings.abortAt, () => {
        this.connection.abort(sim.time);
      });
    if (settings.discardAt !== undefined)
      sim.at(settings.discardAt, () => {
        this.connection.discard(sim.time);
        this.connection.close(sim.time);
      });
    const block = sim.pool.take();
    this.segment = segmentIn(block);
    block.release();
  }

  transmit(_c: unknown, out: SegmentOut): void {
    this.check(out);
    const step = out.gsoSize > 0 && this.sim.splitGso ? out.gsoSize : Math.max(out.payloadLength, 1);
    for (let done = 0; done === 0 || done < out.payloadLength; done += step) {
      const n = Math.min(step, out.payloadLength - done);
      const last = done + n >= out.payloadLength;
      this.carry(this.serialize(out, done, n, last ? out.flags : out.flags & ~(FIN | PSH)), out.ecn);
    }
  }

  established(): void {
    this.fill();
  }

  received(): void {
    this.read();
  }

  receivedFin(): void {
    if (this.fin) throw new Error(`${this.name}: second FIN`);
    this.fin = true;
    this.finAt = this.sim.now;
  }

  acknowledged(): void {
    this.fill();
  }

  closed(_c: unknown, end: TcpEnd): void {
    if (this.end !== undefined) throw new Error(`${this.name}: closed twice`);
    this.end = end;
    this.timer++;
    this.forget();
  }

  /** Lets go of the block that packets land in. */
  forget(): void {
    this.block?.release();
    this.block = undefined;
  }

  schedule(_c: unknown, at: number): void {
    const id = ++this.timer;
    if (at === Number.POSITIVE_INFINITY) return;
    this.sim.at(Math.max(at, this.sim.now), () => {
      if (id !== this.timer) return;
      this.connection.onTimer(this.sim.time);
      this.output();
    });
  }

  /** The application's turn to write, then TCP's to send. */
  fill(): void {
    const { ring } = this.connection;
    const total = this.settings.send ?? 0;
    while (this.sent < total && ring.room > 0 && this.end === undefined) {
      const n = Math.min(
        total - this.sent,
        ring.room,
        64 * 1024,
        PATTERN.length - (this.sent % PATTERN.length),
      );
      const wrote = ring.write(
        PATTERN.subarray(this.sent % PATTERN.length, (this.sent % PATTERN.length) + n),
      );
      this.sent += wrote;
      if (wrote === 0) break;
    }
    this.connection.wrote(this.sim.time);
    if (this.sent >= total && total !== Number.POSITIVE_INFINITY) this.connection.close(this.sim.time);
  }

  output(): void {
    const more = this.connection.output(this.sim.time, this.settings.budget ?? 1e9);
    if (more && this.pacing === 0) {
      this.pacing = 1;
      this.sim.at(this.sim.now, () => {
        this.pacing = 0;
        this.output();
      });
    }
  }

  private read(): void {
    const { received } = this.connection;
    const { readRate } = this.settings;
    if (readRate === undefined) {
      this.take(received.bytes);
      return;
    }
    if (this.readPending) return;
    this.readPending = true;
    this.sim.at(this.sim.now + 1, () => {
      this.readPending = false;
      this.take(Math.min(readRate, received.bytes));
      if (received.bytes > 0) this.read();
      this.output();
    });
  }

  private take(n: number): void {
    const { received } = this.connection;
    let left = n;
    for (let i = 0; i < received.count && left > 0; i++) {
      const view = received.viewAt(i);
      const m = Math.min(view.length, left);
      const at = this.got % PATTERN.length;
      if (
        at + m <= PATTERN.length &&
        Buffer.compare(view.subarray(0, m), PATTERN.subarray(at, at + m)) === 0
      ) {
        this.got += m;
      } else {
        for (let j = 0; j < m; j++, this.got++)
          if (view[j] !== patternAt(this.got)) throw new Error(`${this.name}: wrong byte at ${this.got}`);
      }
      left -= m;
    }
    received.consume(n);
    this.connection.consumed(n, this.sim.time);
  }

  private serialize(out: SegmentOut, from: number, length: number, flags: number): Uint8Array {
    const header = MIN_HEADER + out.optionsLength;
    const packet = new Uint8Array(header + length);
    const view = new DataView(packet.buffer);
    view.setUint32(4, out.seq + from);
    view.setUint32(8, out.ack);
    view.setUint8(12, (header / 4) << 4);
    view.setUint8(13, flags);
    view.setUint16(14, out.window);
    packet.set(out.options.subarray(0, out.optionsLength), MIN_HEADER);
    const { ring } = this.connection;
    const at = out.payloadOffset + from;
    const first = Math.min(length, ring.contiguous(at));
    if (length > 0) {
      packet.set(ring.region.bytes.subarray(ring.offset(at), ring.offset(at) + first), header);
      packet.set(ring.region.bytes.subarray(0, length - first), header + first);
    }
    return packet;
  }

  private carry(packet: Uint8Array, ecn: number): void {
    const { sim, channel } = this;
    this.segments++;
    sim.packets++;
    if (sim.random() < channel.loss || sim.dropFilter?.(this, packet) === true) return;
    const copies = sim.random() < channel.duplicate ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const start = Math.max(this.busyUntil, sim.now);
      if ((start - sim.now) * channel.rate > channel.queue) return;
      this.busyUntil = start + (packet.length + HEADER_AND_OPTIONS) / channel.rate;
      const mark = ecn !== 0 && (start - sim.now) * channel.rate > channel.markAbove;
      const late = sim.random() < channel.reorder ? channel.reorderBy : 0;
      const { peer } = this;
      sim.at(this.busyUntil + channel.delay + channel.jitter * sim.random() + late, () =>
        peer.arrive(packet, mark ? 3 : ecn),
      );
    }
  }

  /** The channel stands still until then; what is sent meanwhile waits. */
  stall(until: number): void {
    this.busyUntil = Math.max(this.busyUntil, until);
  }

  /** A packet lands in a block with others, as a batch does. */
  arrive(packet: Uint8Array, ecn: number): void {
    if (this.end !== undefined) return;
    if (this.block === undefined || this.used + packet.length > this.block.region.bytes.length) {
      this.block?.release();
      this.block = this.sim.pool.take();
      this.used = 0;
    }
    this.block.region.bytes.set(packet, this.used);
    if (!readSegment(this.segment, this.block, this.used, packet.length, ecn)) throw new Error('bad packet');
    this.used += packet.length;
    const { segment, connection } = this;
    this.noteWindow(segment);
    if (connection.state === 'CLOSED' && (segment.flags & (SYN | ACK)) === SYN && !connection.lingering) {
      connection.listen(segment, this.sim.time);
      connection.accept(this.sim.time);
    } else {
      connection.input(segment, this.sim.time);
    }
    this.output();
  }

  private noteWindow(segment: SegmentIn): void {
    if ((segment.flags & ACK) === 0 || (segment.flags & RST) !== 0) return;
    const scale = (segment.flags & SYN) === 0 ? this.connection.snd.scale : 0;
    const edge = seq(segment.ack + segment.window * 2 ** scale);
    if (this.edge === undefined || seqGt(edge, this.edge)) this.edge = edge;
  }

  /** Properties of everything that leaves. */
  private check(out: SegmentOut): void {
    if ((out.flags & RST) !== 0) return;
    const { rcv, snd } = this.connection;
    if ((out.flags & ACK) !== 0) {
      if (this.seenAck !== undefined && seqDiff(out.ack, this.seenAck) < 0) throw new Error('ACK moved back');
      this.seenAck = out.ack;
      const has = this.got + this.connection.received.bytes + (peerClosed(this.connection.state) ? 1 : 0);
      if (seqDiff(out.ack, rcv.irs) !== seqDiff(seq(has + 1), seq(0)))
        throw new Error(`${this.name}: acknowledges ${seqDiff(out.ack, rcv.irs) - 1} of ${has}`);
    }
    if (out.payloadLength > 0) {
      const end = seq(out.seq + out.payloadLength);
      const allowed = this.edge ?? snd.iss;
      const probe = out.payloadLength === 1 && snd.probed;
      if (!probe && !seqLe(end, allowed))
        throw new Error(`${this.name}: beyond the window by ${seqDiff(end, allowed)}`);
      if (out.gsoSize === 0 && out.payloadLength + out.optionsLength > snd.mss + 12)
        throw new Error(`${this.name}: segment longer than the MSS`);
    }
  }
}

export interface SimSettings {
  readonly seed?: number;
  readonly client?: EndSettings;
  readonly server?: EndSettings;
  /** Both directions, or each. */
  readonly channel?: Partial<ChannelSettings>;
  readonly down?: Partial<ChannelSettings>;
  /** What the ends' clock counts in, ms: 1 as the stack's, 0 for an exact one. Default 1. */
  readonly tick?: number;
  /** Both ends open at once. Default false. */
  readonly simultaneous?: boolean;
  /** Super-segments are cut up on the way, as a link without offloads does. Default true. */
  readonly splitGso?: boolean;
  readonly pool?: BlockPool;
}

export class NetSim {
  now = 0;
  packets = 0;
  readonly pool: BlockPool;
  readonly random: () => number;
  readonly splitGso: boolean;
  readonly client: End;
  readonly server: End;
  /** Drops what it says. */
  dropFilter: ((from: End, packet: Uint8Array) => boolean) | undefined;
  private readonly events = new EventQueue();
  private readonly tick: number;
  private readonly simultaneous: boolean;

  constructor(settings: SimSettings = {}) {
    this.tick = settings.tick ?? 1;
    this.simultaneous = settings.simultaneous ?? false;
    this.pool = settings.pool ?? new BlockPool(plainMemory);
    this.random = seeded(settings.seed ?? 1);
    this.splitGso = settings.splitGso ?? true;
    const up = settings.channel ?? {};
    this.client = new End(this, 'client', settings.client ?? {}, up);
    this.server = new End(this, 'server', { iss: 5000, ...settings.server }, settings.down ?? up);
    this.client.peer = this.server;
    this.server.peer = this.client;
  }

  /** What the ends take for now. */
  get time(): number {
    return this.tick === 0 ? this.now : Math.floor(this.now / this.tick) * this.tick;
  }

  at(at: number, run: () => void): void {
    this.events.add(at, run);
  }

  /** Runs until both ends are closed, nothing is left to do, or `until` (ms). Returns the time. */
  run(until = 3_600_000): number {
    this.client.connection.connect(this.time);
    if (this.simultaneous) this.server.connection.connect(this.time);
    return this.continue(until);
  }

  continue(until: number): number {
    for (let steps = 0; this.events.next() <= until; steps++) {
      if (this.client.end !== undefined && this.server.end !== undefined) break;
      if (steps > 20_000_000) throw new Error('it never ends');
      this.now = Math.max(this.now, this.events.next());
      this.events.pop()!.run();
    }
    return this.now;
  }
}
