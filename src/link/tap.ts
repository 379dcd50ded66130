/** TAP interfaces as links, through the native layer. */
import { existsSync } from 'node:fs';
import { NetproxyError } from '../core/index.js';
import type { ChannelDeps } from './channel.js';
import { nativeError } from './native-error.js';
import { NATIVE_KIND } from './native-hub.js';
import type { NativeHub } from './native-hub.js';
import { NativeLink } from './native-link.js';
import type { OwnedLink } from './types.js';
import { needNative } from './vsock.js';

/** Longest name of an interface, bytes (IFNAMSIZ without its NUL). */
const NAME_MAX = 15;

export interface TapOptions {
  /** Interface name; created when it does not exist, and gone with the link then. */
  readonly name: string;
  /** Network namespace, a name of `ip netns` or a path such as /proc/812/ns/net; ours when absent. */
  readonly netns?: string | undefined;
  /** Take and hand over super-segments and unfilled checksums (IFF_VNET_HDR). Default false. */
  readonly offloads?: boolean | undefined;
}

/** Opens a TAP. Throws ERR_NETPROXY_NATIVE (no addon), ERR_NETPROXY_CONFIG (its name) or ERR_NETPROXY_LINK. */
export function tapLink(options: TapOptions, deps: ChannelDeps): OwnedLink {
  const { name, netns, offloads = false } = options;
  const hub = needNative(deps, 'tap');
  if (!/^[^\s/:]+$/.test(name) || Buffer.byteLength(name) > NAME_MAX || name === '.' || name === '..') {
    throw new NetproxyError('ERR_NETPROXY_CONFIG', `tap: "${name}" is no interface name`, {
      remedy: `Allowed: 1 to ${NAME_MAX} bytes without spaces, slashes and colons, such as tap0.`,
    });
  }
  const space = netns === undefined || netns.includes('/') ? netns : `/run/netns/${netns}`;
  const handle = hub.poller.linkOpenTap(name, space ?? null, { vnetHeader: offloads, offloads });
  const where = space === undefined ? '' : ` in ${space}`;
  if (handle < 0) throw cannotOpen(`tap ${name}${where}`, handle, space);
  // Another interface of that name in our own namespace would be asked for its MTU.
  return open(hub, handle, `${name}${where}`, deps, space === undefined);
}

/** A TAP that a parent opened and handed down; the descriptor is owned from here on. Throws as `tapLink`. */
export function tapFdLink(fd: number, deps: ChannelDeps): OwnedLink {
  const hub = needNative(deps, 'tap');
  const handle = hub.poller.linkAdopt(fd, NATIVE_KIND.tap, false);
  if (handle < 0) {
    throw nativeError('ERR_NETPROXY_LINK', `descriptor ${fd} is no TAP that can be used`, handle, {
      remedy: 'Pass a descriptor of /dev/net/tun after TUNSETIFF with IFF_TAP.',
    });
  }
  return open(hub, handle, `fd:${fd}`, deps, true);
}

/** The link of a TAP handle that the native layer made (`netproxy run`); the handle is owned from here on. */
export function tapHandleLink(handle: number, name: string, mtu: number, deps: ChannelDeps): OwnedLink {
  return new NativeLink(needNative(deps, 'tap'), handle, { kind: 'tap', name, mtu }, deps);
}

function open(hub: NativeHub, handle: number, name: string, deps: ChannelDeps, askMtu: boolean): OwnedLink {
  const mtu = askMtu ? (hub.poller.linkInfo(handle)?.mtu ?? 0) : 0;
  return new NativeLink(hub, handle, { kind: 'tap', name, mtu }, deps);
}

function cannotOpen(what: string, result: number, space: string | undefined): NetproxyError {
  const error = nativeError('ERR_NETPROXY_LINK', '', result);
  let remedy = 'Look at the reason above; `netproxy doctor` says what this host can do.';
  if (error.errno === 'EPERM' || error.errno === 'EACCES') {
    remedy = 'Run it as root or with CAP_NET_ADMIN; `netproxy run` needs neither.';
  } else if (error.errno === 'EBUSY') {
    remedy = 'Stop the process that has it open, or choose another name.';
  } else if (error.errno === 'EINVAL') {
    remedy = 'An interface of that name exists and is no TAP: choose another name.';
  } else if (space !== undefined && !existsSync(space)) {
    remedy = 'Create the namespace first: ip netns add NAME.';
  } else if (error.errno === 'ENOENT' || error.errno === 'ENODEV') {
    remedy = 'Load the module: modprobe tun; a container needs /dev/net/tun passed in.';
  }
  return nativeError('ERR_NETPROXY_LINK', `cannot open ${what}`, result, { remedy });
}
