/**
 * A bad cable: puts loss, duplication, reordering, delay, a rate limit and damage around any link, in both directions.
 * Seeded and on an injected clock, so that a test can be repeated.
 *
 * A frame that does not leave at once is copied. Limits per direction: FAULT_QUEUE bytes wait; what comes on top is
 * dropped and counted (`faultOverflow`), as by a router's queue. From FAULT_BLOCKED on the output is blocked.
 */
import { below, MAX_FRAME, META_STRIDE, MIN_FRAME, RX_CHECKSUM_OK, TX_CHECKSUM } from '../core/index.js';
import type { BlockPool, Clock, FrameBatch, Link, LinkHandler, Random } from '../core/index.js';
import { AssemblingOutput } from './assemble.js';
import { DelayLine } from './delay-line.js';
import type { DelayedFrame } from './delay-line.js';
import type { Faults } from './faults-spec.js';
import { batchOver } from './framing.js';
import { fillChecksum } from './tx-checksum.js';

export interface FaultDeps {
  readonly random: Random;
  readonly clock: Clock;
  /** Runs a function after some milliseconds; returns what cancels it. `setTimeout` when absent. */
  readonly schedule?: (run: () => void, ms: number) => () => void;
  /** Where delayed frames are delivered from. */
  readonly pool: BlockPool;
}

export const FAULT_QUEUE = 4 * 1024 * 1024;
export const FAULT_BLOCKED = 512 * 1024;
const REORDER_MIN = 1;
const REORDER_MAX = 5;

export interface FaultStats {
  faultLost: number;
  faultDuplicated: number;
  faultReordered: number;
  faultCorrupted: number;
  faultOverflow: number;
}

/** Wraps a link. The wrapper takes the link's place: nobody else may use it. */
export function withFaults(link: Link, faults: Faults, deps: FaultDeps): Link {
  return new FaultyLink(link, faults, deps);
}

/** Decides about single frames; one for both directions. */
class Dice {
  readonly stats: FaultStats = {
    faultLost: 0,
    faultDuplicated: 0,
    faultReordered: 0,
    faultCorrupted: 0,
    faultOverflow: 0,
  };
  private readonly faults: Faults;
  private readonly random: Random;

  constructor(faults: Faults, random: Random) {
    this.faults = faults;
    this.random = random;
  }

  /** Some frames are damaged. */
  get damages(): boolean {
    return (this.faults.corrupt ?? 0) > 0;
  }

  /** How often the frame goes on: 0, 1 or 2 times. */
  copies(): number {
    const { loss = 0, duplicate = 0 } = this.faults;
    if (this.hit(loss)) {
      this.stats.faultLost++;
      return 0;
    }
    if (!this.hit(duplicate)) return 1;
    this.stats.faultDuplicated++;
    return 2;
  }

  /** Turns a bit behind the addresses; true when it did. */
  damage(bytes: Uint8Array, offset: number, length: number): boolean {
    if (length <= MIN_FRAME || !this.hit(this.faults.corrupt ?? 0)) return false;
    const at = offset + MIN_FRAME + below(this.random, length - MIN_FRAME);
    bytes[at] = bytes[at]! ^ (1 << below(this.random, 8));
    this.stats.faultCorrupted++;
    return true;
  }

  /** How long a frame travels beyond its time on the wire, ms. */
  delay(): number {
    const { delay = 0, jitter = 0, reorder = 0 } = this.faults;
    let ms = delay + (jitter > 0 ? jitter * this.fraction() : 0);
    if (this.hit(reorder)) {
      this.stats.faultReordered++;
      ms += REORDER_MIN + (REORDER_MAX - REORDER_MIN) * this.fraction();
    }
    return ms;
  }

  private hit(share: number): boolean {
    return share > 0 && this.fraction() < share;
  }

  private fraction(): number {
    return this.random.u32() / 0x100000000;
  }
}

class FaultyLink implements Link {
  readonly kind: string;
  readonly name: string;
  readonly mtu: number | undefined;
  readonly output: FaultyOutput;
  private readonly link: Link;
  private readonly deps: FaultDeps;
  private readonly dice: Dice;
  private readonly inbound: DelayLine;
  private handler: LinkHandler | undefined;

  constructor(link: Link, faults: Faults, deps: FaultDeps) {
    this.kind = link.kind;
    this.name = link.name;
    this.mtu = link.mtu;
    this.link = link;
    this.deps = deps;
    this.dice = new Dice(faults, deps.random);
    const line = { rate: faults.rate ?? 0, limit: FAULT_QUEUE, clock: deps.clock, schedule: deps.schedule };
    this.inbound = new DelayLine(line, (frames) => {
      this.deliver(frames);
    });
    this.output = new FaultyOutput(link, this.dice, line, deps.pool, () => this.handler?.writable());
  }

  get stats(): Readonly<Record<string, number>> {
    return { ...this.link.stats, ...this.dice.stats };
  }

