/** Links over TAP interfaces: opened here or in another network namespace, or handed over as a descriptor. Native only. */
import { nativeError } from './native-error.js';
import { NATIVE_KIND } from './native-hub.js';
import { NativeLink } from './native-link.js';
import type { ChannelDeps } from './channel.js';
import type { OwnedLink } from './types.js';
import { needNative } from './vsock.js';

/** A TAP by name; `netns` is a name (`ip netns add NAME`) or a path such as /proc/PID/ns/net. */
export interface TapSpec {
  readonly name: string;
  readonly netns?: string | undefined;
}

/**
 * Creates the interface, or attaches to one that is there. Throws ERR_NETPROXY_NATIVE without the addon, ERR_NETPROXY_LINK when
 * the system refuses.
 */
export function openTapLink(tap: TapSpec, deps: ChannelDeps): OwnedLink {
  const hub = needNative(deps, 'a TAP');
  const where = tap.netns === undefined ? '' : ` in the namespace ${tap.netns}`;
  const handle = hub.poller.linkOpenTap(tap.name, namespacePath(tap.netns), {
    vnetHeader: false,
    offloads: false,
  });
  if (handle < 0) {
    throw nativeError('ERR_NETPROXY_LINK', `cannot open the TAP ${tap.name}${where}`, handle, {
      remedy: 'It takes CAP_NET_ADMIN there and /dev/net/tun; `netproxy doctor` says what this host allows.',
    });
  }
  return tapHandleLink(handle, deps, `${tap.name}${where}`);
}

/** Makes a link of an open TAP descriptor; owned from here on. */
export function adoptTapLink(fd: number, deps: ChannelDeps): OwnedLink {
  const hub = needNative(deps, 'a TAP');
  const handle = hub.poller.linkAdopt(fd, NATIVE_KIND.tap, false);
  if (handle < 0) {
    throw nativeError('ERR_NETPROXY_LINK', `descriptor ${fd} is no TAP`, handle, {
      remedy: 'Open /dev/net/tun and TUNSETIFF it with IFF_TAP before it is handed over.',
    });
  }
  return tapHandleLink(handle, deps, `fd ${fd}`);
}

/** A TAP that the poller holds already. */
export function tapHandleLink(handle: number, deps: ChannelDeps, name?: string): OwnedLink {
  const hub = needNative(deps, 'a TAP');
  const interfaceName = hub.poller.linkInfo(handle)?.name ?? '';
  return new NativeLink(hub, handle, { kind: 'tap', name: name ?? interfaceName }, deps);
}

function namespacePath(netns: string | undefined): string | null {
  if (netns === undefined) return null;
  return netns.includes('/') ? netns : `/run/netns/${netns}`;
}
