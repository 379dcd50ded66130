/** What the sender does about loss and congestion: detection, tail probes, timeouts, and what ECN tells. */
import { seqMax, type Millis, type Seq } from '../core/index.js';
import { FAST, OPEN } from './recovery.js';
import type { SegmentSink, Sender } from './send.js';
import { probeTime } from './tlp.js';

const NEVER = Number.POSITIVE_INFINITY;

/** Looks for what is lost (RFC 8985 section 6.2 step 5), and whether fast recovery must begin. */
export function detectLoss(snd: Sender, now: Millis): void {
  const { recovery } = snd;
  const { rack, sent, mode } = recovery;
  snd.lossAt = NEVER;
  if (recovery.sack && (sent.held > 0 || mode !== OPEN)) {
    const window = rack.window(sent, snd.mss, mode !== OPEN, snd.rtt.srtt);
    snd.lossAt = Math.ceil(now + rack.detect(sent, window, now));
  }
  if (recovery.mustEnter(snd.una, snd.nxt)) {
    reduce(snd, now);
    recovery.enter(snd.una, snd.nxt);
  } else armProbe(snd, now);
}

/** The time of `lossAt` has come: the caller outputs next. */
export function lossExpired(snd: Sender, sink: SegmentSink, now: Millis): void {
  const { sent, mode } = snd.recovery;
  if (sent.held > 0 || mode !== OPEN) detectLoss(snd, now);
  else probeTail(snd, sink, now);
}

/** Data left, or was acknowledged: when to probe if nothing is heard of what is out. */
export function armProbe(snd: Sender, now: Millis): void {
  const { sent, mode } = snd.recovery;
  if (sent.held === 0 && mode === OPEN) snd.lossAt = probeTime(snd, now);
}

/** RFC 8985 section 7.3: new data if the peer takes it, else the last segment again. */
function probeTail(snd: Sender, sink: SegmentSink, now: Millis): void {
  snd.lossAt = NEVER;
  const { nxt } = snd;
  const { tail } = snd.recovery.sent;
  if (tail === undefined) return;
  const mss = Math.max(snd.mss - sink.extraOptions(), 1);
  const n = Math.min(snd.unsent, mss);
  const fresh = n > 0 && n <= snd.wnd - snd.flight;
  if (fresh) snd.sendNew(sink, n, mss, now);
  else snd.resend(sink, tail, seqMax(tail.start, ((tail.end - mss) | 0) as Seq), mss, now);
  snd.tlp.sent(!fresh, snd.nxt);
  snd.remember(nxt, now);
  snd.counters.tailProbes++;
  snd.timerAt = now + snd.rtt.timeout();
}

/** The retransmission timer expired (RFC 6298 sections 5.4 to 5.6): the caller outputs next. */
export function timeout(snd: Sender, now: Millis): void {
  const { recovery, rtt } = snd;
  const again = recovery.mode !== OPEN && snd.tries > 1;
  snd.congestion.timeout(snd.flight, again, now);
  snd.cwr = snd.ecn;
  recovery.timeout(snd.una, snd.nxt, rtt.srtt, now);
  snd.tlp.forget();
  snd.lossAt = NEVER;
  rtt.expired();
  snd.timerAt = now + rtt.timeout();
  snd.counters.timeouts++;
}

/** What was answered as loss was none (RFC 4015 section 3): the window is as it was, and reordering is known. */
export function undo(snd: Sender, now: Millis): void {
  const { recovery } = snd;
  if (recovery.mode === FAST) recovery.rack.reorders = true;
  recovery.undo(snd.una);
  snd.congestion.undo(now);
  snd.cwr = false;
  snd.counters.undone++;
}

/** A sign of congestion: the window is reduced, and with ECN the next new segment says so (RFC 3168 section 6.1.2). */
export function reduce(snd: Sender, now: Millis): void {
  snd.congestion.loss(snd.mostFlight, now);
  snd.recovery.confirm();
  snd.cwr = snd.ecn;
  snd.reacting = true;
  snd.reactedTo = snd.nxt;
}

/** The peer says ECE: once a window, and not while loss is answered already (RFC 3168 section 6.1.2). */
export function congestionEcho(snd: Sender, now: Millis): void {
  if (snd.reacting || snd.recovery.mode !== OPEN) return;
  snd.counters.ecnReductions++;
  reduce(snd, now);
}
