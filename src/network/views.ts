/** What is going on, for people and programs. */
import { formatIpv4 } from '../core/index.js';
import {
  type OutboundTcp,
  type Publisher,
  type TcpFlow,
  type UdpNat,
  formatPublish,
} from '../forwarder/index.js';
import type { Stack } from '../stack/index.js';
import type { Parts } from './assemble.js';
import type { Guest } from './guest.js';
import type { FlowInfo, FlowsOptions, PortInfo } from './types.js';

export function flowInfos(
  outbound: OutboundTcp,
  publisher: Publisher,
  nat: UdpNat,
  stack: Stack,
  options: FlowsOptions = {},
): FlowInfo[] {
  const now = stack.now();
  const nameOf = (port: number): string => (stack.port(port)?.user as Guest | undefined)?.name ?? '';
  const tcp = (flow: TcpFlow): FlowInfo => ({
    protocol: 'tcp',
    direction: flow.direction,
    guest: nameOf(flow.endpoint.port.id),
    guestAddress: `${formatIpv4(flow.endpoint.remoteIp)}:${flow.endpoint.remotePort}`,
    peer: flow.peer,
    state: flow.phase === 'dialing' && flow.direction === 'out' ? 'DIALING' : flow.endpoint.connection.state,
    bytesToHost: flow.bytesToHost,
    bytesToGuest: flow.bytesToGuest,
    age: now - flow.startedAt,
    ...(options.tcp === true && { tcp: flow.endpoint.connection.info() }),
  });
  const flows = [...outbound.flows()].map(tcp);
  for (const port of publisher.ports()) flows.push(...[...port.flows()].map(tcp));
  for (const mapping of nat.list()) {
    flows.push({
      protocol: 'udp',
      direction: 'out',
      guest: nameOf(mapping.neighbour.port),
      guestAddress: `${formatIpv4(mapping.neighbour.ip)}:${mapping.guestPort}`,
      peer: `${formatIpv4(mapping.lastIp)}:${mapping.lastPort}`,
      state: mapping.received > 0 ? 'REPLIED' : 'UNREPLIED',
      bytesToHost: mapping.bytesToHost,
      bytesToGuest: mapping.bytesToGuest,
      age: now - mapping.startedAt,
    });
  }
  return flows;
}

export function portInfos(publisher: Publisher): PortInfo[] {
  return [...publisher.ports()].map((port) => ({
    protocol: port.spec.protocol,
    host: port.host,
    port: port.port,
    target: port.spec.guest ?? port.spec.guestIp ?? 'first guest',
    guestPort: port.spec.guestPort,
    spec: formatPublish({ ...port.spec, hostPort: port.port }),
    counters: { ...port.counters },
  }));
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
    stack: { ...stack.counters },
    tcp: { ...stack.tcpCounters },
    reassembly: { ...stack.ip.reassembler.counters },
    switch: { ...stack.macs.counters },
    outbound: { ...parts.outbound.counters },
    udp: { ...nat.counters },
    host: { ...parts.io.counters },
    dhcp: parts.dhcp.server.counters,
    dns: parts.dns.counters,
    rules: Object.fromEntries(parts.policy.counts()),
    memory: {
      blocksOut: pool.bytesOut,
      held: stack.budget.used,
      timers: stack.timers.size,
      tcpFlows: stack.tcp.size,
      udpMappings: nat.size,
    },
    budget: {
      limit: stack.budget.limit,
      peak: stack.budget.peak,
      heldBack: sumOf(stack.ports(), (port) => port.budget.refused),
    },
    guests: Object.fromEntries(roster.all().map((guest) => [guest.name, guest.counters])),
  };
}
