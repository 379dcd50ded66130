/** The guest's ARP (RFC 826): answers, asks, and keeps packets while it waits for an answer. */
import { ARP_REPLY, ARP_REQUEST, emitArp, parseArp } from '../arp/index.js';
import { type Ipv4, MAC_BROADCAST, MAC_ZERO, type Mac, type Millis, formatIpv4 } from '../core/index.js';
import { ETHERTYPE_ARP, emitEthernet } from '../ethernet/index.js';
import { GuestError } from './guest-error.js';
import type { GuestWire } from './guest-wire.js';

/** How often and after which pauses a guest asks, as Linux does. */
const TRIES = 3;
const PAUSE: Millis = 1000;
/** Known addresses; the one learned first goes beyond that. */
export const MAX_ARP_ENTRIES = 4096;
/** Packets that wait for one address; what comes on top is dropped and counted. */
export const MAX_ARP_WAITING = 256;

type Waiting = (mac: Mac | undefined) => void;

export class GuestArp {
  readonly counters = { requestsIn: 0, repliesIn: 0, malformed: 0, waitingFull: 0, unanswered: 0 };
  private readonly wire: GuestWire;
  private readonly own: () => Ipv4 | undefined;
  private readonly known = new Map<Ipv4, Mac>();
  private readonly waiting = new Map<Ipv4, Waiting[]>();
  private readonly resolving = new Map<Ipv4, Promise<Mac>>();

  constructor(wire: GuestWire, own: () => Ipv4 | undefined) {
    this.wire = wire;
    this.own = own;
  }

  find(ip: Ipv4): Mac | undefined {
    return this.known.get(ip);
  }

  learn(ip: Ipv4, mac: Mac): void {
    if (!this.known.has(ip) && this.known.size >= MAX_ARP_ENTRIES)
      this.known.delete(this.known.keys().next().value!);
    this.known.set(ip, mac);
    const waiting = this.waiting.get(ip);
    this.waiting.delete(ip);
    for (const callback of waiting ?? []) callback(mac);
  }

  /** Forgets all addresses, as after `ip neigh flush`. */
  flush(): void {
    this.known.clear();
  }

  /** Calls back with the MAC, at once when it is known; with undefined when nobody answers. */
  ask(ip: Ipv4, callback: Waiting): void {
    const mac = this.known.get(ip);
    if (mac !== undefined) {
      callback(mac);
      return;
    }
    const waiting = this.waiting.get(ip);
    if (waiting === undefined) {
      this.waiting.set(ip, [callback]);
      this.request(ip, 1);
    } else if (waiting.length < MAX_ARP_WAITING) waiting.push(callback);
    else {
      this.counters.waitingFull++;
      callback(undefined);
    }
  }

  /** @throws GuestError EHOSTUNREACH */
  resolve(ip: Ipv4): Promise<Mac> {
    const known = this.resolving.get(ip);
    if (known !== undefined) return known;
    const promise = new Promise<Mac>((resolve, reject) => {
      this.ask(ip, (mac) => {
        this.resolving.delete(ip);
        if (mac !== undefined) resolve(mac);
        else reject(new GuestError('EHOSTUNREACH', `nobody answers for ${formatIpv4(ip)}`));
      });
    });
    if (!this.known.has(ip)) this.resolving.set(ip, promise);
    return promise;
  }

  input(bytes: Uint8Array, at: number, length: number): void {
    const packet = parseArp(bytes, at, length);
    if (packet === undefined) {
      this.counters.malformed++;
      return;
    }
    const own = this.own();
    const forUs = own !== undefined && packet.targetIp === own;
    if (
      packet.senderIp !== 0 &&
      (forUs || this.known.has(packet.senderIp) || this.waiting.has(packet.senderIp))
    ) {
      this.learn(packet.senderIp, packet.senderMac);
    }
    if (packet.operation === ARP_REPLY) this.counters.repliesIn++;
    if (packet.operation !== ARP_REQUEST) return;
    this.counters.requestsIn++;
    if (forUs) this.say(packet.senderMac, ARP_REPLY, own, packet.senderMac, packet.senderIp);
  }

  /** Says whose address ours is (RFC 5227 section 3). */
  announce(): void {
    const own = this.own();
    if (own !== undefined) this.say(MAC_BROADCAST, ARP_REQUEST, own, MAC_ZERO, own);
  }

  /** The link is gone: nobody will answer. */
  down(): void {
    const all = [...this.waiting.values()].flat();
    this.waiting.clear();
    for (const callback of all) callback(undefined);
  }

  private request(ip: Ipv4, attempt: number): void {
    this.say(MAC_BROADCAST, ARP_REQUEST, this.own() ?? (0 as Ipv4), MAC_ZERO, ip);
    this.wire.scheduler.after(PAUSE, () => {
      const waiting = this.waiting.get(ip);
      if (waiting === undefined) return;
      if (attempt < TRIES) {
        this.request(ip, attempt + 1);
        return;
      }
      this.waiting.delete(ip);
      this.counters.unanswered++;
      for (const callback of waiting) callback(undefined);
    });
  }

  private say(to: Mac, operation: number, senderIp: Ipv4, targetMac: Mac, targetIp: Ipv4): void {
    const payload = emitArp({ operation, senderMac: this.wire.mac, senderIp, targetMac, targetIp });
    this.wire.send(
      emitEthernet({ destination: to, source: this.wire.mac, etherType: ETHERTYPE_ARP, payload }),
    );
  }
}
