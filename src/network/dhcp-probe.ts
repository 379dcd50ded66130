/**
 * Whether an address is free, asked of the guests themselves before it is offered (RFC 2131 section 3.1, RFC 5227).
 *
 * Theory of operation. An OFFER of an address that its client had before goes out at once. So does one where nobody could
 * be using the address: no other guest has said anything yet, and nothing else was seen behind this guest's port. All
 * others are probed by one ARP request to all guests and wait PROBE_WAIT for an answer. Who answers keeps the address: it is
 * set aside as after a DECLINE, and the client is offered the next, MAX_TRIES at most. So a first boot is not slower for
 * it, and a lying guest costs the others a second at worst: after MAX_CONFLICTS answers it is not believed any more.
 */
import { type Ipv4, type Mac, type Millis, macHigh, macLow } from '../core/index.js';
import type { Stack, StackPort } from '../stack/index.js';

/** How long an answer is waited for, ms; hosts answer within a few. */
export const PROBE_WAIT: Millis = 250;
/** Addresses that one DISCOVER tries. */
export const MAX_TRIES = 4;
/** Answers of one guest that set addresses aside. */
export const MAX_CONFLICTS = 16;

export class AddressProbes {
  readonly counters = { sent: 0, inUse: 0, disbelieved: 0, skipped: 0 };
  private readonly stack: Stack;
  private readonly asking = new Set<Ipv4>();
  private readonly conflicts = new WeakMap<StackPort, number>();

  constructor(stack: Stack) {
    this.stack = stack;
  }

  /** Whether somebody else than this machine could be using an address. */
  isDoubtful(ip: Ipv4, mac: Mac, port: StackPort): boolean {
    const { stack } = this;
    const high = macHigh(mac);
    const low = macLow(mac);
    const known = stack.findNeighbour(ip);
    if (known !== undefined && (known.macHigh !== high || known.macLow !== low)) return true;
    for (const other of stack.ports())
      if (other !== port && !other.isolated && other.lastMacHigh >= 0) return true;
    for (const one of port.neighbours) if (one.macHigh !== high || one.macLow !== low) return true;
    return false;
  }

  isAsking(ip: Ipv4): boolean {
    return this.asking.has(ip);
  }

  /** Calls back with whether somebody else than this machine answers; at once with undefined where nobody can be asked. */
  ask(ip: Ipv4, mac: Mac, callback: (used: boolean | undefined) => void): void {
    const asked = this.stack.arp.probe(ip, mac, PROBE_WAIT, (port) => {
      this.asking.delete(ip);
      callback(port !== undefined && this.believes(port));
    });
    if (asked) {
      this.counters.sent++;
      this.asking.add(ip);
      return;
    }
    this.counters.skipped++;
    callback(undefined);
  }

  private believes(port: StackPort): boolean {
    const count = (this.conflicts.get(port) ?? 0) + 1;
    this.conflicts.set(port, count);
    if (count > MAX_CONFLICTS) {
      this.counters.disbelieved++;
      return false;
    }
    this.counters.inUse++;
    return true;
  }
}