  start(handler: LinkHandler): void {
    this.handler = handler;
    this.link.start({
      frames: (batch) => {
        this.receive(batch);
      },
      ...(handler.quota === undefined ? {} : { quota: () => handler.quota!() }),
      writable: () => {
        if (!this.output.blocked) handler.writable();
      },
      closed: (reason) => {
        this.stop();
        handler.closed(reason);
      },
    });
  }

  close(): void {
    this.stop();
    this.link.close();
  }

  private stop(): void {
    this.inbound.close();
    this.output.close();
  }

  /** Frames that go on at once go on in their block; the others are copied. */
  private receive(batch: FrameBatch): void {
    const { dice, inbound } = this;
    const { meta, bytes } = batch;
    const kept: number[] = [];
    for (let i = 0; i < batch.count; i++) {
      const at = i * META_STRIDE;
      const offset = meta[at]!;
      const length = meta[at + 1]!;
      const copies = dice.copies();
      // A damaged frame's checksum must be looked at.
      if (copies > 0 && dice.damage(bytes, offset, length)) meta[at + 2] = meta[at + 2]! & ~RX_CHECKSUM_OK;
      for (let copy = 0; copy < copies; copy++) {
        const delay = dice.delay();
        if (delay === 0 && inbound.free) {
          kept.push(...meta.subarray(at, at + META_STRIDE));
          continue;
        }
        const frame = {
          bytes: bytes.slice(offset, offset + length),
          flags: meta[at + 2]!,
          gsoSize: meta[at + 3]!,
        };
        if (!inbound.add(frame, delay)) dice.stats.faultOverflow++;
      }
    }
    // Duplicates may be more than the batch has room for.
    const capacity = meta.length;
    for (let from = 0; from < kept.length; from += capacity) {
      const part = kept.slice(from, from + capacity);
      meta.set(part);
      batch.count = part.length / META_STRIDE;
      this.handler?.frames(batch);
    }
  }

  /** Delivers copies in blocks of the pool. */
  private deliver(frames: readonly DelayedFrame[]): void {
    const { pool } = this.deps;
    let batch = batchOver(pool.take());
    let used = 0;
    const send = (): void => {
      if (batch.count > 0) this.handler?.frames(batch);
      batch.block.release();
    };
    for (const { bytes, flags, gsoSize } of frames) {
      if (used + bytes.length > batch.bytes.length || !batch.add(used, bytes.length, flags, gsoSize)) {
        send();
        batch = batchOver(pool.take());
        used = 0;
        batch.add(0, bytes.length, flags, gsoSize);
      }
      batch.bytes.set(bytes, used);
      used += bytes.length;
    }
    send();
  }
}

class FaultyOutput extends AssemblingOutput {
  private readonly link: Link;
  private readonly dice: Dice;
  private readonly line: DelayLine;
  private held = false;
  private closed = false;

  constructor(
    link: Link,
    dice: Dice,
    line: ConstructorParameters<typeof DelayLine>[0],
    pool: BlockPool,
    writable: () => void,
  ) {
    // A cable carries frames of the wire: what is lost of a super-segment is a frame of it, and not all of them. And a
    // super-segment gets its checksums behind the cable, so that damage to it would look right to the receiver.
    super(pool.memory);
    this.link = link;
    this.dice = dice;
    this.line = new DelayLine(line, (frames) => {
      for (const { bytes, flags, gsoSize } of frames) this.pass(bytes, bytes.length, flags, gsoSize);
      link.output.flush();
      if (!this.held || this.line.bytes > FAULT_BLOCKED / 2) return;
      this.held = false;
      if (!link.output.blocked) writable();
    });
  }

  get blocked(): boolean {
    return this.held || this.link.output.blocked;
  }

  flush(): void {
    this.link.output.flush();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.line.close();
    this.dispose();
  }

  protected override frame(length: number, flags: number, gsoSize: number): void {
    if (this.closed || length > MAX_FRAME) return;
    const copies = this.dice.copies();
    // The checksum is one of the whole frame, not of the damaged one.
    const left =
      this.dice.damages && (flags & TX_CHECKSUM) !== 0 && fillChecksum(this.bytes, this.view, 0, length)
        ? flags & ~TX_CHECKSUM
        : flags;
    if (copies > 0) this.dice.damage(this.bytes, 0, length);
    for (let copy = 0; copy < copies; copy++) {
      const delay = this.dice.delay();
      if (delay === 0 && this.line.free) {
        this.pass(this.bytes, length, left, gsoSize);
        continue;
      }
      const bytes = this.bytes.slice(0, length);
      if (!this.line.add({ bytes, flags: left, gsoSize }, delay)) this.dice.stats.faultOverflow++;
      if (this.line.bytes >= FAULT_BLOCKED) this.held = true;
    }
  }

  private pass(bytes: Uint8Array, length: number, flags: number, gsoSize: number): void {
    const { output } = this.link;
    const at = output.begin(length);
    output.bytes.set(length === bytes.length ? bytes : bytes.subarray(0, length), at);
    output.end(flags, gsoSize);
  }
}
