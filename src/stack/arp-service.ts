/** ARP of the gateway: answers for its own addresses, learns from what it sees, asks where a guest is (RFC 826). */
import { ARP_LENGTH, ARP_REPLY, ARP_REQUEST, type Neighbour, parseArp } from '../arp/index.js';
import {
  type Ipv4,
  MAC_BROADCAST,
  MAC_ZERO,
  type Millis,
  Timer,
  cidrContains,
  macHigh,
  macLow,
} from '../core/index.js';
import type { StackPort } from './port.js';
import type { Stack } from './stack.js';

/** Questions under way at once. */
export const MAX_ARP_PENDING = 256;
/** Times a question is asked, and how long each waits (RFC 1122 section 2.3.2.1: at most one a second). */
export const ARP_TRIES = 3;
export const ARP_WAIT: Millis = 1000;

interface Question {
  tries: number;
  readonly timer: Timer;
  readonly waiting: ((neighbour: Neighbour | undefined) => void)[];
}

export class ArpService {
  private readonly stack: Stack;
  private readonly questions = new Map<Ipv4, Question>();

  constructor(stack: Stack) {
    this.stack = stack;
  }

  /** An ARP packet at `at`; `length` bytes are there. */
  input(port: StackPort, bytes: Uint8Array, at: number, length: number): void {
    const { stack } = this;
    const packet = length < ARP_LENGTH ? undefined : parseArp(bytes, at, length);
    if (packet === undefined) {
      stack.counters.badArp++;
      return;
    }
    const { subnet } = stack.config;
    const { senderIp, senderMac } = packet;
    if (cidrContains(subnet, senderIp) && senderIp !== subnet.base && stack.guard.mayUse(port, senderIp)) {
      const neighbour = stack.learn(port, senderIp, macHigh(senderMac), macLow(senderMac));
      this.answered(neighbour);
    } else if (senderIp !== 0) {
      stack.counters.spoofedSource++;
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
    if (asked !== undefined) {
      asked.waiting.push(callback);
      return;
    }
    if (this.questions.size >= MAX_ARP_PENDING) {
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

  /** Tells everybody who waits that there will be no answer. */
  clear(): void {
    for (const [ip, question] of this.questions) this.end(ip, question, undefined);
  }

  private ask(ip: Ipv4, question: Question, now: Millis): void {
    const { stack } = this;
    if (question.tries >= ARP_TRIES) {
      this.end(ip, question, undefined);
      return;
    }
    question.tries++;
    const { gatewayMac, gatewayIp } = stack.config;
    const request = {
      operation: ARP_REQUEST,
      senderMac: gatewayMac,
      senderIp: gatewayIp,
      targetMac: MAC_ZERO,
      targetIp: ip,
    };
    for (const port of stack.ports()) {
      stack.packets.arp(port, request, macHigh(MAC_BROADCAST), macLow(MAC_BROADCAST));
    }
    stack.timers.set(question.timer, now + ARP_WAIT);
    stack.rearm();
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
