/** What is going on, for people and programs. */
import { formatIpv4, parseIpv4 } from '../core/index.js';
import {
  type PublishedPort,
  TcpFlow,
  type UdpClient,
  UdpMapping,
  formatPublish,
} from '../forwarder/index.js';
import type { Stack } from '../stack/index.js';
import type { Parts } from './assemble.js';
import type { Guest } from './guest.js';
import type { ExplainQuery, Explanation, FlowInfo, FlowsOptions, PortInfo } from './types.js';

/** A flow as it is, of which a `FlowInfo` can be made. */
type Flow = TcpFlow | UdpMapping | UdpClient;

/** The flows of now with an id above `after`, in the order of their ids. References: little work for many flows. */
export function flowsAfter({ outbound, publisher, nat }: Parts, after: number): Flow[] {
  const found: Flow[] = [];
  const add = (flows: Iterable<Flow>): void => {
    for (const flow of flows) if (flow.id > after) found.push(flow);
  };
  add(outbound.flows());
  for (const port of publisher.ports()) {
    add(port.flows());
    add(port.udpClients());
  }
  add(nat.list());
  return found.sort((a, b) => a.id - b.id);
}

/** How many there are, without looking at them: guests may ask as often as they like. */
export function countFlows({ outbound, publisher, nat }: Parts): number {
  return outbound.flowCount + sumOf(publisher.ports(), ({ clientCount }) => clientCount) + nat.size;
}

/**
 * The flows of this moment, one by one: whoever reads many of them may let others have their turn in between. What ended
 * meanwhile is left out.
 */
export function* eachFlow(parts: Parts, { after = 0, tcp = false }: FlowsOptions): Generator<FlowInfo> {
  for (const flow of flowsAfter(parts, after)) {
    if (!(flow instanceof TcpFlow)) yield udpInfo(parts.stack, flow);
    else if (flow.phase !== 'closed') yield tcpInfo(parts.stack, flow, tcp);
  }
}

function guestOn(stack: Stack, port: number): string {
  return (stack.port(port)?.user as Guest | undefined)?.name ?? '';
}

function tcpInfo(stack: Stack, flow: TcpFlow, details: boolean): FlowInfo {
  const { endpoint } = flow;
  const dialing = flow.phase === 'dialing' && flow.direction === 'out';
  return {
    id: flow.id,
    protocol: 'tcp',
    direction: flow.direction,
    guest: guestOn(stack, endpoint.port.id),
    guestAddress: `${formatIpv4(endpoint.remoteIp)}:${endpoint.remotePort}`,
    peer: flow.peer,
    state: dialing ? 'DIALING' : endpoint.connection.state,
    bytesToHost: flow.bytesToHost,
    bytesToGuest: flow.bytesToGuest,
    age: stack.now() - flow.startedAt,
    ...(details ? { tcp: endpoint.connection.info() } : {}),
  };
}

function udpInfo(stack: Stack, flow: UdpMapping | UdpClient): FlowInfo {
  const out = flow instanceof UdpMapping;
  const answered = out ? flow.received > 0 : flow.bytesToHost > 0;
  return {
    id: flow.id,
    protocol: 'udp',
    direction: out ? 'out' : 'in',
    guest: guestOn(stack, flow.neighbour.port),
    guestAddress: `${formatIpv4(flow.neighbour.ip)}:${flow.guestPort}`,
    peer: out ? `${formatIpv4(flow.lastIp)}:${flow.lastPort}` : `${flow.host}:${flow.port}`,
    state: answered ? 'REPLIED' : 'UNREPLIED',
    bytesToHost: flow.bytesToHost,
    bytesToGuest: flow.bytesToGuest,
    age: stack.now() - flow.startedAt,
  };
}

/** Ends a flow: TCP with RST on both sides. False when there is none of that id. */
export function killFlow(parts: Parts, id: number): boolean {
  const [flow] = flowsAfter(parts, id - 1);
  if (flow?.id !== id || (flow instanceof TcpFlow && flow.phase === 'closed')) return false;
  flow.kill();
  return true;
}

/** `kept`: it is in the state file. */
export function portInfo(port: PublishedPort, kept: boolean): PortInfo {
  return {
    id: port.id,
    protocol: port.spec.protocol,
    host: port.host,
    port: port.port,
    target: port.spec.guest ?? port.spec.guestMac ?? port.spec.guestIp ?? 'first guest',
    guestPort: port.spec.guestPort,
    spec: formatPublish({ ...port.spec, hostPort: port.port }),
    kept,
    ...(port.waiting === undefined ? {} : { waiting: port.waiting }),
    clients: port.clientCount,
    counters: { ...port.counters },
  };
}

/** Decided as for a flow, without counting. */
export async function explain(parts: Parts, query: ExplainQuery): Promise<Explanation> {
  const { dns, roster } = parts;
  const guest = query.guest ?? roster.all()[0]?.name ?? 'guest1';
  const policy = roster.byName(guest)?.policy ?? parts.policy;
  const address = parseIpv4(query.host);
  const name = address === undefined ? query.host.toLowerCase().replace(/\.$/, '') : undefined;
  if (name !== undefined) {
    // A name comes first: who may not resolve it gets no further.
    const decision = policy.explainName(name, guest, dns.isOwnName(name));
    if (decision.verdict.kind === 'deny') return { ...decision, address: name };
  }
  const ip = address ?? (await dns.resolve(query.host));
  const decision = policy.explain({
    protocol: query.protocol ?? 'tcp',
    ip,
    port: query.port ?? 0,
    guest,
    resolvedFrom: name,
  });
  const { interception } = parts.proxy;
  return {
    ...(await interception.explained(decision, query.protocol ?? 'tcp', name)),
    address: formatIpv4(ip),
  };
}

function sumOf<T>(items: Iterable<T>, value: (item: T) => number): number {
  let sum = 0;
  for (const item of items) sum += value(item);
  return sum;
}

/** Counters of every part, plain numbers in nested objects. */
export function statsOf(parts: Parts) {
  const { stack, roster, pool, nat } = parts;
  return {
    stack: {
      ...stack.counters,
      neighboursEvicted:
        stack.counters.neighboursEvicted + sumOf(stack.ports(), (port) => port.neighbours.evicted),
    },
    vpnkit: { ...roster.counters },
    tcp: { ...stack.tcpCounters },
    reassembly: { ...stack.ip.reassembler.counters },
    switch: { ...stack.macs.counters },
    outbound: { ...parts.outbound.counters },
    udp: { ...nat.counters },
    ping: { ...parts.pings.counters },
    host: { ...parts.io.counters },
    dhcp: parts.dhcp.counters,
    state: parts.state.counters,
    dns: parts.dns.counters,
    httpProxy: parts.proxy.counters,
    rules: Object.fromEntries(parts.policy.counts()),
    policy: { ...parts.audit.counters },
    names: parts.names.counters,
    asks: { ...parts.asking.counters },
    memory: {
      blocksOut: pool.bytesOut,
      held: stack.budget.used,
      timers: stack.timers.size,
      tcpFlows: stack.tcp.size,
      udpMappings: nat.size,
      pings: parts.pings.size,
    },
    budget: {
      limit: stack.budget.limit,
      peak: stack.budget.peak,
      heldBack: sumOf(stack.ports(), (port) => port.budget.refused),
    },
    guests: Object.fromEntries(roster.all().map((guest) => [guest.name, guest.counters])),
  };
}
