/**
 * A unix datagram socket of the native layer with its peers: the `vfkit` link, and QEMU's `-netdev dgram`.
 *
 * Theory of operation. One datagram is one frame. Who sends from an address that is not known becomes a peer, a link of its
 * own; the native layer tells with each frame whose it is, and this file hands every peer the frames that are its own,
 * in the memory where they landed. Datagrams have no end: a peer is gone when its address refuses what we send, or a
 * look at it (each PROBE_INTERVAL, and at once when somebody new comes: it may be the same guest under a new address,
 * whose MAC and lease the old one would keep) finds nobody there. It is met again with its next datagram.
 *
 * A peer whose link is closed at once (nobody wants it) is deaf and dumb until the next look: its datagrams are dropped.
 *
 * Limits: MAX_PEERS, beyond which the peer that was silent the longest makes place, counted by the listener.
 */
import { constants } from 'node:os';
import { META_STRIDE, NetproxyError } from '../core/index.js';
import type { Block } from '../core/index.js';
import { BATCH_FRAMES, batchOver } from './framing.js';
import { nativeError } from './native-error.js';
import { BATCHES_PER_WAKE } from './native-link.js';
import type { NativeHub } from './native-hub.js';
import { PeerLink } from './peer-link.js';
import type { LinkDeps } from './types.js';

export const MAX_PEERS = 256;
const PROBE_INTERVAL = 2000;
/** The native layer wants room for the longest packet, bytes. */
const ROOM = 65_568;
const ENOENT = -constants.errno.ENOENT;
const ECONNREFUSED = -constants.errno.ECONNREFUSED;

export interface DatagramDeps extends LinkDeps {
  readonly probeInterval?: number | undefined;
}

/** Who hears of peers. */
export interface PortEvents {
  /** A new peer's link, before its first frame. */
  met(link: PeerLink): void;
  evicted(): void;
}

export class DatagramPort {
  readonly name: string;
  private readonly hub: NativeHub;
  private readonly handle: number;
  private readonly deps: DatagramDeps;
  private readonly events: PortEvents;
  private readonly peers = new Map<number, PeerLink>();
  /** Handles of peers that nobody wanted. */
  private readonly muted = new Set<number>();
  private readonly meta = new Int32Array(BATCH_FRAMES * META_STRIDE);
  private readonly metaId: number;
  private block: Block | undefined;
  private used = 0;
  private serial = 0;
  private state: 'open' | 'leaving' | 'closed' = 'open';
  /** Somebody new came in this wake-up already: the others were looked at. */
  private looked = false;
  /** The peer that is being introduced. */
  private meeting = 0;
  private sorting = false;
  private timer: NodeJS.Timeout | undefined;

  /** Takes the handle over. The pool's memory must be the hub's. */
  constructor(hub: NativeHub, handle: number, name: string, deps: DatagramDeps, events: PortEvents) {
    if (deps.pool.memory !== hub.memory) {
      hub.poller.closeHandle(handle);
      throw new NetproxyError('ERR_NETPROXY_STATE', 'a native link needs a pool of native memory');
    }
    this.hub = hub;
    this.handle = handle;
    this.name = name;
    this.deps = deps;
    this.events = events;
    this.metaId = hub.poller.register(this.meta);
    hub.watch(handle, () => {
      this.ready();
    });
  }

  /** Meets nobody any more; the socket is closed with the last peer. Idempotent. */
  close(): void {
    if (this.state !== 'open') return;
    this.state = 'leaving';
    this.unmute();
    this.rest();
  }

  /** A peer's link ended. */
  forget(peer: number): void {
    if (!this.peers.delete(peer)) return;
    this.hub.unwatch(peer);
    if (peer === this.meeting && this.state === 'open') this.muted.add(peer);
    else this.hub.poller.closeHandle(peer);
    this.rest();
  }

