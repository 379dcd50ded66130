/** One client of a published UDP port, and the port of the gateway that stands for it. */
import type { Neighbour } from '../arp/index.js';
import { type Ipv4, type Millis, Timer } from '../core/index.js';
import type { Stack } from '../stack/index.js';

export const UDP_CLIENT_IDLE: Millis = 90_000;

export class UdpClient {
  /** Unique among the flows of its network. */
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly guestPort: number;
  readonly neighbour: Neighbour;
  readonly timer: Timer;
  readonly startedAt: Millis;
  /** Of the gateway. */
  gatewayPort = 0;
  lastUsed: Millis;
  bytesToHost = 0;
  bytesToGuest = 0;
  private readonly drop: (client: UdpClient) => void;

  /** `drop` takes it out of its published port; called when it is idle for UDP_CLIENT_IDLE, or killed. */
  constructor(
    stack: Stack,
    neighbour: Neighbour,
    guestPort: number,
    host: string,
    port: number,
    drop: (client: UdpClient) => void,
  ) {
    this.id = stack.flowId();
    this.neighbour = neighbour;
    this.guestPort = guestPort;
    this.host = host;
    this.port = port;
    this.drop = drop;
    this.startedAt = this.lastUsed = stack.now();
    this.timer = new Timer((now) => {
      const due = this.lastUsed + UDP_CLIENT_IDLE;
      if (due > now) stack.timers.set(this.timer, due);
      else drop(this);
    });
    stack.timers.set(this.timer, this.startedAt + UDP_CLIENT_IDLE);
    stack.rearm();
  }

  get key(): string {
    return `${this.host}/${this.port}`;
  }

  /** Is this its guest? Clones have the same address, each at a port of the switch of its own. */
  isWith(port: number, ip: Ipv4): boolean {
    return this.neighbour.port === port && this.neighbour.ip === ip;
  }

  /** Forgets the client; its next datagram makes it a new one. */
  kill(): void {
    this.drop(this);
  }
}
