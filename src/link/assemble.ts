/** An output that builds each frame in one piece before it decides what to do with it. One frame at a time. */
import { MAX_FRAME, NetproxyError } from '../core/index.js';
import type { FrameOutput, Memory, Offloads, Region } from '../core/index.js';

const NO_OFFLOADS: Offloads = { tsoMax: 0 };

export abstract class AssemblingOutput implements FrameOutput {
  readonly offloads: Offloads;
  abstract readonly blocked: boolean;
  private readonly memory: Memory;
  private readonly region: Region;
  /** Where header bytes end and payload goes; -1 when the frame is too long for any link. */
  private at = 0;

  constructor(memory: Memory, offloads: Offloads = NO_OFFLOADS) {
    this.memory = memory;
    this.offloads = offloads;
    this.region = memory.allocate(MAX_FRAME);
  }

  get bytes(): Uint8Array {
    return this.region.bytes;
  }

  get view(): DataView {
    return this.region.view;
  }

  begin(length: number): number {
    if (length > MAX_FRAME) {
      throw new NetproxyError('ERR_NETPROXY_STATE', `a header of ${length} bytes does not fit a frame`);
    }
    this.at = length;
    return 0;
  }

  payload(region: Region, offset: number, length: number): void {
    if (this.at < 0 || this.at + length > MAX_FRAME) {
      this.at = -1;
      return;
    }
    this.region.bytes.set(region.bytes.subarray(offset, offset + length), this.at);
    this.at += length;
  }

  end(flags: number, gsoSize: number): void {
    this.frame(this.at < 0 ? MAX_FRAME + 1 : this.at, flags, gsoSize);
  }

  abstract flush(): void;

  /** Gives the memory back; nothing may be sent any more. */
  dispose(): void {
    this.memory.free(this.region);
  }

  /** The frame stands at offset 0 of `bytes`; a `length` over MAX_FRAME means that it was too long to be built. */
  protected abstract frame(length: number, flags: number, gsoSize: number): void;
}
