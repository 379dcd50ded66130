/**
 * A small language for one connection and a peer played by the test:
 *
 *     passive().at(0).receives({ syn: true, seq: 0 }).accepts().sends([{ syn: true, seq: 0, ack: 1 }])
 *
 * Sequence numbers are relative: those the peer sends to its own SYN, those we send to ours. After each step that
 * gives TCP something, `output` runs once, as the stack does after a batch.
 */
import { expect } from 'vitest';
import { BlockPool, plainMemory, seq, seqDiff } from '../core/index.js';
import {
  ACK,
  createTcpCounters,
  CWR,
  ECE,
  emitOptions,
  FIN,
  MIN_HEADER,
  parseOptions,
  PSH,
  RST,
  SYN,
  TcpConnection,
  URG,
  type SegmentIn,
  type SegmentOut,
  type TcpEnd,
  type TcpOptions,
  type TcpOwner,
  type TcpSettings,
  type TcpState,
} from './index.js';

/** A segment in the script. A flag that is not named is not set; other fields are compared when they are named. */
export interface Seg {
  readonly syn?: boolean;
  readonly fin?: boolean;
  readonly rst?: boolean;
  readonly psh?: boolean;
  readonly urg?: boolean;
  readonly ece?: boolean;
  readonly cwr?: boolean;
  /** The packet's ECN field. */
  readonly ecn?: number;
  readonly seq?: number;
  /** Named: the ACK flag is set. */
  readonly ack?: number;
  readonly win?: number;
  /** Payload: a length (filled with the pattern of its sequence number), or text. */
  readonly len?: number;
  readonly data?: string;
  readonly gso?: number;
  readonly mss?: number;
  readonly scale?: number;
  readonly sackPermitted?: boolean;
  /** TSval and TSecr. */
  readonly ts?: readonly [number, number];
  readonly sack?: readonly (readonly [number, number])[];
}

const NO_FLAGS: Seg = { syn: false, fin: false, rst: false, ece: false, cwr: false };

/** The byte of a stream at a relative sequence number. */
const patternByte = (at: number): number => (at * 7 + (at >> 8)) & 255;

export const PEER_ISS = 0xffff_fff0;
export const OWN_ISS = 0xffff_ff00;

export class Script implements TcpOwner {
  readonly pool = new BlockPool(plainMemory);
  readonly counters = createTcpCounters();
  readonly connection: TcpConnection;
  /** What the owner was told, in order. */
  readonly told: string[] = [];
  end: TcpEnd | undefined;
  deadline = Number.POSITIVE_INFINITY;
  now = 0;
  private out: Seg[] = [];
  private readonly peerIss: number;
  private readonly ownIss: number;

  constructor(settings: Partial<TcpSettings> = {}, peerIss = PEER_ISS) {
    this.peerIss = peerIss;
    this.ownIss = settings.iss ?? OWN_ISS;
    this.connection = new TcpConnection(this, {
      memory: plainMemory,
      pool: this.pool,
      mss: 1460,
      iss: seq(this.ownIss),
      counters: this.counters,
      ...settings,
    });
  }

  // The owner.

  transmit(_c: unknown, segment: SegmentOut): void {
    const { flags } = segment;
    const view = new DataView(segment.options.buffer, segment.options.byteOffset);
    const options = parseOptions(view, 0, segment.optionsLength);
    const { ring } = this.connection;
    let data = '';
    for (let i = 0; i < segment.payloadLength && segment.payloadLength <= 64; i++)
      data += String.fromCharCode(ring.region.bytes[ring.offset(segment.payloadOffset + i)]!);
    this.out.push({
      syn: (flags & SYN) !== 0,
      fin: (flags & FIN) !== 0,
      rst: (flags & RST) !== 0,
      psh: (flags & PSH) !== 0,
      ece: (flags & ECE) !== 0,
      cwr: (flags & CWR) !== 0,
      ecn: segment.ecn,
      seq: seqDiff(segment.seq, seq(this.ownIss)),
      ...((flags & ACK) !== 0 && { ack: seqDiff(segment.ack, seq(this.peerIss)) }),
      win: segment.window,
      len: segment.payloadLength,
      data,
      gso: segment.gsoSize,
      ...(options.mss !== undefined && { mss: options.mss }),
      ...(options.scale !== undefined && { scale: options.scale }),
      sackPermitted: options.sackPermitted ?? false,
      ...(options.timestamps && { ts: [options.timestamps.value, options.timestamps.echo] as const }),
      sack: (options.sack ?? []).map((b) => [this.fromPeer(b.start), this.fromPeer(b.end)] as const),
    });
  }

