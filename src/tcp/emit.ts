/** Builds the segments of one connection: what every header carries, SYN, RST, challenge ACKs. */
import type { Millis, Seq } from '../core/index.js';
import type { TcpConnection } from './connection.js';
import { ACK, CWR, ECE, RST, type SegmentOut, type TcpSettings } from './types.js';
import { emitOptions, MAX_OPTIONS, writeTimestamps } from './wire/options.js';

/** RFC 5961 section 7: at most this many challenge ACKs a second and connection; all of a guest have a limit besides. */
export const CHALLENGES_PER_SECOND = 10;

/** TSval of a segment that leaves now (RFC 7323 section 4.2): milliseconds, as a signed 32-bit integer. */
export function tsNow(settings: TcpSettings, now: Millis): number {
  return (Math.floor(now) + (settings.timestampOffset ?? 0)) | 0;
}

/** The segment in the making: one for all connections, since the owner takes it at once. */
const OUT: SegmentOut = {
  seq: 0 as Seq,
  ack: 0 as Seq,
  flags: 0,
  window: 0,
  urgent: 0,
  options: new Uint8Array(MAX_OPTIONS),
  optionsLength: 0,
  payloadOffset: 0,
  payloadLength: 0,
  gsoSize: 0,
  ecn: 0,
};

export class Emitter {
  private readonly settings: TcpSettings;
  private challengesFrom: Millis = Number.NEGATIVE_INFINITY;
  private challenges = 0;

  constructor(settings: TcpSettings) {
    this.settings = settings;
  }

  /** A segment of a synchronized connection; it acknowledges RCV.NXT. */
  segment(
    c: TcpConnection,
    flags: number,
    at: Seq,
    offset: number,
    length: number,
    gsoSize: number,
    ecn: number,
    now: Millis,
  ): void {
    const out = OUT;
    const { rcv } = c;
    out.seq = at;
    out.ack = rcv.nxt;
    out.flags = rcv.echo ? flags | ECE : flags;
    out.ecn = ecn;
    out.window = rcv.advertise();
    let size = c.timestamps ? writeTimestamps(out.options, 0, tsNow(this.settings, now), rcv.tsRecent) : 0;
    if (c.sack && (rcv.assembler.ranges > 0 || rcv.dsackFrom !== rcv.dsackTo))
      size += writeSack(c, out.options, size);
    out.optionsLength = size;
    out.payloadOffset = offset;
    out.payloadLength = length;
    out.gsoSize = gsoSize;
    rcv.acknowledged();
    c.counters.segmentsOut++;
    c.owner.transmit(c, out);
  }

  /** Bytes of SACK that `segment` would write now. */
  extraOptions(c: TcpConnection): number {
    if (!c.sack) return 0;
    const { rcv } = c;
    const blocks = rcv.assembler.ranges + (rcv.dsackFrom === rcv.dsackTo ? 0 : 1);
    return blocks === 0 ? 0 : 4 + 8 * Math.min(blocks, sackRoom(c));
  }

  /** SYN offers every option that the settings allow; SYN-ACK (`flags` has ACK) those that the peer offered too. */
  syn(c: TcpConnection, flags: number, now: Millis): void {
    const { settings } = this;
    const out = OUT;
    const { rcv, snd } = c;
    const answer = (flags & ACK) !== 0;
    const timestamps = answer ? c.timestamps : settings.timestamps !== false;
    const sackPermitted = answer ? c.sack : settings.sack !== false;
    const scaling = answer ? c.scaling : settings.windowScaling !== false;
    out.seq = snd.iss;
    out.ack = answer ? rcv.nxt : (0 as Seq);
    out.flags = flags | ecnSetup(c, answer);
    out.window = answer ? rcv.promise() : rcv.synWindow();
    const options = {
      mss: settings.mss,
      sackPermitted,
      ...(timestamps && { timestamps: { value: tsNow(settings, now), echo: answer ? rcv.tsRecent : 0 } }),
      ...(scaling && { scale: rcv.wantedScale() }),
    };
    out.optionsLength = emitOptions(options, out.options, 0);
    this.bare(c);
  }

  /** RST; with ACK it acknowledges RCV.NXT. */
  reset(c: TcpConnection, at: Seq, withAck: boolean): void {
    const out = OUT;
    out.seq = at;
    out.ack = withAck ? c.rcv.nxt : (0 as Seq);
    out.flags = withAck ? RST | ACK : RST;
    out.window = 0;
    out.optionsLength = 0;
    c.counters.rstOut++;
    this.bare(c);
  }

  /** RFC 5961: tells a real peer where we stand, and a blind attacker nothing. Rate limited (section 7). */
  challenge(c: TcpConnection, now: Millis): void {
    if (now - this.challengesFrom >= 1000) {
      this.challengesFrom = now;
      this.challenges = 0;
    }
    this.challenges++;
    if (this.challenges > CHALLENGES_PER_SECOND || this.settings.challenges?.take(now) === false) return;
    c.counters.challengeAcks++;
    c.emitAck(now);
  }

  private bare(c: TcpConnection): void {
    const out = OUT;
    out.payloadOffset = 0;
    out.payloadLength = 0;
    out.gsoSize = 0;
    out.ecn = 0;
    c.counters.segmentsOut++;
    c.owner.transmit(c, out);
  }
}

function writeSack(c: TcpConnection, options: Uint8Array, at: number): number {
  const { assembler, dsackFrom, dsackTo, finKnown, finAt } = c.rcv;
  return assembler.writeSack(options, at, sackRoom(c), dsackFrom, dsackTo, finKnown ? finAt : undefined);
}

function sackRoom(c: TcpConnection): number {
  return c.timestamps ? 3 : 4;
}

/** RFC 3168 section 6.1.1: the flags of an ECN-setup SYN or SYN-ACK; a SYN that was not answered asks no more. */
function ecnSetup(c: TcpConnection, answer: boolean): number {
  if (answer) return c.snd.ecn ? ECE : 0;
  return c.settings.ecn === 'ask' && c.snd.tries === 0 ? ECE | CWR : 0;
}
