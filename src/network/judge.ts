/** Asks the policy about what guests send, and remembers what it said: a flow is decided about once. */
import type { HashKey } from '../core/index.js';
import { type Decision, DecisionCache, type Destination, type Policy } from '../policy/index.js';
import type { EchoIn, TcpSyn, UdpIn } from '../stack/index.js';
import type { Guest } from './guest.js';
import type { NameMemories } from './name-memories.js';

/** Denied names whose decision is remembered: programs ask several times, for both kinds of address. */
const MAX_NAMES = 1024;
/** How long, ms. */
const NAME_AGE = 10_000;

const TCP = 0;
const UDP = 1;
const ICMP = 2;

interface DeniedName {
  readonly decision: Decision;
  readonly generation: number;
  readonly at: number;
}

export class Judge {
  private readonly policy: Policy;
  private readonly memories: NameMemories;
  private readonly now: () => number;
  private readonly cache: DecisionCache;
  private readonly names = new Map<string, DeniedName>();

  constructor(policy: Policy, memories: NameMemories, key: HashKey, now: () => number) {
    this.policy = policy;
    this.memories = memories;
    this.now = now;
    this.cache = new DecisionCache(key);
  }

  /** A connection is decided about anew, unless its SYN was denied a moment ago: then it is the same one again. */
  tcp(syn: TcpSyn, guest: Guest): Decision {
    const { destination, destinationPort, sourcePort, neighbour } = syn;
    const ports = (sourcePort << 16) | destinationPort;
    const known = this.find(guest, TCP, neighbour.ip, destination, ports);
    if (known?.verdict.kind === 'deny') return known;
    const decision = guest.policy.decide({
      protocol: 'tcp',
      ip: destination,
      port: destinationPort,
      guest: guest.name,
      source: neighbour.ip,
      sourcePort,
    });
    if (decision.verdict.kind === 'deny') this.keep(guest, TCP, neighbour.ip, destination, ports, decision);
    return decision;
  }

  udp(datagram: UdpIn, guest: Guest): Decision {
    const { source, sourcePort, destination, destinationPort } = datagram;
    const ports = (sourcePort << 16) | destinationPort;
    const known = this.find(guest, UDP, source, destination, ports);
    if (known !== undefined) return known;
    const decision = guest.policy.decide({
      protocol: 'udp',
      ip: destination,
      port: destinationPort,
      guest: guest.name,
      source,
      sourcePort,
    });
    this.keep(guest, UDP, source, destination, ports, decision);
    return decision;
  }

  echo(echo: EchoIn, guest: Guest): Decision {
    const { neighbour, destination, bytes, offset } = echo;
    const id = (bytes[offset + 4]! << 8) | bytes[offset + 5]!;
    const known = this.find(guest, ICMP, neighbour.ip, destination, id);
    if (known !== undefined) return known;
    const decision = guest.policy.decide({
      protocol: 'icmp',
      ip: destination,
      port: 0,
      guest: guest.name,
      source: neighbour.ip,
    });
    this.keep(guest, ICMP, neighbour.ip, destination, id, decision);
    return decision;
  }

  /** Why a guest may not resolve a name; undefined: it may. `own`: netproxy answers it itself. */
  deniedName(name: string, guest: Guest, own: () => boolean): Decision | undefined {
    const { policy } = guest;
    const key = `${guest.id} ${name}`;
    const known = this.names.get(key);
    if (known?.generation === policy.generation && this.now() - known.at < NAME_AGE) return known.decision;
    const explained = policy.explainName(name, guest.name, own());
    if (explained.verdict.kind !== 'deny') return undefined;
    const subject = { guest: guest.name, protocol: 'dns' as const, port: 0, name, source: guest.address };
    const decision = policy.settle(explained, subject);
    this.names.delete(key);
    if (this.names.size >= MAX_NAMES)
      for (const oldest of this.names.keys()) {
        this.names.delete(oldest);
        break;
      }
    this.names.set(key, { decision, generation: policy.generation, at: this.now() });
    return decision;
  }

  /** The same for a guest that no rule names, without any trace. */
  wouldDenyName(name: string, own: boolean): Decision | undefined {
    const explained = this.policy.explainName(name, '', own);
    return explained.verdict.kind === 'deny' ? explained : undefined;
  }

  /** What somebody said about a flow; `ports`: both of them, or the id of a ping. */
  answered(guest: Guest, { protocol, source, ip }: Destination, ports: number, decision: Decision): void {
    if (source === undefined) return;
    // An allowed connection stands by itself; the next one is another.
    if (protocol === 'tcp' && decision.verdict.kind !== 'deny') return;
    this.keep(guest, protocol === 'tcp' ? TCP : protocol === 'udp' ? UDP : ICMP, source, ip, ports, decision);
  }

  private find(
    guest: Guest,
    protocol: number,
    source: number,
    destination: number,
    ports: number,
  ): Decision | undefined {
    const { cache, policy } = this;
    const key = (guest.id << 2) | protocol;
    const decision = cache.find(key, source, destination, ports, policy.generation, this.now());
    if (decision?.verdict.kind !== 'deny') return decision;
    // What was denied may be allowed by a name that the guest has learned since.
    return cache.version === (this.memories.of(guest.name)?.version ?? 0) ? decision : undefined;
  }

  private keep(
    guest: Guest,
    protocol: number,
    source: number,
    destination: number,
    ports: number,
    decision: Decision,
  ): void {
    const version = this.memories.of(guest.name)?.version ?? 0;
    this.cache.set(
      (guest.id << 2) | protocol,
      source,
      destination,
      ports,
      this.policy.generation,
      version,
      this.now(),
      decision,
    );
  }
}
