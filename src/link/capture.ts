/**
 * Shows every frame of a link to a sink, as it is on the wire: checksums that the link would fill in are filled in the
 * copy. Frames pass by at once; the sink must copy what it keeps.
 */
import { MAX_FRAME, META_STRIDE, TX_CHECKSUM } from '../core/index.js';
import type { FrameBatch, FrameOutput, Link, LinkHandler, Offloads, Region } from '../core/index.js';
import { fillChecksum } from './tx-checksum.js';

/** Gets frames that pass; the bytes are lent for the call. `in`: from the guest. */
export interface CaptureSink {
  frame(direction: 'in' | 'out', bytes: Uint8Array, offset: number, length: number): void;
}

/** Wraps a link. The wrapper takes the link's place: nobody else may use it. */
export function withCapture(link: Link, sink: CaptureSink): Link {
  return {
    kind: link.kind,
    name: link.name,
    mtu: link.mtu,
    output: new CapturingOutput(link.output, sink),
    start: (handler) => {
      link.start(capturing(handler, sink));
    },
    close: () => {
      link.close();
    },
    ...(link.pause === undefined
      ? {}
      : {
          pause: () => link.pause?.(),
          resume: () => link.resume?.(),
        }),
    get stats() {
      return link.stats ?? {};
    },
  };
}

/** An output that shows every frame to the sink before the real one takes it. May take its place between two frames. */
export function capturedOutput(output: FrameOutput, sink: CaptureSink): FrameOutput {
  return new CapturingOutput(output, sink);
}

/** Shows the frames of a guest to a sink. */
export function captureBatch({ meta, bytes, count }: FrameBatch, sink: CaptureSink): void {
  for (let i = 0; i < count; i++) {
    sink.frame('in', bytes, meta[i * META_STRIDE]!, meta[i * META_STRIDE + 1]!);
  }
}

function capturing(handler: LinkHandler, sink: CaptureSink): LinkHandler {
  return {
    frames: (batch: FrameBatch) => {
      captureBatch(batch, sink);
      handler.frames(batch);
    },
    ...(handler.quota === undefined ? {} : { quota: () => handler.quota!() }),
    writable: () => {
      handler.writable();
    },
    closed: (reason) => {
      handler.closed(reason);
    },
  };
}

/** Hands everything to the real output; the whole frame is put together beside it when it ends. */
class CapturingOutput implements FrameOutput {
  readonly offloads: Offloads;
  private readonly output: FrameOutput;
  private readonly sink: CaptureSink;
  private readonly copy = new Uint8Array(MAX_FRAME);
  private readonly copyView = new DataView(this.copy.buffer);
  private head = 0;
  private headLength = 0;
  /** Where payload stands in the copy; over MAX_FRAME: too long for any link. */
  private length = 0;

  constructor(output: FrameOutput, sink: CaptureSink) {
    this.offloads = output.offloads;
    this.output = output;
    this.sink = sink;
  }

  get bytes(): Uint8Array {
    return this.output.bytes;
  }

  get view(): DataView {
    return this.output.view;
  }

  get blocked(): boolean {
    return this.output.blocked;
  }

  begin(length: number): number {
    this.head = this.output.begin(length);
    this.headLength = this.length = length;
    return this.head;
  }

  payload(region: Region, offset: number, length: number): void {
    if (this.length + length <= MAX_FRAME) {
      this.copy.set(region.bytes.subarray(offset, offset + length), this.length);
    }
    this.length += length;
    this.output.payload(region, offset, length);
  }

  end(flags: number, gsoSize: number): void {
    if (this.length <= MAX_FRAME) {
      const { copy, head, headLength } = this;
      copy.set(this.output.bytes.subarray(head, head + headLength));
      if ((flags & TX_CHECKSUM) !== 0) fillChecksum(copy, this.copyView, 0, this.length);
      this.sink.frame('out', copy, 0, this.length);
    }
    this.output.end(flags, gsoSize);
  }

  flush(): void {
    this.output.flush();
  }
}
