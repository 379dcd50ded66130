/**
 * Notifications: for each event the socket is dialled, one line of JSON is written, and the connection ends.
 *
 * Limits: MAX_WAITING events wait for a listener that is slow; one gets TIMEOUT to take its line.
 */
import { connect } from 'node:net';
import type { Logger } from '../../core/index.js';
import type { Guest, Network } from '../../index.js';

export const MAX_WAITING = 256;
/** ms. */
const TIMEOUT = 5000;
/** How often a guest without a MAC address is looked at, ms. */
const LOOK = 50;

interface Notification {
  readonly notification_type: 'ready' | 'connection_established' | 'connection_closed' | 'hypervisor_error';
  readonly mac_address?: string;
}

export class Notifier {
  private readonly path: string;
  private readonly network: Network;
  private readonly logger: Logger;
  private readonly waiting: Notification[] = [];
  private sending = false;
  private told = false;
  /** Guests whose MAC address is not known yet, and those that were announced. */
  private readonly silent = new Set<Guest>();
  private readonly announced = new Map<Guest, string>();
  private timer: NodeJS.Timeout | undefined;

  constructor(path: string, network: Network, logger: Logger) {
    this.path = path;
    this.network = network;
    this.logger = logger;
    network.on('attached', this.attached);
    network.on('detached', this.detached);
  }

  ready(): void {
    this.send({ notification_type: 'ready' });
  }

  /** What waits is still sent. */
  close(): void {
    clearInterval(this.timer);
    this.network.off('attached', this.attached).off('detached', this.detached);
  }

  private readonly attached = (guest: Guest): void => {
    this.silent.add(guest);
    this.timer ??= setInterval(() => {
      this.look();
    }, LOOK).unref();
  };

  private readonly detached = (guest: Guest, reason: Error | undefined): void => {
    this.announce(guest);
    this.silent.delete(guest);
    const mac = this.announced.get(guest);
    this.announced.delete(guest);
    if (reason !== undefined) this.send({ notification_type: 'hypervisor_error' });
    if (mac !== undefined) this.send({ notification_type: 'connection_closed', mac_address: mac });
  };

  private look(): void {
    for (const guest of this.silent) this.announce(guest);
    if (this.silent.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private announce(guest: Guest): void {
    const { mac } = guest;
    if (mac === undefined || !this.silent.delete(guest)) return;
    this.announced.set(guest, mac);
    this.send({ notification_type: 'connection_established', mac_address: mac });
  }

  private send(notification: Notification): void {
    if (this.waiting.length >= MAX_WAITING) {
      this.complain('they are not taken');
      return;
    }
    this.waiting.push(notification);
    if (!this.sending) void this.deliver();
  }

  /** One after the other, so that they arrive in their order. */
  private async deliver(): Promise<void> {
    this.sending = true;
    for (let next = this.waiting.shift(); next !== undefined; next = this.waiting.shift()) {
      const why = await this.write(`${JSON.stringify(next)}\n`);
      if (why === undefined) this.told = false;
      else this.complain(why);
    }
    this.sending = false;
  }

  /** Resolves with what went wrong. */
  private write(line: string): Promise<string | undefined> {
    return new Promise((resolve) => {
      const socket = connect({ path: this.path, timeout: TIMEOUT });
      socket.once('timeout', () => socket.destroy(new Error('it does not answer')));
      socket.once('error', (error) => resolve(error.message));
      socket.once('close', () => resolve(undefined));
      socket.end(line);
      socket.resume();
    });
  }

  private complain(why: string): void {
    if (!this.told) this.logger.warn(`notifications at ${this.path}: ${why}`);
    this.told = true;
  }
}