  /** Lets go of what only peers need, when there are none. */
  private rest(): void {
    if (this.peers.size > 0) return;
    if (this.muted.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
    if (this.state === 'leaving') this.shut();
    else if (!this.sorting) this.dropBlock();
  }

  private ready(): void {
    this.looked = false;
    for (let i = 0; i < BATCHES_PER_WAKE && this.isOpen(); i++) if (!this.receive()) return;
  }

  private isOpen(): boolean {
    return this.state !== 'closed';
  }

  /** Reads one batch; false when there is nothing more for now. */
  private receive(): boolean {
    const block = (this.block ??= this.deps.pool.take());
    const { region } = block;
    const { poller } = this.hub;
    const count = poller.datagramBatch(
      this.handle,
      region.id,
      this.used,
      region.bytes.length,
      this.metaId,
      BATCH_FRAMES,
    );
    this.sorting = true;
    if (count > 0) this.sort(block, count);
    this.sorting = false;
    if (this.isOpen()) this.letGo(block);
    if (count < 0) this.fail(count);
    return count === BATCH_FRAMES;
  }

  /** Hands each run of frames of one peer to it. */
  private sort(block: Block, count: number): void {
    const { meta } = this;
    const last = (count - 1) * META_STRIDE;
    this.used = (meta[last]! + meta[last + 1]! + 15) & ~15;
    for (let first = 0, next = 0; first < count && this.isOpen(); first = next) {
      const peer = meta[first * META_STRIDE + 3]!;
      const link = this.peers.get(peer) ?? this.meet(peer);
      const batch = batchOver(block);
      for (next = first; next < count && meta[next * META_STRIDE + 3] === peer; next++) {
        const at = next * META_STRIDE;
        if (meta[at + 1]! > 0) batch.add(meta[at]!, meta[at + 1]!, meta[at + 2]);
      }
      if (link !== undefined) link.deliver(batch, ++this.serial);
    }
  }

  /** A new peer; undefined when none is wanted. */
  private meet(peer: number): PeerLink | undefined {
    const { hub, deps } = this;
    if (this.muted.has(peer)) return undefined;
    if (this.state !== 'open') {
      hub.poller.closeHandle(peer);
      return undefined;
    }
    if (!this.looked) this.probe();
    this.looked = true;
    if (this.peers.size >= MAX_PEERS) this.evict();
    if (this.muted.size >= MAX_PEERS) this.unmute();
    const path = (hub.poller.peerPath(peer) ?? '').replace('\0', '@');
    const link = new PeerLink(hub, peer, `${this.name}#${path}`, this);
    this.peers.set(peer, link);
    this.timer ??= setInterval(() => {
      this.probe();
      this.unmute();
    }, deps.probeInterval ?? PROBE_INTERVAL).unref();
    this.meeting = peer;
    this.events.met(link);
    this.meeting = 0;
    return link;
  }

  /** Ends the links of peers that are not there any more. */
  private probe(): void {
    for (const [peer, link] of this.peers) {
      const result = this.hub.poller.peerProbe(peer);
      if (result === ECONNREFUSED || result === ENOENT) link.broke(result);
    }
  }

  /** Gives peers that nobody wanted another chance. */
  private unmute(): void {
    for (const peer of this.muted) this.hub.poller.closeHandle(peer);
    this.muted.clear();
    this.rest();
  }

  private evict(): void {
    let oldest: PeerLink | undefined;
    for (const link of this.peers.values()) {
      if (oldest === undefined || link.seen < oldest.seen) oldest = link;
    }
    oldest?.finish(
      new NetproxyError('ERR_NETPROXY_LINK', `${MAX_PEERS} other peers were heard of since its last frame`),
    );
    this.events.evicted();
  }

  /** Keeps a block only while somebody has slices of it and it has room. */
  private letGo(block: Block): void {
    const wanted = this.peers.size > 0 && block.refs > 1;
    if (!wanted || block.region.bytes.length - this.used < ROOM) this.dropBlock();
  }

  /** The socket itself is broken. */
  private fail(result: number): void {
    const error = nativeError('ERR_NETPROXY_LINK', this.name, result);
    this.deps.logger.warn(error.message, { kind: 'vfkit' });
    this.state = 'leaving';
    this.unmute();
    for (const link of [...this.peers.values()]) link.finish(error);
    if (this.isOpen()) this.shut();
  }

  private shut(): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    const { hub } = this;
    hub.unwatch(this.handle);
    hub.poller.closeHandle(this.handle);
    hub.poller.unregister(this.metaId);
    this.dropBlock();
  }

  private dropBlock(): void {
    this.block?.release();
    this.block = undefined;
    this.used = 0;
  }
}