  established(): void {
    this.told.push('established');
  }

  received(): void {
    this.told.push('received');
  }

  receivedFin(): void {
    this.told.push('fin');
  }

  acknowledged(): void {
    this.told.push('acknowledged');
  }

  closed(_c: unknown, end: TcpEnd): void {
    expect(this.end, 'closed twice').toBeUndefined();
    this.end = end;
  }

  schedule(_c: unknown, at: number): void {
    this.deadline = at;
  }

  // Steps.

  /** Lets time pass, with the timers that are due on the way. */
  at(ms: number): this {
    expect(ms).toBeGreaterThanOrEqual(this.now);
    for (let i = 0; this.deadline <= ms; i++) {
      expect(i, 'timers').toBeLessThan(10_000);
      this.now = Math.max(this.now, this.deadline);
      // As a Timer: unset before it fires.
      this.deadline = Number.POSITIVE_INFINITY;
      this.connection.onTimer(this.now);
      this.output();
    }
    this.now = ms;
    return this;
  }

  after(ms: number): this {
    return this.at(this.now + ms);
  }

  /** Segments from the peer, as one batch. */
  receives(...segments: Seg[]): this {
    for (const segment of segments)
      this.withSegment(segment, (s) => {
        this.connection.input(s, this.now);
      });
    this.output();
    return this;
  }

  /** A SYN for a connection that does not exist yet. */
  listens(segment: Seg): this {
    this.withSegment({ syn: true, win: 65535, ...segment }, (s) => {
      this.connection.listen(s, this.now);
    });
    return this;
  }

  accepts(): this {
    this.connection.accept(this.now);
    return this;
  }

  connects(): this {
    this.connection.connect(this.now);
    return this;
  }

  /** The application writes: text, or so many bytes of the pattern. */
  writes(what: string | number): this {
    const { ring } = this.connection;
    const bytes =
      typeof what === 'string'
        ? Buffer.from(what, 'latin1')
        : Uint8Array.from({ length: what }, (_, i) => patternByte(ring.end + i));
    expect(ring.write(bytes)).toBe(bytes.length);
    this.connection.wrote(this.now);
    this.output();
    return this;
  }

  /** The application takes all, or `n` bytes; or `text`, which is compared. */
  reads(what?: string | number): this {
    const { received } = this.connection;
    const n = typeof what === 'string' ? what.length : (what ?? received.bytes);
    let text = '';
    for (let i = 0; i < received.count && text.length < n; i++)
      text += Buffer.from(received.viewAt(i)).toString('latin1');
    if (typeof what === 'string') expect(text.slice(0, n)).toBe(what);
    received.consume(n);
    this.connection.consumed(n, this.now);
    this.output();
    return this;
  }

  closes(): this {
    this.connection.close(this.now);
    this.output();
    return this;
  }

  aborts(): this {
    this.connection.abort(this.now);
    return this;
  }

  discards(): this {
    this.connection.discard(this.now);
    this.output();
    return this;
  }

  output(budget?: number): boolean {
    return this.connection.output(this.now, budget);
  }

  // Expectations.

