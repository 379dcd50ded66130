/** One client of a published UDP port, and the address and port that stand for it. */
import type { Neighbour } from '../arp/index.js';
import { type Ipv4, type Millis, Timer, ipv4 } from '../core/index.js';
import type { Stack } from '../stack/index.js';

export const UDP_CLIENT_IDLE: Millis = 90_000;

/** Who has clients. */
export interface ClientOwner {
  readonly guestPort: number;
  /** Takes it out of its published port; it was idle for UDP_CLIENT_IDLE, or killed. */
  drop(client: UdpClient): void;
  /** What the guest answers it. */
  fromGuest(client: UdpClient, bytes: Uint8Array): void;
  /** The guest said that its port is closed. */
  refused(client: UdpClient): void;
}

export class UdpClient {
  /** Unique among the flows of its network. */
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly owner: ClientOwner;
  readonly timer: Timer;
  readonly startedAt: Millis;
  /** Where its guest is now; another one when the guest came back, or has another address. */
  neighbour: Neighbour;
  /** When its guest was looked for last. */
  foundAt: Millis;
  /** Whom the guest sees. */
  ip: Ipv4 = ipv4(0);
  shownPort = 0;
  lastUsed: Millis;
  bytesToHost = 0;
  bytesToGuest = 0;

  constructor(stack: Stack, neighbour: Neighbour, owner: ClientOwner, host: string, port: number) {
    this.id = stack.flowId();
    this.neighbour = neighbour;
    this.owner = owner;
    this.host = host;
    this.port = port;
    this.foundAt = this.startedAt = this.lastUsed = stack.now();
    this.timer = new Timer((now) => {
      const due = this.lastUsed + UDP_CLIENT_IDLE;
      if (due > now) stack.timers.set(this.timer, due);
      else owner.drop(this);
    });
    stack.timers.set(this.timer, this.startedAt + UDP_CLIENT_IDLE);
    stack.rearm();
  }

  get guestPort(): number {
    return this.owner.guestPort;
  }

  get key(): string {
    return `${this.host}/${this.port}`;
  }

  /** Is this its guest's socket? Clones have the same address, each at a port of the switch of its own. */
  isWith(port: number, ip: Ipv4, guestPort: number): boolean {
    return this.neighbour.port === port && this.neighbour.ip === ip && this.guestPort === guestPort;
  }

  /** Forgets the client; its next datagram makes it a new one. */
  kill(): void {
    this.owner.drop(this);
  }
}
