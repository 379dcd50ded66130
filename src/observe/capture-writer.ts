/**
 * Frames as pcap or pcapng, written behind the data path's back: frames are copied into chunks, chunks are written one after
 * the other. When CAPTURE_BUFFER bytes wait for their target, frames are dropped from the capture (never from the network)
 * and counted; pcapng says so in its statistics at the end.
 */
import type { Clock, Logger } from '../core/index.js';
import type { CaptureSink } from '../link/index.js';
import { pcapHeader, pcapRecordLength, writePcapRecord } from './pcap.js';
import {
  interfaceDescription,
  interfaceStatistics,
  packetLength,
  sectionHeader,
  writePacket,
} from './pcapng.js';
import type { Direction } from './pcapng.js';

/** Bytes that wait for the target at most. */
export const CAPTURE_BUFFER = 8 * 1024 * 1024;
/** Interfaces of one pcapng capture at most; links beyond share the last one. */
export const CAPTURE_INTERFACES = 1024;
const CHUNK = 256 * 1024;
/** How long a frame may wait for its chunk to fill, ms. */
const LINGER = 100;

export type CaptureFormat = 'pcap' | 'pcapng';

export interface CaptureStats {
  frames: number;
  bytes: number;
  /** Frames that are missing because the target was slower than the network, or failed. */
  dropped: number;
}

/** Where the bytes go. */
export interface CaptureTarget {
  /** For the log. */
  readonly name: string;
  /** Writes all of it. Rejects when the target is broken: the capture ends. Not called again before it resolved. */
  write(bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

export interface Capture {
  readonly format: CaptureFormat;
  readonly stats: Readonly<CaptureStats>;
  /** A sink for one link; in pcapng it is an interface of that name. */
  sink(name: string): CaptureSink;
  /** Writes what waits and closes. Idempotent. Never rejects: trouble with the target was logged. */
  close(): Promise<Readonly<CaptureStats>>;
}

export interface CaptureDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Bytes that may wait for the target. Default CAPTURE_BUFFER. */
  readonly buffer?: number | undefined;
}

interface Interface {
  received: number;
  dropped: number;
}

export class CaptureWriter implements Capture {
  readonly format: CaptureFormat;
  readonly stats: CaptureStats = { frames: 0, bytes: 0, dropped: 0 };
  private readonly target: CaptureTarget;
  private readonly deps: CaptureDeps;
  private readonly interfaces: Interface[] = [];
  private chunk = new DataView(new ArrayBuffer(CHUNK));
  private used = 0;
  private waiting = 0;
  private writing: Promise<void> = Promise.resolve();
  private timer: NodeJS.Timeout | undefined;
  private broken = false;
  private closing: Promise<Readonly<CaptureStats>> | undefined;

  constructor(target: CaptureTarget, format: CaptureFormat, deps: CaptureDeps) {
    this.format = format;
    this.target = target;
    this.deps = deps;
    this.put(this.format === 'pcap' ? pcapHeader() : sectionHeader('netproxy'));
    this.flush();
  }

  sink(name: string): CaptureSink {
    const id = Math.min(this.interfaces.length, CAPTURE_INTERFACES - 1);
    const known = this.interfaces[id];
    const counts = known ?? { received: 0, dropped: 0 };
    if (known === undefined) {
      this.interfaces.push(counts);
      if (this.format === 'pcapng') this.put(interfaceDescription(name));
    }
    return {
      frame: (direction, bytes, offset, length) => {
        counts.received++;
        if (!this.frame(id, direction, bytes, offset, length)) counts.dropped++;
      },
    };
  }

  close(): Promise<Readonly<CaptureStats>> {
    this.closing ??= this.finish();
    return this.closing;
  }

  private frame(
    id: number,
    direction: Direction,
    bytes: Uint8Array,
    offset: number,
    length: number,
  ): boolean {
    const ng = this.format === 'pcapng';
    const size = ng ? packetLength(length) : pcapRecordLength(length);
    if (this.closing !== undefined || this.broken || !this.room(size)) {
      this.stats.dropped++;
      return false;
    }
    const wall = this.deps.clock.wall();
    this.used = ng
      ? writePacket(this.chunk, this.used, wall, id, direction, bytes, offset, length)
      : writePcapRecord(this.chunk, this.used, wall, bytes, offset, length);
    this.stats.frames++;
    this.stats.bytes += length;
    this.timer ??= setTimeout(() => this.flush(), LINGER).unref();
    return true;
  }

  /** Makes room in the chunk; false when too much waits for the disk. */
  private room(size: number): boolean {
    if (this.used + size <= CHUNK) return true;
    if (this.waiting + this.used > (this.deps.buffer ?? CAPTURE_BUFFER)) return false;
    this.flush();
    return size <= CHUNK;
  }

  private put(bytes: Uint8Array): void {
    if (this.used + bytes.length > CHUNK) this.flush();
    new Uint8Array(this.chunk.buffer).set(bytes, this.used);
    this.used += bytes.length;
  }

  /** Hands the chunk to the disk. */
  private flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.used === 0) return;
    const bytes = new Uint8Array(this.chunk.buffer, 0, this.used);
    this.waiting += bytes.length;
    this.chunk = new DataView(new ArrayBuffer(CHUNK));
    this.used = 0;
    this.writing = this.writing.then(() => this.write(bytes));
  }

  private async write(bytes: Uint8Array): Promise<void> {
    try {
      if (!this.broken) await this.target.write(bytes);
    } catch (error) {
      this.broken = true;
      const why = error instanceof Error ? error.message : String(error);
      this.deps.logger.error(`the capture ${this.target.name} ends here: ${why}`);
    } finally {
      this.waiting -= bytes.length;
    }
  }

  private async finish(): Promise<Readonly<CaptureStats>> {
    if (this.format === 'pcapng') {
      const wall = this.deps.clock.wall();
      this.interfaces.forEach(({ received, dropped }, id) => {
        this.put(interfaceStatistics(id, wall, received, dropped));
      });
    }
    this.flush();
    await this.writing;
    await this.target.close().catch((error: unknown) => {
      this.deps.logger.error(`the capture ${this.target.name} did not close: ${String(error)}`);
    });
    return this.stats;
  }
}
