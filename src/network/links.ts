/** How guests come onto the network: listeners, connected descriptors, TAPs, standard input and output. */
import type { Socket } from 'node:net';
import { type BlockPool, type Link, type Logger, NetproxyError } from '../core/index.js';
import {
  type AcceptDeps,
  type LinkListener,
  type LinkPeer,
  type ListenKind,
  type NativeHub,
  type TapOptions,
  type VpnkitAssign,
  acceptSocket,
  fdLink,
  listenLinks,
  tapLink,
  tapFdLink,
  stdioLink,
  tapHandleLink,
} from '../link/index.js';
import type { Guest } from './guest.js';
import type { AttachOptions } from './types.js';

/** Takes a connection that is an HTTP client's; `at`: the listener's address as it was given. */
export type Control = (socket: Socket, at: string) => void;

/** How guests of one listener are attached. */
export type LinkOptions = AttachOptions;

export interface LinksDeps {
  readonly pool: BlockPool;
  readonly logger: Logger;
  readonly hub: NativeHub | undefined;
  readonly mtu: number;
  readonly assign: VpnkitAssign;
  readonly attach: (link: Link, options: AttachOptions & { readonly key?: string | undefined }) => Guest;
}

export class Links {
  control: Control | undefined;
  private readonly deps: LinksDeps;
  private readonly listeners = new Set<LinkListener>();

  constructor(deps: LinksDeps) {
    this.deps = deps;
  }

  async listen(kind: ListenKind, where: string, options: LinkOptions): Promise<LinkListener> {
    const listener = await listenLinks(kind, where, {
      ...this.acceptDeps(where),
      onLink: (link, peer) => {
        try {
          this.enter(link, peer, options);
        } catch (error) {
          link.close();
          this.deps.logger.error(
            `link ${link.name}: ${error instanceof Error ? error.message : String(error)}`,
          );
        }
      },
    });
    this.listeners.add(listener);
    return listener;
  }

  async accept(
    source: Socket | number,
    options: LinkOptions & { readonly framing: 'qemu' | 'vpnkit' | 'connect' },
  ): Promise<Guest> {
    const deps = this.acceptDeps(typeof source === 'number' ? `fd:${source}` : 'socket');
    const accepted =
      typeof source === 'number'
        ? await fdLink(source, options.framing, deps)
        : await acceptSocket(source, options.framing, source.remoteAddress ?? 'socket', deps);
    if (accepted === undefined)
      throw new NetproxyError('ERR_NETPROXY_PROTOCOL', 'the connection is an HTTP client, not a guest');
    return this.enter(accepted.link, accepted.peer, options);
  }

  openTap(tap: TapOptions, options: AttachOptions): Guest {
    return this.deps.attach(tapLink({ ...tap, offloads: tap.offloads ?? true }, this.linkDeps()), options);
  }

  adoptTap(fd: number, options: AttachOptions): Guest {
    return this.deps.attach(tapFdLink(fd, this.linkDeps()), options);
  }

  tapHandle(handle: number, options: AttachOptions): Guest {
    return this.deps.attach(
      tapHandleLink(handle, options.name ?? 'tap', options.mtu ?? this.deps.mtu, this.linkDeps()),
      options,
    );
  }

  stdio(options: AttachOptions): Guest {
    return this.deps.attach(stdioLink(this.linkDeps()), options);
  }

  async closeListeners(): Promise<void> {
    const all = [...this.listeners];
    this.listeners.clear();
    await Promise.all(all.map((listener) => listener.close()));
  }

  private enter(link: Link, peer: LinkPeer, options: LinkOptions): Guest {
    // A listener lets many guests in; a name that is taken gives way to a numbered one.
    const named = peer.uuid === undefined ? {} : { key: peer.uuid };
    return this.deps.attach(link, { ...options, ...named });
  }

  private linkDeps() {
    const { pool, logger, hub } = this.deps;
    return { pool, logger, native: hub };
  }

  private acceptDeps(at: string): AcceptDeps {
    const { assign, mtu } = this.deps;
    return {
      ...this.linkDeps(),
      assign,
      mtu,
      ...(this.control === undefined ? {} : { http: (socket: Socket) => this.control?.(socket, at) }),
    };
  }
}
