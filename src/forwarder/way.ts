/** How a flow gets where a guest wants to go, where it is not the host's connect() that leads there. */
import type { Errno, Ipv4 } from '../core/index.js';
import type { StackPort } from '../stack/index.js';
import type { GuestStream } from './guest-stream.js';

/** A way to where a guest wants to go that is not the host's connect(): by a proxy. */
export interface Way {
  /** Finds it, perhaps again; calls back once, not from inside. Undefined: it stands, and the guest is answered. */
  open(done: (errno: Errno | undefined) => void): void;
  /** The guest's connection stands, too. */
  take(stream: GuestStream): void;
  /** The guest gave up, or was refused. */
  drop(): void;
}

/** Who knows another way; undefined: the host connects. */
export type WayOf = (port: StackPort, ip: Ipv4, destinationPort: number) => Way | undefined;
