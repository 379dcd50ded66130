/** What links are made of and who is told about them. */
import type { BlockPool, Ipv4, Link, Logger, Mac } from '../core/index.js';

/** Links of one listener that live at once. */
export const MAX_LINKS = 1024;

/** What every link needs from its network. */
export interface LinkDeps {
  /** Where frames land; blocks of at least MAX_FRAME + 4 bytes (the default size fits). */
  readonly pool: BlockPool;
  readonly logger: Logger;
}

/** What a peer said about itself before its first frame. */
export interface LinkPeer {
  /** Socket path or address and a number, for people. */
  readonly name: string;
  /** vpnkit: the UUID that the guest keeps over restarts, and what was promised to it. */
  readonly uuid?: string;
  readonly mac?: Mac;
  readonly ip?: Ipv4;
}

/** A link that says when it ended, besides telling its handler: listeners count and connectors dial again. */
export interface OwnedLink extends Link {
  /** Called once, after the handler's `closed`; at once when it has ended already. */
  onEnd(callback: () => void): void;
}
