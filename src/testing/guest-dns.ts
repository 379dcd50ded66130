/** Questions to a name server, over UDP or TCP. */
import { type Millis, type Random, formatIpv4, parseIpv4 } from '../core/index.js';
import * as dnsPacket from 'dns-packet';
import { GuestError } from './guest-error.js';
import type { GuestTcp } from './guest-tcp.js';
import type { GuestUdp } from './guest-udp.js';

/** A question is repeated after this, ms, as resolvers do. */
const PAUSE: Millis = 2000;
const TIMEOUT: Millis = 6000;
const DNS_PORT = 53;

export interface DnsQueryOptions {
  /** Default: the first server of the lease, else the gateway. */
  readonly server?: string | undefined;
  /** Default 53. */
  readonly port?: number | undefined;
  readonly tcp?: boolean | undefined;
  /** ms in all; default 6,000. */
  readonly timeout?: Millis | undefined;
  /** Size to offer with EDNS; undefined: no EDNS. */
  readonly udpSize?: number | undefined;
  readonly dnssec?: boolean | undefined;
}

/** A resource record; `data` as the npm package dns-packet gives it (text for A, AAAA, PTR, CNAME). */
export interface DnsRecord {
  readonly name: string;
  readonly type: string;
  readonly ttl?: number | undefined;
  readonly data?: unknown;
}

export interface DnsAnswer {
  /** `NOERROR`, `NXDOMAIN`, `SERVFAIL`, … */
  readonly rcode: string;
  readonly truncated: boolean;
  readonly authoritative: boolean;
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
  /** As it arrived. */
  readonly bytes: Uint8Array;
}

/** rcodes as Node's resolver names them. */
const CODES: Readonly<Record<string, string>> = {
  NXDOMAIN: 'ENOTFOUND',
  SERVFAIL: 'ESERVFAIL',
  REFUSED: 'EREFUSED',
  FORMERR: 'EFORMERR',
  NOTIMP: 'ENOTIMP',
};

export class GuestDns {
  private readonly udp: GuestUdp;
  private readonly tcp: GuestTcp;
  private readonly random: Random;

  constructor(udp: GuestUdp, tcp: GuestTcp, random: Random) {
    this.udp = udp;
    this.tcp = tcp;
    this.random = random;
  }

  /** The whole answer, whatever its rcode. @throws GuestError ETIMEDOUT, ECONNREFUSED … */
  async query(name: string, type: string, server: string, options: DnsQueryOptions): Promise<DnsAnswer> {
    const id = this.random.u32() & 0xffff;
    const question = encode(id, name, type, options);
    const { port = DNS_PORT, timeout = TIMEOUT } = options;
    const bytes =
      options.tcp === true
        ? await this.overTcp(question, server, port, timeout)
        : await this.overUdp(question, server, port, timeout, id);
    return decode(bytes);
  }

  /** The data of the records of this type. @throws GuestError ENOTFOUND, ENODATA, ESERVFAIL, EREFUSED, ETIMEDOUT … */
  async resolve(name: string, type: string, server: string, options: DnsQueryOptions): Promise<string[]> {
    const answer = await this.query(name, type, server, options);
    if (answer.rcode !== 'NOERROR')
      throw new GuestError(CODES[answer.rcode] ?? 'EBADRESP', `${type} ${name}: ${answer.rcode}`);
    const data = answer.answers.filter((record) => record.type === type).map((record) => textOf(record.data));
    if (data.length === 0) throw new GuestError('ENODATA', `${type} ${name}: no such record`);
    return data;
  }

  private async overUdp(
    question: Uint8Array,
    server: string,
    port: number,
    timeout: Millis,
    id: number,
  ): Promise<Uint8Array> {
    const socket = this.udp.open();
    const deadline = this.udp.wire.now() + timeout;
    try {
      for (;;) {
        socket.send(question, server, port);
        const until = Math.min(this.udp.wire.now() + PAUSE, deadline);
        for (let left = until - this.udp.wire.now(); left > 0; left = until - this.udp.wire.now()) {
          const datagram = await socket.recv({ timeout: left }).catch((error: unknown) => {
            if ((error as GuestError).code !== 'ETIMEDOUT') throw error;
            return undefined;
          });
          if (
            datagram?.ip === server &&
            datagram.bytes.length > 11 &&
            ((datagram.bytes[0]! << 8) | datagram.bytes[1]!) === id
          ) {
            return datagram.bytes;
          }
        }
        if (this.udp.wire.now() >= deadline)
          throw new GuestError('ETIMEDOUT', `dns: ${server} did not answer within ${timeout} ms`);
      }
    } finally {
      socket.close();
    }
  }

  private async overTcp(
    question: Uint8Array,
    server: string,
    port: number,
    timeout: Millis,
  ): Promise<Uint8Array> {
    const ip = parseIpv4(server);
    if (ip === undefined) throw new GuestError('EINVAL', `"${server}" is no IPv4 address`);
    const socket = await this.tcp.connect(ip, port, { timeout });
    const cancel = this.udp.wire.scheduler.after(timeout, () => {
      socket.destroy(
        new GuestError('ETIMEDOUT', `dns: ${formatIpv4(ip)} did not answer within ${timeout} ms`),
      );
    });
    try {
      socket.write(Uint8Array.of(question.length >>> 8, question.length & 255, ...question));
      let have = Buffer.alloc(0);
      for await (const chunk of socket) {
        have = Buffer.concat([have, chunk as Buffer]);
        if (have.length >= 2 && have.length >= have.readUInt16BE(0) + 2)
          return have.subarray(2, have.readUInt16BE(0) + 2);
      }
      throw new GuestError('ECONNRESET', `dns: ${server} closed the connection`);
    } finally {
      cancel();
      socket.destroy();
    }
  }
}

function encode(id: number, name: string, type: string, options: DnsQueryOptions): Uint8Array {
  const edns = options.udpSize ?? (options.dnssec === true ? 1232 : undefined);
  const additionals: dnsPacket.OptAnswer[] =
    edns === undefined
      ? []
      : [
          {
            type: 'OPT',
            name: '.',
            udpPayloadSize: edns,
            extendedRcode: 0,
            ednsVersion: 0,
            options: [],
            flags: options.dnssec === true ? dnsPacket.DNSSEC_OK : 0,
            flag_do: options.dnssec === true,
          },
        ];
  const questions = [{ name, type: type as dnsPacket.RecordType, class: 'IN' as const }];
  return dnsPacket.encode({ id, type: 'query', flags: dnsPacket.RECURSION_DESIRED, questions, additionals });
}

function decode(bytes: Uint8Array): DnsAnswer {
  let packet: dnsPacket.DecodedPacket & { readonly rcode?: string };
  try {
    packet = dnsPacket.decode(Buffer.from(bytes));
  } catch (error) {
    throw new GuestError('EBADRESP', `dns: the answer cannot be read: ${String(error)}`);
  }
  return {
    rcode: packet.rcode ?? 'NOERROR',
    truncated: packet.flag_tc,
    authoritative: packet.flag_aa,
    answers: packet.answers ?? [],
    authorities: packet.authorities ?? [],
    additionals: packet.additionals ?? [],
    bytes,
  };
}

function textOf(data: unknown): string {
  if (typeof data === 'string') return data;
  if (Array.isArray(data)) return data.map(textOf).join('');
  if (data instanceof Uint8Array) return Buffer.from(data).toString('latin1');
  return JSON.stringify(data);
}
