/** The handshake of a connection whose descriptor the native layer owns (vsock). */
import type { Socket } from 'node:net';
import type { ByteChannel, ChannelDeps } from './channel.js';
import type { Framing } from './framing.js';
import { nativeError } from './native-error.js';
import { NATIVE_KIND, READY } from './native-hub.js';
import type { NativeHub } from './native-hub.js';
import { NativeLink } from './native-link.js';
import type { OwnedLink } from './types.js';

const CHUNK = 16 * 1024;
/** Time for the peer to read a last word, ms. */
const LINGER = 1000;

export class NativeChannel implements ByteChannel {
  readonly name: string;
  private readonly hub: NativeHub;
  private readonly handle: number;
  private readonly buffer = new Uint8Array(CHUNK);
  private readonly bufferId: number;
  private readonly slice = new Int32Array(3);
  private readonly sliceId: number;
  private waiting: ((chunk: Uint8Array | undefined) => void) | undefined;
  private state: 'open' | 'ending' | 'gone' = 'open';

  constructor(hub: NativeHub, handle: number, name: string) {
    this.hub = hub;
    this.handle = handle;
    this.name = name;
    this.bufferId = hub.poller.register(this.buffer);
    this.sliceId = hub.poller.register(this.slice);
    hub.watch(handle, () => {
      this.ready();
    });
    hub.poller.interest(handle, 0);
  }

  read(): Promise<Uint8Array | undefined> {
    if (this.state !== 'open') return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.waiting = resolve;
      this.hub.poller.interest(this.handle, READY.read);
    });
  }

  /** What a handshake says is far smaller than any socket buffer: it goes at once or the connection is broken. */
  write(bytes: Uint8Array): Promise<void> {
    if (this.state !== 'open') return Promise.resolve();
    const id = this.hub.poller.register(bytes);
    this.slice.set([id, 0, bytes.length]);
    const written = this.hub.poller.writev(this.handle, this.sliceId, 0, 1);
    this.hub.poller.unregister(id);
    if (written !== bytes.length) this.destroy();
    return Promise.resolve();
  }

  end(bytes: Uint8Array): void {
    void this.write(bytes);
    if (this.state !== 'open') return;
    this.state = 'ending';
    this.hub.poller.shutdownWrite(this.handle);
    this.hub.poller.interest(this.handle, READY.read);
    setTimeout(() => {
      this.release(true);
    }, LINGER).unref();
  }

  destroy(): void {
    if (this.state === 'open') this.release(true);
  }

  toLink(kind: string, framing: Framing, rest: Uint8Array, deps: ChannelDeps): OwnedLink {
    const { hub, handle, name } = this;
    this.release(false);
    return streamLink(hub, handle, { kind, name, framing }, rest, deps);
  }

  toSocket(): Socket | undefined {
    return undefined;
  }

  private ready(): void {
    const { waiting, hub, handle } = this;
    if (this.state === 'open' && waiting === undefined) return;
    const count = hub.poller.readv(handle, this.bufferId, 0, CHUNK, 0, 0);
    if (this.state === 'ending') {
      // Thrown away: closing with unread bytes would reset the connection under the last word.
      if (count <= 0) this.release(true);
      return;
    }
    this.waiting = undefined;
    hub.poller.interest(handle, 0);
    if (count > 0) waiting?.(this.buffer.slice(0, count));
    else this.release(true, waiting);
  }

  /** Gives the buffers back; `close`: and the descriptor. */
  private release(close: boolean, waiting = this.waiting): void {
    if (this.state === 'gone') return;
    this.state = 'gone';
    const { hub, handle } = this;
    hub.unwatch(handle);
    if (close) hub.poller.closeHandle(handle);
    hub.poller.unregister(this.bufferId);
    hub.poller.unregister(this.sliceId);
    this.waiting = undefined;
    waiting?.(undefined);
  }
}

/** Makes a link of a native stream handle whose first bytes are `rest`. Throws ERR_NETPROXY_LINK; the handle is closed then. */
export function streamLink(
  hub: NativeHub,
  handle: number,
  options: { readonly kind: string; readonly name: string; readonly framing: Framing },
  rest: Uint8Array,
  deps: ChannelDeps,
): NativeLink {
  const { poller } = hub;
  const { kind, name, framing } = options;
  const bytes = Uint8Array.from(rest.length === 0 ? [0] : rest);
  const id = poller.register(bytes);
  const nativeKind = framing.name === 'u32be' ? NATIVE_KIND.be32 : NATIVE_KIND.le16;
  const result = poller.streamToLink(handle, nativeKind, id, 0, rest.length);
  poller.unregister(id);
  if (result < 0) {
    poller.closeHandle(handle);
    throw nativeError('ERR_NETPROXY_LINK', name, result);
  }
  return new NativeLink(hub, handle, { kind, name }, deps);
}
