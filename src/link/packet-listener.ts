/**
 * Listeners of packet sockets: `bess` (seqpacket, a connection per guest) and `vfkit` (datagrams, a sender's address per
 * guest). Node has no such sockets: the native layer owns them. Frames need no handshake; vfkit's is swallowed.
 */
import { constants } from 'node:os';
import { DatagramPort } from './datagram-port.js';
import type { ListenDeps, LinkListener } from './listener.js';
import { newStats } from './listener-stats.js';
import { NATIVE_KIND, READY, SEND_BUFFER_OPTION } from './native-hub.js';
import type { NativeHub } from './native-hub.js';
import { NativeLink } from './native-link.js';
import { formatLinkAddress } from './spec.js';
import type { LinkAddress, PacketKind } from './spec.js';
import { MAX_LINKS } from './types.js';
import type { OwnedLink } from './types.js';
import { bindUnix } from './unix-path.js';
import type { BoundPath } from './unix-path.js';
import { needNative } from './vsock.js';

const BACKLOG = 128;
/** Connections taken per wake-up; epoll reports the rest again. */
const ACCEPT_BURST = 16;
/** Pause of a listener when the process has no descriptors left, ms. */
const ACCEPT_PAUSE = 100;
/** Bytes that a socket may hold of what we sent, and a datagram socket of what came. */
const SEND_BUFFER = 1024 * 1024;
const RECEIVE_BUFFER = 4 * 1024 * 1024;

const { EMFILE, ENFILE, ENOBUFS, ENOMEM } = constants.errno;
const WEATHER: ReadonlySet<number> = new Set([-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM]);
const EAGAIN = -constants.errno.EAGAIN;

/** Listens. Rejects with ERR_NETPROXY_NATIVE or ERR_NETPROXY_LISTEN. */
export async function listenPackets(
  kind: PacketKind,
  address: LinkAddress,
  deps: ListenDeps,
): Promise<LinkListener> {
  const hub = needNative(deps, kind);
  const socketPath = address.transport === 'unix' ? address.path : '';
  const listener = new PacketListener(kind, formatLinkAddress(address), hub, deps);
  if (kind === 'bess') {
    const { handle, bound } = await bindUnix(socketPath, (file) => hub.poller.seqpacketListen(file, BACKLOG));
    listener.seqpacket(handle, bound);
  } else {
    const { handle, bound } = await bindUnix(socketPath, (file) =>
      hub.poller.datagramListen(file, RECEIVE_BUFFER, SEND_BUFFER),
    );
    listener.datagram(handle, bound);
  }
  return listener;
}

class PacketListener implements LinkListener {
  readonly kind: PacketKind;
  readonly address: string;
  readonly stats = newStats();
  private readonly hub: NativeHub;
  private readonly deps: ListenDeps;
  private serial = 0;
  private stop: (() => void) | undefined;

  constructor(kind: PacketKind, address: string, hub: NativeHub, deps: ListenDeps) {
    this.kind = kind;
    this.address = address;
    this.hub = hub;
    this.deps = deps;
  }

  close(): Promise<void> {
    this.stop?.();
    this.stop = undefined;
    return Promise.resolve();
  }

  /** Takes connections from a listening handle. */
  seqpacket(listener: number, bound: BoundPath): void {
    const { hub } = this;
    let resume: NodeJS.Timeout | undefined;
    hub.watch(listener, () => {
      for (let i = 0; i < ACCEPT_BURST; i++) {
        const handle = hub.poller.accept(listener, 0);
        if (handle === EAGAIN) return;
        if (handle >= 0) {
          this.accepted(handle);
        } else if (WEATHER.has(handle)) {
          // The clients wait in the backlog until descriptors or memory are back.
          hub.poller.interest(listener, 0);
          resume = setTimeout(() => hub.poller.interest(listener, READY.read), ACCEPT_PAUSE).unref();
          return;
        }
      }
    });
    this.stop = () => {
      clearTimeout(resume);
      bound.release();
      hub.unwatch(listener);
      hub.poller.closeHandle(listener);
    };
  }

  /** Meets peers at a datagram handle. */
  datagram(handle: number, bound: BoundPath): void {
    const port = new DatagramPort(this.hub, handle, this.address, this.deps, {
      met: (link) => {
        this.enter(link);
      },
      evicted: () => {
        this.stats.evicted++;
      },
    });
    this.stop = () => {
      bound.release();
      port.close();
    };
  }

  private accepted(handle: number): void {
    const { hub, stats } = this;
    const { poller } = hub;
    poller.setOption(handle, SEND_BUFFER_OPTION, SEND_BUFFER);
    const full = stats.links >= MAX_LINKS;
    if (full || poller.streamToLink(handle, NATIVE_KIND.seqpacket, 0, 0, 0) < 0) {
      if (full) stats.overLimit++;
      else stats.refused++;
      poller.closeHandle(handle);
      return;
    }
    const name = `${this.address}#${++this.serial}`;
    this.enter(new NativeLink(hub, handle, { kind: this.kind, name }, this.deps));
  }

  private enter(link: OwnedLink): void {
    const { stats } = this;
    stats.accepted++;
    stats.links++;
    link.onEnd(() => stats.links--);
    this.deps.onLink(link, { name: link.name });
  }
}