  /** Exactly these segments have left since the last expectation. */
  sends(expected: readonly Seg[]): this {
    const got = this.out;
    this.out = [];
    expect(got).toMatchObject(expected.map((e) => ({ ...NO_FLAGS, ...e })));
    for (const [i, e] of expected.entries())
      if (e.ack === undefined && (e.syn === true || e.rst === true)) expect(got[i]!.ack).toBeUndefined();
    return this;
  }

  sendsNothing(): this {
    return this.sends([]);
  }

  /** Forgets what has left. */
  skips(): this {
    this.out = [];
    return this;
  }

  /** What has left, for expectations that `sends` cannot say. */
  sent(): Seg[] {
    const { out } = this;
    this.out = [];
    return out;
  }

  is(state: TcpState): this {
    expect(this.connection.state).toBe(state);
    return this;
  }

  ended(end: TcpEnd | undefined): this {
    expect(this.end).toBe(end);
    if (end !== undefined) {
      expect(this.connection.state).toBe('CLOSED');
      expect(this.deadline).toBe(Number.POSITIVE_INFINITY);
      expect(this.pool.bytesOut).toBe(0);
    }
    return this;
  }

  tells(...told: string[]): this {
    expect(this.told).toEqual(told);
    this.told.length = 0;
    return this;
  }

  /** Builds the segment in a block and lends it. */
  withSegment(s: Seg, use: (segment: SegmentIn) => void): void {
    const at = s.seq ?? 0;
    const payload =
      s.data === undefined
        ? Uint8Array.from({ length: s.len ?? 0 }, (_, i) => patternByte(at + i))
        : Buffer.from(s.data, 'latin1');
    const options: TcpOptions = {
      ...(s.mss !== undefined && { mss: s.mss }),
      ...(s.scale !== undefined && { scale: s.scale }),
      ...(s.sackPermitted === true && { sackPermitted: true }),
      ...(s.ts && { timestamps: { value: s.ts[0], echo: s.ts[1] } }),
      ...(s.sack && {
        sack: s.sack.map(([a, b]) => ({ start: seq(this.ownIss + a), end: seq(this.ownIss + b) })),
      }),
    };
    const block = this.pool.take();
    const { bytes, view } = block.region;
    const header = 64;
    const data = header + MIN_HEADER + emitOptions(options, bytes, header + MIN_HEADER);
    view.setUint8(header + 12, ((data - header) / 4) << 4);
    bytes.set(payload, data);
    const flags =
      (s.syn === true ? SYN : 0) |
      (s.fin === true ? FIN : 0) |
      (s.rst === true ? RST : 0) |
      (s.psh === true ? PSH : 0) |
      (s.urg === true ? URG : 0) |
      (s.ece === true ? ECE : 0) |
      (s.cwr === true ? CWR : 0) |
      (s.ack === undefined ? 0 : ACK);
    use({
      block,
      header,
      data,
      length: payload.length,
      seq: seq(this.peerIss + at),
      ack: seq(s.ack === undefined ? 0 : this.ownIss + s.ack),
      flags,
      window: s.win ?? 65535,
      ecn: s.ecn ?? 0,
    });
    block.release();
  }

  private fromPeer(at: number): number {
    return seqDiff(seq(at), seq(this.peerIss));
  }
}

/** Options of a usual guest. */
export const USUAL = { mss: 1460, scale: 7, sackPermitted: true, ts: [100, 0] } as const satisfies Seg;

/** A connection in ESTABLISHED that a peer opened; `syn`: its SYN, without options unless said. */
export function established(settings: Partial<TcpSettings> = {}, syn: Seg = { mss: 1460 }): Script {
  const s = new Script(settings)
    .listens({ seq: 0, ...syn })
    .accepts()
    .skips();
  s.receives({ seq: 1, ack: 1, win: syn.win ?? 65535, ...(syn.ts && { ts: [syn.ts[0], 0] as const }) });
  s.is('ESTABLISHED').skips().told.length = 0;
  return s;
}
