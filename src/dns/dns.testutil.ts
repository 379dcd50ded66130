/** Builders and fakes for the tests of this folder. */
import dnsPacket from 'dns-packet';
import { parseCidr, parseIpv4, type HostAddress, type HostResolver, type Ipv4 } from '../core/index.js';
import {
  BuiltinNames,
  DnsServer,
  DnsUpstreamError,
  type BuiltinConfig,
  type DnsConfig,
  type DnsReply,
  type DnsUpstream,
} from './index.js';

export const ip = (text: string): Ipv4 => parseIpv4(text)!;

export interface Ask {
  readonly id?: number;
  readonly flags?: number;
  /** EDNS size; with `dnssec` the DO bit. */
  readonly edns?: number;
  readonly dnssec?: boolean;
}

export function query(name: string, type: string, ask: Ask = {}): Uint8Array {
  const opt = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: ask.edns ?? 1232,
    flags: ask.dnssec ? 0x8000 : 0,
    options: [],
  };
  return Uint8Array.from(
    dnsPacket.encode({
      type: 'query',
      id: ask.id ?? 0x1234,
      flags: ask.flags ?? dnsPacket.RECURSION_DESIRED,
      questions: [{ name, type: type as never }],
      additionals: ask.edns === undefined && !ask.dnssec ? [] : [opt as never],
    }),
  );
}

/** An answer of a name server to a query, with these records. */
export function respond(asked: Uint8Array, answers: dnsPacket.Answer[], flags = 0): Uint8Array {
  const decoded = dnsPacket.decode(Buffer.from(asked));
  return Uint8Array.from(
    dnsPacket.encode({
      type: 'response',
      id: decoded.id,
      flags: dnsPacket.RECURSION_DESIRED | dnsPacket.RECURSION_AVAILABLE | flags,
      questions: decoded.questions,
      answers,
      additionals: decoded.additionals,
    }),
  );
}

export interface Decoded extends dnsPacket.DecodedPacket {
  readonly rcode: string;
}

export function decode(bytes: Uint8Array | undefined): Decoded {
  return dnsPacket.decode(Buffer.from(bytes!)) as Decoded;
}

/** `name type data` of each record, for short expectations. */
export function records(list: readonly dnsPacket.Answer[] | undefined): string[] {
  return (list ?? []).map((record) => {
    const data = (record as { data?: unknown }).data;
    const soa = record.type === 'SOA' ? (data as dnsPacket.SoaData).mname : data;
    return `${record.name} ${record.type} ${String(soa)}`;
  });
}

/** Text of the extended error, and its code. */
export function extendedError(bytes: Uint8Array): { code: number; text: string } | undefined {
  const opt = decode(bytes).additionals?.find((record) => record.type === 'OPT');
  const found = (opt as { options?: { code: number; data: Buffer }[] } | undefined)?.options?.find(
    (option) => option.code === 15,
  );
  return found && { code: found.data.readUInt16BE(0), text: found.data.toString('utf8', 2) };
}

type Names = Readonly<Record<string, readonly string[] | string>>;

/** A resolver of fixed names: a list of addresses or names, or the code it fails with. */
export class FakeResolver implements HostResolver {
  readonly asked: string[] = [];
  private readonly names: Names;

  constructor(names: Names) {
    this.names = names;
  }

  async lookup(name: string, family: 4 | 6): Promise<readonly HostAddress[]> {
    this.asked.push(`${name}/${family}`);
    const found = this.names[`${name}/${family}`] ?? 'ENOTFOUND';
    if (typeof found === 'string') throw Object.assign(new Error(found), { code: found });
    return found.map((address) => ({ address, family }));
  }

  async reverse(address: string): Promise<readonly string[]> {
    const found = this.names[address] ?? 'ENOTFOUND';
    if (typeof found === 'string') throw Object.assign(new Error(found), { code: found });
    return found;
  }

  close(): void {
    this.asked.length = 0;
  }
}

/** An upstream that does what a function says. */
export class FakeUpstream implements DnsUpstream {
  readonly asked: { bytes: Uint8Array; transport: string }[] = [];
  private readonly reply: (bytes: Uint8Array) => Uint8Array | Promise<Uint8Array>;

  constructor(reply: (bytes: Uint8Array) => Uint8Array | Promise<Uint8Array>) {
    this.reply = reply;
  }

  query(bytes: Uint8Array, transport: 'udp' | 'tcp', _timeout: number, reply: DnsReply): void {
    this.asked.push({ bytes, transport });
    void this.answer(bytes, reply);
  }

  private async answer(bytes: Uint8Array, reply: DnsReply): Promise<void> {
    try {
      reply.answered(await this.reply(bytes), 'fake');
    } catch (error) {
      const failure =
        error instanceof DnsUpstreamError ? error : new DnsUpstreamError('unreachable', 'broken');
      reply.failed(failure);
    }
  }

  close(): void {
    this.asked.length = 0;
  }
}

export function builtin(config: Partial<BuiltinConfig> = {}): BuiltinNames {
  return new BuiltinNames({
    gateway: ip('192.168.127.1'),
    hostAlias: ip('192.168.127.254'),
    subnet: parseCidr('192.168.127.0/24')!,
    ...config,
  });
}

export function serverWith(config: Partial<DnsConfig> = {}): DnsServer {
  return new DnsServer({
    local: [builtin()],
    upstream: new FakeUpstream((asked) => respond(asked, [])),
    ...config,
  });
}

export const GUEST = { id: 1 };

export const address = (name: string, data: string) => ({ type: 'A', name, ttl: 300, data }) as const;

/** One query of GUEST at time 0 and its answer, read. */
export async function ask(server: DnsServer, bytes: Uint8Array, transport: 'udp' | 'tcp' = 'udp') {
  const answer = await server.handle(bytes, transport, GUEST, 0);
  const decoded = decode(answer);
  return { bytes: answer!, decoded, rcode: decoded.rcode, answers: records(decoded.answers) };
}
