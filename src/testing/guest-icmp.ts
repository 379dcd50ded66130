/** The guest's ICMP (RFC 792, RFC 1122 section 3.2.2): ping both ways, errors to those whom they concern. */
import { type Ipv4, type Millis, type Random, formatIpv4 } from '../core/index.js';
import {
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  type IcmpMessage,
  emitIcmp,
  parseIcmp,
} from '../icmp/index.js';
import {
  IP_DESTINATION,
  IP_HEADER,
  IP_PROTOCOL,
  PROTOCOL_ICMP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../ipv4/index.js';
import { GuestError, errnoOfUnreachable } from './guest-error.js';
import type { GuestIp, PacketIn, SendOptions } from './guest-ip.js';
import type { GuestWire } from './guest-wire.js';

export interface PingOptions extends SendOptions {
  /** ms until ETIMEDOUT; default 5,000. */
  readonly timeout?: Millis | undefined;
  /** Bytes of data; default 56. */
  readonly size?: number | undefined;
}

/** An ICMP error about a packet that the guest sent. */
export interface IcmpFailure {
  readonly protocol: number;
  readonly destination: Ipv4;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly error: GuestError;
}

interface Ping {
  readonly sentAt: Millis;
  readonly data: Uint8Array;
  readonly resolve: (rtt: Millis) => void;
  readonly reject: (error: Error) => void;
}

export class GuestIcmp {
  readonly counters = { malformed: 0, echoRequests: 0, echoReplies: 0, errors: 0, unasked: 0 };
  private readonly wire: GuestWire;
  private readonly ip: GuestIp;
  private readonly failed: (failure: IcmpFailure) => void;
  private readonly pings = new Map<number, Ping>();
  private next: number;

  constructor(wire: GuestWire, ip: GuestIp, random: Random, failed: (failure: IcmpFailure) => void) {
    this.wire = wire;
    this.ip = ip;
    this.failed = failed;
    this.next = random.u32();
  }

  ping(destination: Ipv4, options: PingOptions): Promise<Millis> {
    const word = (this.next = (this.next + 1) >>> 0);
    const data = Uint8Array.from({ length: options.size ?? 56 }, (_, i) => i & 255);
    const { timeout = 5000 } = options;
    return new Promise((resolve, reject) => {
      const cancel = this.wire.scheduler.after(timeout, () => {
        this.pings.delete(word);
        reject(
          new GuestError('ETIMEDOUT', `ping ${formatIpv4(destination)}: no answer within ${timeout} ms`),
        );
      });
      const done = (): void => {
        cancel();
        this.pings.delete(word);
      };
      const ping: Ping = {
        sentAt: this.wire.now(),
        data,
        resolve: (rtt) => {
          done();
          resolve(rtt);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      };
      this.pings.set(word, ping);
      try {
        const message = emitIcmp({ type: ICMP_ECHO_REQUEST, code: 0, rest: word, body: data });
        this.ip.send(destination, PROTOCOL_ICMP, message, options);
      } catch (error) {
        ping.reject(error as Error);
      }
    });
  }

  /** Tells a sender that nobody took its packet; `code` of destination unreachable. */
  unreachable(packet: PacketIn, code: number): void {
    if (packet.destination !== this.ip.ip || packet.source === 0) return;
    const header = new Uint8Array(IP_HEADER);
    const view = new DataView(header.buffer);
    header[0] = 0x45;
    view.setUint16(2, IP_HEADER + packet.length);
    header[8] = packet.ttl;
    header[IP_PROTOCOL] = packet.protocol;
    view.setUint32(12, packet.source);
    view.setUint32(IP_DESTINATION, packet.destination);
    const body = new Uint8Array(IP_HEADER + Math.min(8, packet.length));
    body.set(header);
    body.set(packet.block.region.bytes.subarray(packet.at, packet.at + body.length - IP_HEADER), IP_HEADER);
    this.ip.send(packet.source, PROTOCOL_ICMP, emitIcmp({ type: ICMP_UNREACHABLE, code, rest: 0, body }));
  }

  input(packet: PacketIn): void {
    const message = parseIcmp(packet.block.region.bytes.subarray(packet.at, packet.at + packet.length));
    if (message === undefined) {
      this.counters.malformed++;
      return;
    }
    switch (message.type) {
      case ICMP_ECHO_REQUEST:
        this.counters.echoRequests++;
        this.ip.send(packet.source, PROTOCOL_ICMP, emitIcmp({ ...message, type: ICMP_ECHO_REPLY }));
        return;
      case ICMP_ECHO_REPLY:
        this.reply(message);
        return;
      case ICMP_UNREACHABLE:
      case ICMP_TIME_EXCEEDED:
        this.counters.errors++;
        this.error(message, packet.source);
        return;
      default:
        this.counters.unasked++;
    }
  }

  down(): void {
    for (const ping of [...this.pings.values()])
      ping.reject(new GuestError('ENETDOWN', 'the link was closed'));
  }

  private reply(message: IcmpMessage): void {
    const ping = this.pings.get(message.rest);
    if (ping === undefined || message.code !== 0) {
      this.counters.unasked++;
      return;
    }
    this.counters.echoReplies++;
    const same =
      message.body.length === ping.data.length && message.body.every((byte, i) => byte === ping.data[i]);
    if (same) ping.resolve(this.wire.now() - ping.sentAt);
    else ping.reject(new GuestError('EBADMSG', 'ping: the answer holds other data than was sent'));
  }

  /** Finds whose packet is quoted. */
  private error(message: IcmpMessage, from: Ipv4): void {
    const { body } = message;
    const header = ((body[0] ?? 0) & 15) * 4;
    if (header < IP_HEADER || body.length < header + 8) {
      this.counters.malformed++;
      return;
    }
    const view = new DataView(body.buffer, body.byteOffset, body.length);
    const destination = view.getUint32(IP_DESTINATION) as Ipv4;
    const protocol = body[IP_PROTOCOL]!;
    const icmp = {
      type: message.type,
      code: message.code,
      from: formatIpv4(from),
      mtu: message.rest & 0xffff,
    };
    const code = message.type === ICMP_TIME_EXCEEDED ? 'EHOSTUNREACH' : errnoOfUnreachable(message.code);
    const what = message.type === ICMP_TIME_EXCEEDED ? 'time exceeded' : 'unreachable';
    const error = new GuestError(
      code,
      `${formatIpv4(destination)}: ${what}, code ${message.code}, says ${icmp.from}`,
      { icmp },
    );
    if (protocol === PROTOCOL_ICMP) {
      this.pings.get(view.getUint32(header + 4))?.reject(error);
    } else if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) {
      const ports = { sourcePort: view.getUint16(header), destinationPort: view.getUint16(header + 2) };
      this.failed({ protocol, destination, ...ports, error });
    }
  }
}
