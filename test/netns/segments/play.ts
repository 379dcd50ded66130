/**
 * Plays a script of segments against a side and writes down what it answers. Sequence numbers are relative: the script's
 * to its own SYN, the answers' to the other side's. Windows are told as shut or open, clocks and shift counts as there or
 * not: in these two stacks may differ.
 */
import { seqDiff, seqGt, type Seq, seq } from '../../../src/core/index.js';
import { ACK, CWR, ECE, FIN, PSH, RST, SYN, URG } from '../../../src/tcp/index.js';
import type { DecodedSegment } from '../../../src/testing/index.js';
import { type AppCommand, PORT, type Side } from './sides.js';

/** A segment of the script. A flag that is not named is not set; `ack` named: ACK is set. */
export interface Seg {
  readonly syn?: boolean;
  readonly fin?: boolean;
  readonly rst?: boolean;
  readonly ece?: boolean;
  readonly cwr?: boolean;
  /** The urgent pointer. */
  readonly urg?: number;
  readonly seq: number;
  readonly ack?: number;
  readonly win?: number;
  readonly len?: number;
  readonly mss?: number;
  readonly scale?: number;
  readonly sackPermitted?: boolean;
  /** TSval; the echo is what came last, unless `echo` says it. */
  readonly ts?: number;
  readonly sack?: readonly (readonly [number, number])[];
  /** Option bytes, a multiple of 4. */
  readonly raw?: readonly number[];
  readonly ecn?: number;
  readonly badChecksum?: boolean;
  readonly dataOffset?: number;
}

export interface Step {
  /** What the script did. */
  readonly did: string;
  /** What came back, in order. */
  readonly answers: readonly string[];
}

export interface Script {
  readonly name: string;
  /** Where the rule stands. */
  readonly rule: string;
  readonly run: (play: Play) => Promise<void>;
}

const NAMES: readonly (readonly [number, string])[] = [
  [SYN, 'SYN'],
  [FIN, 'FIN'],
  [RST, 'RST'],
  [PSH, 'PSH'],
  [URG, 'URG'],
  [ECE, 'ECE'],
  [CWR, 'CWR'],
  [ACK, 'ACK'],
];
/** Options of a usual guest. */
export const USUAL = { mss: 1460, scale: 7, sackPermitted: true, ts: 100 } as const;
const PEER_ISS = 0xffff_f000;
/** What `fills` sends at a time, and how often at most. */
const CHUNK = 1000;
const CHUNKS = 200;

export class Play {
  readonly steps: Step[] = [];
  private readonly side: Side;
  private readonly peerPort: number;
  private port = PORT;
  private iss = seq(PEER_ISS);
  /** The other side's first sequence number: anything, until it says one. */
  private otherIss = seq(77_000);
  private tsRecent = 0;
  /** The end of what the other side sent so far. */
  private sentTo: Seq | undefined;
  private lastWindow = 0;
  private acked = this.iss;

  constructor(side: Side, peerPort: number) {
    this.side = side;
    this.peerPort = peerPort;
  }

  /** Which port of the other side the segments go to. */
  to(port: number): void {
    this.port = port;
  }

  /** A three-way handshake with these options. */
  async opens(syn: Omit<Seg, 'seq'> = { mss: 1460 }): Promise<void> {
    await this.sends({ ...syn, syn: true, seq: 0 });
    await this.sends({ seq: 1, ack: 1, ...(syn.ts !== undefined && { ts: syn.ts + 1 }) });
  }

  /** Segments, all before anything is answered. */
  async sends(...segments: Seg[]): Promise<void> {
    for (const segment of segments) this.transmit(segment);
    await this.side.settle();
    this.record(segments.map(describe).join(', '), false);
  }

  /** The other side's application does something. `n`: bytes of `write`. */
  async app(command: AppCommand, n = 0): Promise<void> {
    await this.side.app(this.peerPort, command, n);
    await this.side.settle();
    this.record(n > 0 ? `application: ${command} ${n}` : `application: ${command}`, false);
  }

  /** The other side's application connects to us from a port that is free on it. */
  async connects(): Promise<void> {
    this.port = this.peerPort + 20_000;
    await this.side.app(this.peerPort, 'connect', this.port);
    await this.side.settle();
    this.record('application: connect', false);
  }

  /** Time passes; what is sent again counts here. */
  async waits(ms: number): Promise<void> {
    await this.side.settle(ms);
    this.record(`${ms} ms`, true);
  }

  /** Text until the other side's window is shut; from here on the script's numbers begin behind it. */
  async fills(): Promise<void> {
    let sent = 0;
    this.lastWindow = CHUNK;
    this.acked = this.iss;
    for (let i = 0; i < CHUNKS && this.lastWindow > 0; i++) {
      const len = Math.min(CHUNK, this.lastWindow);
      this.transmit({ seq: 1 + sent, ack: 1, len });
      sent += len;
      await this.side.settle();
      this.answers(false);
    }
    // A side may leave out what it said it had room for, and says so.
    this.iss = seq(this.acked - 1);
    this.steps.push({
      did: 'text until the window is shut',
      answers: [this.lastWindow === 0 ? 'shut' : 'open'],
    });
  }

