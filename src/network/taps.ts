/** Captures that come and go while guests are attached. Without one, a frame costs nothing and a batch one comparison. */
import { type CaptureSink, capturedOutput } from '../link/index.js';
import type { Guest } from './guest.js';

/** The sink of a guest; undefined: it is of no interest. Asked once per guest. */
export type SinkOf = (guest: Guest) => CaptureSink | undefined;

export class Taps {
  private readonly sinks = new Map<SinkOf, Map<Guest, CaptureSink>>();

  /** Captures these guests, and those that `attached` names, until the returned function is called. */
  add(sinkOf: SinkOf, guests: readonly Guest[]): () => void {
    this.sinks.set(sinkOf, new Map());
    for (const guest of guests) this.enter(guest, sinkOf);
    return () => {
      const mine = this.sinks.get(sinkOf);
      this.sinks.delete(sinkOf);
      for (const guest of mine?.keys() ?? []) this.wire(guest);
    };
  }

  attached(guest: Guest): void {
    for (const sinkOf of this.sinks.keys()) this.enter(guest, sinkOf);
  }

  detached(guest: Guest): void {
    for (const mine of this.sinks.values()) mine.delete(guest);
  }

  private enter(guest: Guest, sinkOf: SinkOf): void {
    const sink = sinkOf(guest);
    if (sink === undefined) return;
    this.sinks.get(sinkOf)?.set(guest, sink);
    this.wire(guest);
  }

  /** Puts all sinks of a guest into its way. */
  private wire(guest: Guest): void {
    const all = [...this.sinks.values()].flatMap((mine) => mine.get(guest) ?? []);
    const sink = all.length > 1 ? toAll(all) : all[0];
    guest.sink = sink;
    const { output } = guest.link;
    guest.port.output = sink === undefined ? output : capturedOutput(output, sink);
  }
}

function toAll(sinks: readonly CaptureSink[]): CaptureSink {
  return {
    frame: (direction, bytes, offset, length) => {
      for (const sink of sinks) sink.frame(direction, bytes, offset, length);
    },
  };
}
