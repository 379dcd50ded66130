/**
 * The switch between guests: a frame that is not for the gateway goes to the port of its address, or to all others, as
 * far as storm control lets it. An isolated guest sends to no other and hears of no other.
 * What a kernel left to its network card (checksums, segmentation) is done here for ports whose link cannot.
 */
import { type Block, type Millis, RX_CHECKSUM_OK, RX_GSO, TX_CHECKSUM } from '../core/index.js';
import { ETH_HEADER } from '../ethernet/index.js';
import type { StackPort } from './port.js';
import { sendSegmented } from './segmenter.js';
import type { Stack } from './stack.js';

export class Bridge {
  private readonly stack: Stack;

  constructor(stack: Stack) {
    this.stack = stack;
  }

  /** Passes a frame on; its destination is the address `high`, `low`. */
  pass(
    from: StackPort,
    block: Block,
    at: number,
    length: number,
    high: number,
    low: number,
    flags: number,
    gsoSize: number,
    now: Millis,
  ): void {
    const { stack } = this;
    if (from.isolated) {
      if ((high & 0x100) === 0) stack.counters.isolated++;
      return;
    }
    const id = (high & 0x100) === 0 ? stack.macs.lookup(high, low, now) : -1;
    if (id === from.id || !stack.guard.mayPass(from, block, at, length)) return;
    const to = id < 0 ? undefined : stack.port(id);
    if (to !== undefined) {
      this.copy(to, block, at, length, flags, gsoSize, now);
      return;
    }
    if (!from.storm.mayFlood(high, low, now)) {
      stack.counters.floodLimited++;
      from.counters.floodLimited++;
      return;
    }
    for (const other of stack.ports())
      if (other !== from && !other.isolated) this.copy(other, block, at, length, flags, gsoSize, now);
  }

  private copy(
    to: StackPort,
    block: Block,
    from: number,
    length: number,
    flags: number,
    gsoSize: number,
    now: Millis,
  ): void {
    if (to.drops(now, length)) return;
    const { bytes, view } = block.region;
    const { output } = to;
    const gso = (flags & RX_GSO) !== 0;
    if (gso && output.offloads.tsoMax < length) {
      if (sendSegmented(output, bytes, view, from, length, gsoSize) > 0) this.stack.sent(to, length);
      return;
    }
    if (!gso && length > to.mtu + ETH_HEADER + 4) return;
    const at = output.begin(length);
    output.bytes.set(bytes.subarray(from, from + length), at);
    output.end((flags & RX_CHECKSUM_OK) !== 0 ? TX_CHECKSUM : 0, gso ? gsoSize : 0);
    this.stack.sent(to, length);
  }
}
