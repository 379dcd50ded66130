/** ARP of the gateway: answers for its own addresses, learns from what it sees, asks where a guest is (RFC 826). */
import { ARP_LENGTH, ARP_REPLY, ARP_REQUEST, type Neighbour, parseArp } from '../arp/index.js';
import {
  IPV4_ANY,
  type Ipv4,
  type Mac,
  MAC_BROADCAST,
  MAC_ZERO,
  type Millis,
  type Region,
  Timer,
  cidrContains,
  macHigh,
  macLow,
} from '../core/index.js';
import { ETH_HEADER } from '../ethernet/index.js';
import type { StackPort } from './port.js';
import type { Stack } from './stack.js';

/** Questions under way at once. */
export const MAX_ARP_PENDING = 256;
/** Times a question is asked, and how long each waits (RFC 1122 section 2.3.2.1: at most one a second). */
export const ARP_TRIES = 3;
export const ARP_WAIT: Millis = 1000;

/** Who waits for the answer to one question, at most. */
export const MAX_ARP_WAITING = 32_768;

/** Probes under way at once. */
export const MAX_ARP_PROBES = 64;

/** Who was found under an address that is about to be given to another. */
interface Probe {
  readonly timer: Timer;
  readonly done: (port: StackPort | undefined) => void;
  readonly macHigh: number;
  readonly macLow: number;
}

interface Question {
  tries: number;
  readonly timer: Timer;
  readonly waiting: ((neighbour: Neighbour | undefined) => void)[];
}

export class ArpService {
  private readonly stack: Stack;
  private readonly questions = new Map<Ipv4, Question>();
  private readonly probes = new Map<Ipv4, Probe>();

  constructor(stack: Stack) {
    this.stack = stack;
  }

  /** An ARP packet at `at`, behind its Ethernet header; `length` bytes are there. */
  input(port: StackPort, region: Region, at: number, length: number): void {
    const { stack } = this;
    if (!port.storm.arp.take(stack.now(), 1)) {
      stack.counters.arpLimited++;
      return;
    }
    const packet = length < ARP_LENGTH ? undefined : parseArp(region.bytes, at, length);
    if (packet === undefined) {
      stack.counters.badArp++;
      return;
    }
    if (!stack.guard.isOwnArp(port, region.view, at - ETH_HEADER, at)) return;
    const { subnet } = stack.config;
    const { senderIp, senderMac } = packet;
    if (cidrContains(subnet, senderIp) && senderIp !== subnet.base && stack.guard.mayUse(port, senderIp)) {
      const neighbour = stack.learn(port, senderIp, macHigh(senderMac), macLow(senderMac));
      this.answered(neighbour);
      this.found(port, neighbour);
    } else if (senderIp !== 0) {
      stack.counters.spoofedSource++;
      port.counters.spoofed++;
      return;
    }
    if (packet.operation !== ARP_REQUEST || !stack.isOurs(packet.targetIp)) return;
    const { gatewayMac } = stack.config;
    stack.packets.arp(
      port,
      {
        operation: ARP_REPLY,
        senderMac: gatewayMac,
        senderIp: packet.targetIp,
        targetMac: senderMac,
        targetIp: senderIp,
      },
      macHigh(senderMac),
      macLow(senderMac),
    );
  }

  /** Where an address is; undefined when nobody answers in time. The callback may come at once. */
  resolve(ip: Ipv4, callback: (neighbour: Neighbour | undefined) => void): void {
    const known = this.stack.findNeighbour(ip);
    if (known !== undefined) {
      callback(known);
      return;
    }
    const asked = this.questions.get(ip);
    if (asked !== undefined && asked.waiting.length < MAX_ARP_WAITING) {
      asked.waiting.push(callback);
      return;
    }
    if (asked !== undefined || this.questions.size >= MAX_ARP_PENDING) {
      this.stack.counters.arpPendingFull++;
      callback(undefined);
      return;
    }
    const question: Question = {
      tries: 0,
      timer: new Timer((now) => {
        this.ask(ip, question, now);
      }),
      waiting: [callback],
    };
    this.questions.set(ip, question);
    this.ask(ip, question, this.stack.now());
  }

  /**
   * Asks all guests once for an address (RFC 5227 section 2.1.1: from nobody's address, so that nobody learns anything),
   * and calls back with the port of the first that answers from another MAC address than the one given, or with
   * undefined after `wait` ms. Returns false, and does nothing, when the address is being probed or too much is.
   */
  probe(ip: Ipv4, mac: Mac, wait: Millis, done: (port: StackPort | undefined) => void): boolean {
    if (this.probes.has(ip) || this.probes.size >= MAX_ARP_PROBES) return false;
    const timer = new Timer(() => {
      this.probes.delete(ip);
      done(undefined);
    });
    this.probes.set(ip, { timer, done, macHigh: macHigh(mac), macLow: macLow(mac) });
    this.broadcast(ip, IPV4_ANY);
    this.stack.timers.set(timer, this.stack.now() + wait);
    this.stack.rearm();
    return true;
  }

  /** Tells everybody who waits that there will be no answer. */
  clear(): void {
    for (const [ip, { timer }] of this.probes) {
      this.stack.timers.cancel(timer);
      this.probes.delete(ip);
    }
    for (const [ip, question] of this.questions) this.end(ip, question, undefined);
  }

  private ask(ip: Ipv4, question: Question, now: Millis): void {
    const { stack } = this;
    if (question.tries >= ARP_TRIES) {
      this.end(ip, question, undefined);
      return;
    }
    question.tries++;
    this.broadcast(ip, stack.config.gatewayIp);
    stack.timers.set(question.timer, now + ARP_WAIT);
    stack.rearm();
  }

  private broadcast(targetIp: Ipv4, senderIp: Ipv4): void {
    const { stack } = this;
    const senderMac = stack.config.gatewayMac;
    const request = { operation: ARP_REQUEST, senderMac, senderIp, targetMac: MAC_ZERO, targetIp };
    for (const port of stack.ports()) {
      stack.packets.arp(port, request, macHigh(MAC_BROADCAST), macLow(MAC_BROADCAST));
    }
  }

  private found(port: StackPort, { ip, macHigh: high, macLow: low }: Neighbour): void {
    // An isolated guest is in nobody's way, whatever address it has.
    const probe = port.isolated ? undefined : this.probes.get(ip);
    if (probe === undefined || (probe.macHigh === high && probe.macLow === low)) return;
    this.probes.delete(ip);
    this.stack.timers.cancel(probe.timer);
    probe.done(port);
  }

  private answered(neighbour: Neighbour): void {
    const question = this.questions.get(neighbour.ip);
    if (question !== undefined) this.end(neighbour.ip, question, neighbour);
  }

  private end(ip: Ipv4, question: Question, neighbour: Neighbour | undefined): void {
    this.questions.delete(ip);
    this.stack.timers.cancel(question.timer);
    for (const callback of question.waiting) callback(neighbour);
  }
}
