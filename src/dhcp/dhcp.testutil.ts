/** Builders for the tests of this folder. */
import { ipv4, parseCidr, parseIpv4, type Ipv4, type Mac } from '../core/index.js';
import { addresses, u8 } from './options.js';
import { DhcpServer, MessageType, Option, type DhcpConfig, type DhcpEvent, type DhcpReply } from './index.js';
import type { DhcpMessage } from './wire.js';

export const ip = (text: string): Ipv4 => parseIpv4(text)!;
export const SUBNET = parseCidr('192.168.127.0/24')!;
export const GATEWAY = ip('192.168.127.1');
export const ALIAS = ip('192.168.127.254');
export const MAC_A = '5a:94:ef:e4:0c:ee' as Mac;
export const MAC_B = '5a:94:ef:e4:0c:ef' as Mac;

export function macOf(n: number): Mac {
  const hex = n.toString(16).padStart(8, '0');
  return `02:00:${hex.slice(0, 2)}:${hex.slice(2, 4)}:${hex.slice(4, 6)}:${hex.slice(6)}` as Mac;
}

export interface Ask {
  readonly mac?: Mac;
  readonly xid?: number;
  readonly ciaddr?: string;
  readonly giaddr?: string;
  readonly broadcast?: boolean;
  readonly requested?: string;
  readonly server?: string;
  readonly clientId?: readonly number[];
  readonly hostname?: string;
  readonly list?: readonly number[];
  readonly maxSize?: number;
  readonly extra?: readonly [number, Uint8Array][];
}

export function message(type: MessageType | undefined, ask: Ask = {}): DhcpMessage {
  const options = new Map<number, Uint8Array>();
  if (type !== undefined) options.set(Option.messageType, u8(type));
  if (ask.clientId) options.set(Option.clientId, Uint8Array.from(ask.clientId));
  if (ask.requested) options.set(Option.requestedAddress, addresses([ip(ask.requested)]));
  if (ask.server) options.set(Option.serverId, addresses([ip(ask.server)]));
  if (ask.hostname) options.set(Option.hostName, Buffer.from(ask.hostname));
  if (ask.list) options.set(Option.parameterList, Uint8Array.from(ask.list));
  if (ask.maxSize) options.set(Option.maxMessageSize, Uint8Array.of(ask.maxSize >> 8, ask.maxSize & 255));
  for (const [code, value] of ask.extra ?? []) options.set(code, value);
  const zero = ipv4(0);
  return {
    op: 1,
    hops: 0,
    xid: ask.xid ?? 0x12345678,
    secs: 0,
    broadcast: ask.broadcast ?? false,
    ciaddr: ask.ciaddr ? ip(ask.ciaddr) : zero,
    yiaddr: zero,
    siaddr: zero,
    giaddr: ask.giaddr ? ip(ask.giaddr) : zero,
    chaddr: ask.mac ?? MAC_A,
    options,
  };
}

/** A server with its clock, and what it told. */
export class Bench {
  now = 1000;
  wall = 1_700_000_000_000;
  readonly events: DhcpEvent[] = [];
  readonly server: DhcpServer;
  private readonly gateway: Ipv4;

  constructor(config: Partial<DhcpConfig> = {}) {
    this.gateway = config.gateway ?? GATEWAY;
    this.server = new DhcpServer({
      subnet: SUBNET,
      gateway: GATEWAY,
      excluded: [ALIAS],
      changed: (event) => this.events.push(event),
      ...config,
    });
  }

  send(type: MessageType | undefined, ask: Ask = {}, guestId: number | string = 1): DhcpReply | undefined {
    return this.server.handle(message(type, ask), { guestId, now: this.now, wall: this.wall });
  }

  /** DISCOVER and REQUEST; the address, or undefined. */
  obtain(ask: Ask = {}, guestId: number | string = 1): Ipv4 | undefined {
    const offer = this.send(MessageType.discover, ask, guestId);
    if (!offer) return undefined;
    const requested = dotted(offer.message.yiaddr);
    const ack = this.send(MessageType.request, { ...ask, requested, server: dotted(this.gateway) }, guestId);
    return ack && typeOf(ack) === MessageType.ack ? ack.message.yiaddr : undefined;
  }

  pass(seconds: number): void {
    this.now += seconds * 1000;
    this.wall += seconds * 1000;
    this.server.poll(this.now);
  }
}

export function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

export function typeOf(reply: DhcpReply | undefined): number | undefined {
  return reply?.message.options.get(Option.messageType)?.[0];
}
