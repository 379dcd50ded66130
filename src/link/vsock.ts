/** AF_VSOCK listeners and dials, through the native layer: Node has no such sockets. */
import { NetproxyError } from '../core/index.js';
import type { ByteChannel, ChannelDeps } from './channel.js';
import { NativeChannel } from './native-channel.js';
import type { NativeHub } from './native-hub.js';
import { nativeError } from './native-error.js';
import type { LinkAddress } from './spec.js';

type VsockAddress = Extract<LinkAddress, { transport: 'vsock' }>;

const BACKLOG = 128;
/** Connections taken per wake-up: the others get their turn, epoll reports the rest again. */
const ACCEPT_BURST = 16;
/** Int32 values that `accept` writes; the peer's port and CID are the second and third. */
const ACCEPT_INTS = 6;

/** Listens on a port of every CID of this machine; returns the function that stops it. Throws a NetproxyError. */
export function listenVsock(
  address: VsockAddress,
  deps: ChannelDeps,
  enter: (channel: ByteChannel) => void,
): () => void {
  const hub = needNative(deps, 'vsock');
  const { poller } = hub;
  const listener = poller.vsockListen(address.port, BACKLOG);
  if (listener < 0) {
    throw nativeError('ERR_NETPROXY_LISTEN', `cannot listen on vsock port ${address.port}`, listener, {
      remedy:
        'Load the module vhost_vsock (host) or vmw_vsock_virtio_transport (guest), or choose another port.',
    });
  }
  const peer = new Int32Array(ACCEPT_INTS);
  const peerId = poller.register(peer);
  hub.watch(listener, () => {
    for (let i = 0; i < ACCEPT_BURST; i++) {
      const handle = poller.accept(listener, peerId);
      if (handle < 0) return;
      const name = `vsock://${peer[2]! >>> 0}:${peer[1]! >>> 0}`;
      enter(new NativeChannel(hub, handle, name));
    }
  });
  let open = true;
  return () => {
    if (!open) return;
    open = false;
    hub.unwatch(listener);
    poller.closeHandle(listener);
    poller.unregister(peerId);
  };
}

/** Connects to a port of a CID. Rejects with ERR_NETPROXY_NATIVE or ERR_NETPROXY_DIAL. */
export async function dialVsock(
  address: VsockAddress,
  name: string,
  deps: ChannelDeps,
): Promise<ByteChannel> {
  const hub = needNative(deps, 'vsock');
  const { poller } = hub;
  const handle = poller.vsockConnect(address.cid ?? 0xffffffff, address.port);
  const outcome = handle < 0 ? handle : await connected(hub, handle);
  if (outcome >= 0) return new NativeChannel(hub, handle, name);
  throw nativeError(
    'ERR_NETPROXY_DIAL',
    `cannot connect to vsock://${address.cid ?? ''}:${address.port}`,
    outcome,
    {
      remedy: 'Start the other side first, and check the CID.',
    },
  );
}

/** Waits until the connect is decided: 0, or the errno; then the handle is closed. */
function connected(hub: NativeHub, handle: number): Promise<number> {
  return new Promise((resolve) => {
    hub.watch(handle, () => {
      hub.unwatch(handle);
      const outcome = hub.poller.soError(handle);
      if (outcome < 0) hub.poller.closeHandle(handle);
      else hub.poller.interest(handle, 0);
      resolve(outcome);
    });
  });
}

/** The native layer, or the error that says how to get it. */
export function needNative(deps: ChannelDeps, what: string): NativeHub {
  if (deps.native !== undefined) return deps.native;
  throw new NetproxyError('ERR_NETPROXY_NATIVE', `${what} needs the native addon, which is not loaded`, {
    remedy: 'Run `npm run build:native` (it needs cargo); `netproxy doctor` says more.',
  });
}
