/** What becomes of a flow: the policy decides, a service, the forwarder or a refusal follows. */
import type { Neighbour } from '../arp/index.js';
import { IPV4_BROADCAST, type Ipv4, cidrLast, isMulticastIpv4 } from '../core/index.js';
import type { OutboundTcp, PingNat, Publisher, UdpNat } from '../forwarder/index.js';
import { ICMP_UNREACHABLE, UNREACHABLE_PROHIBITED } from '../icmp/index.js';
import { type Decision, LOOPBACK } from '../policy/index.js';
import type { EchoIn, Stack, StackUpper, TcpSyn, UdpIn } from '../stack/index.js';
import { DHCP_SERVER_PORT, type DhcpService } from './dhcp-service.js';
import type { Asking } from './asking.js';
import type { Guest } from './guest.js';
import type { Judge } from './judge.js';
import type { Services } from './services.js';

export interface UpperParts {
  readonly stack: Stack;
  readonly services: Services;
  readonly outbound: OutboundTcp;
  readonly nat: UdpNat;
  readonly publisher: Publisher;
  readonly dhcp: DhcpService;
  readonly pings: PingNat;
  readonly judge: Judge;
  readonly asking: Asking;
}

export class Upper implements StackUpper {
  /** Set right after construction: the stack needs this object first. */
  parts!: UpperParts;
  tcp(syn: TcpSyn): void {
    const guest = syn.port.user as Guest;
    const { services, outbound, judge } = this.parts;
    const decision = judge.tcp(syn, guest);
    if (decision.verdict.kind === 'ask') this.parts.asking.tcp(syn, guest, decision);
    else if (decision.verdict.kind === 'service') services.tcp(syn, guest);
    else outbound.syn(syn, decision);
  }

  udp(datagram: UdpIn): void {
    const { stack, dhcp, publisher, services, nat, judge } = this.parts;
    const { config } = stack;
    const { destination, destinationPort } = datagram;
    const guest = datagram.port.user as Guest;
    const toAll = destination === IPV4_BROADCAST || destination === cidrLast(config.subnet);
    if (destinationPort === DHCP_SERVER_PORT && (toAll || destination === config.gatewayIp)) {
      dhcp.input(datagram, guest);
      return;
    }
    if (toAll) stack.counters.broadcastKept++;
    else if (isMulticastIpv4(destination)) stack.counters.multicastKept++;
    if (toAll || isMulticastIpv4(destination) || datagram.neighbour === undefined) return;
    if (publisher.reply(datagram)) return;
    const decision = judge.udp(datagram, guest);
    if (decision.verdict.kind === 'ask') this.parts.asking.udp(datagram, guest, decision);
    else if (decision.verdict.kind === 'service') services.udp(datagram, guest);
    else nat.send(datagram, decision);
  }

  echo(echo: EchoIn): void {
    const { stack, pings, judge } = this.parts;
    const port = stack.portOf(echo.neighbour);
    if (port === undefined) return;
    const guest = port.user as Guest;
    const decision = judge.echo(echo, guest);
    const { verdict } = decision;
    if (verdict.kind === 'deny') this.refuseEcho(echo, decision);
    else if (verdict.kind === 'ask') this.parts.asking.echo(echo, guest, decision);
    else if (verdict.kind === 'dial') pings.send(echo, verdict.ip);
  }

  /** Tells a guest that it may not ping there. */
  refuseEcho(echo: EchoIn, { verdict }: Decision): void {
    if (verdict.kind === 'deny' && verdict.how === 'silent') return;
    const { stack } = this.parts;
    const { bytes, offset } = echo;
    const quoted = stack.packets.quoteEcho(
      echo.neighbour,
      echo.destination,
      (bytes[offset + 4]! << 8) | bytes[offset + 5]!,
      (bytes[offset + 6]! << 8) | bytes[offset + 7]!,
    );
    stack.packets.icmpError(
      echo.neighbour,
      stack.config.gatewayIp,
      ICMP_UNREACHABLE,
      UNREACHABLE_PROHIBITED,
      0,
      quoted,
    );
  }

  portClosed(neighbour: Neighbour, guestPort: number, peer: Ipv4, peerPort: number): void {
    const { stack, nat, publisher } = this.parts;
    const { gatewayIp, hostAlias } = stack.config;
    if (publisher.portClosed(neighbour, guestPort, peer, peerPort) || peer === gatewayIp) return;
    nat.closed(neighbour, guestPort, peer === hostAlias ? LOOPBACK : peer, peerPort);
  }
}