  private transmit(s: Seg): void {
    const flags =
      (s.syn === true ? SYN : 0) |
      (s.fin === true ? FIN : 0) |
      (s.rst === true ? RST : 0) |
      (s.ece === true ? ECE : 0) |
      (s.cwr === true ? CWR : 0) |
      (s.urg === undefined ? 0 : URG) |
      (s.ack === undefined ? 0 : ACK);
    this.side.peer.send({
      sourcePort: this.peerPort,
      destinationPort: this.port,
      seq: seq(this.iss + s.seq),
      ack: s.ack === undefined ? 0 : seq(this.otherIss + s.ack),
      flags,
      window: s.win ?? 65_535,
      urgent: s.urg ?? 0,
      options: {
        ...(s.mss !== undefined && { mss: s.mss }),
        ...(s.scale !== undefined && { scale: s.scale }),
        ...(s.sackPermitted === true && { sackPermitted: true }),
        ...(s.ts !== undefined && { timestamps: { value: s.ts, echo: this.tsRecent } }),
        ...(s.sack && {
          sack: s.sack.map(([a, b]) => ({ start: seq(this.otherIss + a), end: seq(this.otherIss + b) })),
        }),
      },
      rawOptions: s.raw ?? [],
      payload: new Uint8Array(s.len ?? 0).fill(0x61),
      ecn: s.ecn ?? 0,
      badChecksum: s.badChecksum ?? false,
      dataOffset: s.dataOffset,
    });
  }

  private record(did: string, repeats: boolean): void {
    this.steps.push({ did, answers: this.answers(repeats) });
  }

  /** What came, as text; what was sent again by a timer only when that is asked for. */
  private answers(repeats: boolean): string[] {
    const segments = this.side.peer.take(this.peerPort).filter((segment) => this.isNews(segment) || repeats);
    return segments.map((segment, i) => this.format(segment, (segments[i + 1]?.payload.length ?? 0) > 0));
  }

  /** Takes note of what an answer tells; false when it is text or a FIN that came before. */
  private isNews({ flags, seq: at, ack, payload, options, window }: DecodedSegment): boolean {
    if ((flags & RST) !== 0) return true;
    if ((flags & SYN) !== 0) this.otherIss = at;
    if (options.timestamps) this.tsRecent = options.timestamps.value;
    this.lastWindow = window;
    if ((flags & ACK) !== 0) this.acked = ack;
    const length = payload.length + ((flags & FIN) === 0 ? 0 : 1);
    const end = seq(at + length);
    if (length === 0) return true;
    const news = this.sentTo === undefined || seqGt(end, this.sentTo);
    if (news) this.sentTo = end;
    return news;
  }

  /** `followed` by text: where in a burst PSH stands is anybody's choice (RFC 9293 section 3.9.1.2). */
  private format(segment: DecodedSegment, followed: boolean): string {
    const { flags, seq: at, ack, window, payload, options } = segment;
    const shown = followed ? flags & ~PSH : flags;
    const words = NAMES.filter(([bit]) => (shown & bit) !== 0).map(([, name]) => name);
    // A RST that has no number to go by has none of ours.
    words.push(at === 0 ? 'no seq' : `seq ${seqDiff(at, this.otherIss)}`);
    if ((flags & ACK) !== 0) words.push(`ack ${seqDiff(ack, this.iss)}`);
    if (payload.length > 0) words.push(`len ${payload.length}`);
    if ((flags & RST) === 0) words.push(window === 0 ? 'shut' : 'open');
    if (options.mss !== undefined) words.push(`mss ${options.mss}`);
    if (options.scale !== undefined) words.push('scale');
    if (options.sackPermitted === true) words.push('sack-permitted');
    if (options.timestamps) words.push(`echo ${options.timestamps.echo}`);
    for (const { start, end } of options.sack ?? [])
      words.push(`sack ${seqDiff(start, this.iss)}-${seqDiff(end, this.iss)}`);
    return words.join(' ');
  }
}

/** A segment of the script as text. */
function describe(s: Seg): string {
  const words = (['syn', 'fin', 'rst', 'ece', 'cwr'] as const)
    .filter((flag) => s[flag] === true)
    .map((flag) => flag.toUpperCase());
  if (s.urg !== undefined) words.push(`URG ${s.urg}`);
  words.push(`seq ${s.seq}`);
  for (const key of ['ack', 'len', 'win', 'mss', 'scale', 'ts', 'ecn', 'dataOffset'] as const)
    if (s[key] !== undefined) words.push(`${key} ${s[key]}`);
  if (s.sackPermitted === true) words.push('sack-permitted');
  for (const [a, b] of s.sack ?? []) words.push(`sack ${a}-${b}`);
  if (s.raw) words.push(`option bytes ${s.raw.join(' ')}`);
  if (s.badChecksum === true) words.push('bad checksum');
  return words.join(' ');
}

/** Plays a script against a side. */
export async function play(side: Side, script: Script, peerPort: number): Promise<readonly Step[]> {
  const game = new Play(side, peerPort);
  await script.run(game);
  return game.steps;
}
