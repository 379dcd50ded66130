/**
 * What links ask of the native layer: the part of its poller that moves frames, and who is told when a handle is ready.
 * `native` gives it; nothing here loads an addon. Results: >= 0, or -errno.
 */

import type { Memory } from '../core/index.js';

/** Events of a handle, as the poller reports them and as `interest` takes them. */
export const READY = { read: 1, write: 2, error: 4, hangup: 8 } as const;
/** Kinds of native frame links. */
export const NATIVE_KIND = { tap: 0, be32: 1, le16: 2, seqpacket: 3 } as const;
/** `setOption`: SO_SNDBUF, bytes. */
export const SEND_BUFFER_OPTION = 6;
/** Int32 values per frame of `rxBatch` and of `txBatch`. */
export const NATIVE_STRIDE = { rx: 4, tx: 12 } as const;

export interface NativeTapInfo {
  readonly name: string;
  /** 0: not known. */
  readonly mtu: number;
  readonly offloads: boolean;
}

export interface NativeLinkStats {
  readonly rxFrames: number;
  readonly rxBytes: number;
  readonly rxBad: number;
  readonly txFrames: number;
  readonly txBytes: number;
  readonly txDropped: number;
  readonly txErrors: number;
  readonly pending: number;
}

/** The part of native's Poller that links use. */
export interface LinkPoller {
  /** Monotonic time, ms. */
  now(): number;
  interest(handle: number, mask: number): number;
  closeHandle(handle: number): number;
  register(memory: Uint8Array | Int32Array): number;
  unregister(buffer: number): number;
  linkOpenTap(
    name: string,
    netns: string | null,
    options: { readonly vnetHeader: boolean; readonly offloads: boolean },
  ): number;
  linkAdopt(fd: number, kind: number, duplicate: boolean): number;
  streamToLink(handle: number, kind: number, buffer: number, offset: number, length: number): number;
  linkInfo(handle: number): NativeTapInfo | null;
  linkStats(handle: number): NativeLinkStats | null;
  rxBatch(
    handle: number,
    buffer: number,
    start: number,
    end: number,
    meta: number,
    maxFrames: number,
  ): number;
  txBatch(handle: number, descriptors: number, count: number): number;
  seqpacketListen(path: string, backlog: number): number;
  datagramListen(path: string, receiveBuffer: number, sendBuffer: number): number;
  datagramBatch(
    port: number,
    buffer: number,
    start: number,
    end: number,
    meta: number,
    maxFrames: number,
  ): number;
  peerProbe(peer: number): number;
  peerPath(peer: number): string | null;
  setOption(handle: number, option: number, value: number): number;
  vsockConnect(cid: number, port: number): number;
  vsockListen(port: number, backlog: number): number;
  accept(listener: number, outInts: number): number;
  adoptStream(fd: number, duplicate: boolean): number;
  soError(handle: number): number;
  writev(handle: number, slices: number, start: number, count: number): number;
  readv(
    handle: number,
    buffer: number,
    offset1: number,
    length1: number,
    offset2: number,
    length2: number,
  ): number;
  shutdownWrite(handle: number): number;
}

/** One poller and its dispatch. */
export interface NativeHub {
  readonly poller: LinkPoller;
  /** Memory that the poller knows by number: the network's pool must be made of it. */
  readonly memory: Memory;
  /** Tells `ready` about every event of the handle until `unwatch`; `what` is the handle, for people. */
  watch(handle: number, ready: (events: number) => void, what?: string): void;
  unwatch(handle: number): void;
}
