/** A guest: one attachment with its name, addresses, policy and counters. */
import { type Ipv4, type Link, formatIpv4, macFrom } from '../core/index.js';
import type { DhcpSettings } from '../dhcp/index.js';
import type { CaptureSink } from '../link/index.js';
import type { Policy } from '../policy/index.js';
import type { PortOptions, StackPort } from '../stack/index.js';
import type { AttachOptions, NetworkConfig } from './types.js';

/** Who keeps guests: the network. */
export interface GuestOwner {
  /** The address leased to a guest. */
  leaseOf(guest: Guest): Ipv4 | undefined;
  detach(guest: Guest): void;
}

/** What the network and the guest's own options make of its port. */
export function portOptions(
  { switch: shared = {} }: NetworkConfig,
  options: AttachOptions,
  link: Link,
): PortOptions {
  const { mtu, memory, isolation = shared.isolation } = options;
  const up = options.rateUp ?? shared.rateUp;
  const down = options.rateDown ?? shared.rateDown;
  return { mtu, memory, isolated: isolation, rates: { up, down }, link };
}

export class Guest {
  /** Unique in its network, never used again. */
  readonly id: number;
  readonly name: string;
  /** What DHCP knows the attachment by: the same again for a guest that comes back. */
  readonly key: string;
  readonly link: Link;
  readonly port: StackPort;
  readonly policy: Policy;
  /** What it is told by DHCP, before what all are. */
  told: DhcpSettings | undefined;
  /** Gets every frame while somebody captures. */
  sink: CaptureSink | undefined;
  private readonly owner: GuestOwner;

  constructor(owner: GuestOwner, name: string, key: string, link: Link, port: StackPort, policy: Policy) {
    this.owner = owner;
    this.id = port.id;
    this.name = name;
    this.key = key;
    this.link = link;
    this.port = port;
    this.policy = policy;
  }

  /** Its address: the leased one, else the first that it used; undefined before both. */
  get address(): Ipv4 | undefined {
    const leased = this.owner.leaseOf(this);
    if (leased !== undefined) return leased;
    for (const neighbour of this.port.neighbours) return neighbour.ip;
    return undefined;
  }

  /** `address` as text. */
  get ip(): string | undefined {
    const { address } = this;
    return address === undefined ? undefined : formatIpv4(address);
  }

  /** MAC of its last frame as text; undefined before the first. */
  get mac(): string | undefined {
    const { lastMacHigh, lastMacLow } = this.port;
    return lastMacHigh < 0 ? undefined : macFrom(lastMacHigh, lastMacLow);
  }

  /** It sees no other guest. */
  get isolated(): boolean {
    return this.port.isolated;
  }

  get attached(): boolean {
    return !this.port.closed;
  }

  /** Frames and bytes both ways, and what the link counts. */
  get counters(): Readonly<Record<string, number>> {
    return { ...this.port.counters, ...this.link.stats };
  }

  /** Takes the guest off the network: its flows are reset, its link closed. Its lease stays. */
  detach(): void {
    this.owner.detach(this);
  }
}
