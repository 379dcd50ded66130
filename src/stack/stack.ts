/**
 * One virtual network: a switch with guests on its ports, and behind port 0 the gateway, which plays every remote peer.
 *
 * Theory of operation. `input` takes a batch of frames from a port. Frames to the gateway go up: ARP, IPv4, and from
 * there TCP connections, UDP services, ICMP; all others go to the port of their MAC address, or to all. Nothing leaves
 * at once: connections that were touched wait in `dirty`, frames wait in the ports' outputs, until `flush`. That runs at
 * the end of a batch, or deferred to the end of the event-loop turn when the host side was the reason; it gives each
 * connection a budget, so that one flow cannot keep the others waiting. This is the only place that arms a timer.
 */
import type { Neighbour } from '../arp/index.js';
import {
  type Block,
  type Cancel,
  type FrameBatch,
  type FrameOutput,
  type Ipv4,
  META_STRIDE,
  MIN_FRAME,
  type Millis,
  type Seq,
  Timers,
  macHigh,
  macLow,
} from '../core/index.js';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETH_HEADER, MacTable } from '../ethernet/index.js';
import { ICMP_UNREACHABLE } from '../icmp/index.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../ipv4/index.js';
import { createTcpCounters } from '../tcp/index.js';
import { Bridge } from './bridge.js';
import { Guard } from './guard.js';
import { ArpService } from './arp-service.js';
import { IpInput } from './ip-input.js';
import { Packets, quotePacket } from './packets.js';
import { StackPort } from './port.js';
import { type ConnectionOptions, TcpDemux } from './tcp-demux.js';
import type { TcpApplication, TcpEndpoint } from './tcp-endpoint.js';
import { type StackConfig, type StackDeps, type StackUpper, stackCounters } from './types.js';

export class Stack {
  readonly config: StackConfig;
  readonly deps: StackDeps;
  readonly upper: StackUpper;
  readonly counters = stackCounters();
  readonly tcpCounters = createTcpCounters();
  readonly timers = new Timers();
  readonly macs = new MacTable();
  readonly packets: Packets;
  readonly arp: ArpService;
  readonly ip: IpInput;
  readonly tcp: TcpDemux;
  readonly bridge: Bridge;
  readonly guard: Guard;
  readonly gatewayHigh: number;
  readonly gatewayLow: number;
  private readonly byId = new Map<number, StackPort>();
  private nextPort = 1;
  private dirty: TcpEndpoint[] = [];
  private spare: TcpEndpoint[] = [];
  private flushing = false;
  private deferred = false;
  private stopped = false;
  private armedAt = Number.POSITIVE_INFINITY;
  private cancelTimer: Cancel | undefined;
  private readonly runFlush = (): void => {
    this.deferred = false;
    this.flush();
  };

  constructor(config: StackConfig, deps: StackDeps, upper: StackUpper) {
    this.config = config;
    this.deps = deps;
    this.upper = upper;
    this.gatewayHigh = macHigh(config.gatewayMac);
    this.gatewayLow = macLow(config.gatewayMac);
    const empty: Block = deps.pool.takeSmall();
    empty.release();
    this.guard = new Guard(this);
    this.packets = new Packets(this);
    this.arp = new ArpService(this);
    this.ip = new IpInput(this);
    this.bridge = new Bridge(this);
    this.tcp = new TcpDemux(this, empty);
  }

  now(): Millis {
    return this.deps.scheduler.now();
  }

  // -- ports ---------------------------------------------------------------------------------------------------

  addPort(output: FrameOutput, mtu = this.config.mtu): StackPort {
    const port = new StackPort(this.nextPort++, output, mtu);
    this.byId.set(port.id, port);
    return port;
  }

  /** Ends every flow of a guest that went away and forgets its addresses. */
  removePort(port: StackPort): void {
    if (port.closed) return;
    port.closed = true;
    for (const endpoint of [...port.endpoints]) endpoint.abort();
    this.byId.delete(port.id);
    this.macs.forgetPort(port.id);
    this.ip.reassembler.forgetPort(port.id);
    this.deferFlush();
  }

  port(id: number): StackPort | undefined {
    return this.byId.get(id);
  }

  ports(): Iterable<StackPort> {
    return this.byId.values();
  }

  /** The port of a neighbour, while it is there. */
  portOf(neighbour: Neighbour): StackPort | undefined {
    return this.byId.get(neighbour.port);
  }

  // -- addresses -----------------------------------------------------------------------------------------------

  /** True for the gateway's address and the host alias. */
  isOurs(ip: Ipv4): boolean {
    return ip === this.config.gatewayIp || ip === this.config.hostAlias;
  }

  learn(port: StackPort, ip: Ipv4, high: number, low: number): Neighbour {
    return this.guard.learn(port, ip, high, low);
  }

  /** Where an address is, on whatever port. */
  findNeighbour(ip: Ipv4): Neighbour | undefined {
    return this.guard.find(ip);
  }

  // -- in ------------------------------------------------------------------------------------------------------

  /** Takes a batch of frames from a port. Keeps no reference to the batch; payload that stays retains its block. */
  input(port: StackPort, batch: FrameBatch): void {
    if (port.closed || this.stopped) return;
    const now = this.now();
    const { meta, block, count } = batch;
    this.bridge.newBatch();
    for (let i = 0; i < count; i++) {
      const at = i * META_STRIDE;
      this.frame(port, block, meta[at]!, meta[at + 1]!, meta[at + 2]!, meta[at + 3]!, now);
    }
    this.flush();
  }

  private frame(
    port: StackPort,
    block: Block,
    at: number,
    length: number,
    flags: number,
    gsoSize: number,
    now: Millis,
  ): void {
    const { counters } = this;
    const { view } = block.region;
    if (length < MIN_FRAME) {
      counters.shortFrame++;
      return;
    }
    port.counters.framesIn++;
    port.counters.bytesIn += length;
    const sourceHigh = view.getUint16(at + 6);
    const sourceLow = view.getUint32(at + 8);
    if (!this.source(port, sourceHigh, sourceLow, now)) return;
    const high = view.getUint16(at);
    const low = view.getUint32(at + 2);
    const toGateway = high === this.gatewayHigh && low === this.gatewayLow;
    if (toGateway || (high & 0x100) !== 0) {
      const type = view.getUint16(at + 12);
      if (type === ETHERTYPE_IPV4) {
        this.ip.input(port, block, at + ETH_HEADER, length - ETH_HEADER, flags, sourceHigh, sourceLow, now);
      } else if (type === ETHERTYPE_ARP) {
        this.arp.input(port, block.region.bytes, at + ETH_HEADER, length - ETH_HEADER);
      } else if (type === ETHERTYPE_IPV6) {
        counters.ipv6++;
      } else if (toGateway) {
        counters.unknownEtherType++;
      }
    }
    if (!toGateway && this.byId.size > 1)
      this.bridge.pass(port, block, at, length, high, low, flags, gsoSize, now);
  }

  /** Learns the sender; false when no frame may come from there. */
  private source(port: StackPort, high: number, low: number, now: Millis): boolean {
    if (high === port.lastMacHigh && low === port.lastMacLow && now - port.lastLearned < 10_000) return true;
    if ((high & 0x100) !== 0 || (high === 0 && low === 0)) {
      this.counters.groupSource++;
      return false;
    }
    if (high === this.gatewayHigh && low === this.gatewayLow) {
      this.counters.spoofedSource++;
      return false;
    }
    this.macs.learn(high, low, port.id, now);
    port.lastMacHigh = high;
    port.lastMacLow = low;
    port.lastLearned = now;
    port.lastNeighbour = undefined;
    return true;
  }

  // -- out -----------------------------------------------------------------------------------------------------

  /** Opens a connection to a guest at a known place. */
  connect(
    neighbour: Neighbour,
    localIp: Ipv4,
    localPort: number,
    remotePort: number,
    application: TcpApplication,
    options?: ConnectionOptions,
  ): TcpEndpoint | undefined {
    const port = this.portOf(neighbour);
    if (port === undefined) return undefined;
    return this.tcp.connect(port, neighbour, localIp, localPort, remotePort, application, options);
  }

  /** The Ethernet header of a frame to a neighbour. */
  writeEthernet(view: DataView, at: number, neighbour: Neighbour): void {
    this.packets.ethernet(view, at, neighbour);
  }

  /** Counts a frame that stands in a port's output; it leaves with the next flush. */
  sent(port: StackPort, length: number): void {
    port.counters.framesOut++;
    port.counters.bytesOut += length;
    port.pending = true;
    if (!this.flushing) this.deferFlush();
  }

  sendBareTcp(
    port: StackPort,
    neighbour: Neighbour,
    source: Ipv4,
    ports: number,
    segment: { seq: Seq; ack: Seq; flags: number },
  ): void {
    this.packets.bareTcp(port, neighbour, source, ports, segment);
  }

  /** ICMP destination unreachable about a TCP or UDP packet of the guest, told by its first words. */
  icmpUnreachable(
    neighbour: Neighbour,
    protocol: number,
    destination: Ipv4,
    word0: number,
    word1: number,
    code: number,
    mtu: number,
  ): void {
    const quoted = quotePacket(neighbour.ip, destination, protocol, word0, word1, 40);
    // What the address itself would say comes from the address, as from a host; RFC 1122 section 3.2.2.1.
    const source = code === 2 || code === 3 ? destination : this.config.gatewayIp;
    this.packets.icmpError(neighbour, source, ICMP_UNREACHABLE, code, mtu & 0xffff, quoted);
  }

  icmpUnreachableTcp(endpoint: TcpEndpoint, code: number): void {
    const ports = (endpoint.remotePort << 16) | endpoint.localPort;
    this.icmpUnreachable(
      endpoint.neighbour,
      PROTOCOL_TCP,
      endpoint.localIp,
      ports,
      endpoint.firstSequence,
      code,
      0,
    );
  }

  icmpUnreachableUdp(
    neighbour: Neighbour,
    guestPort: number,
    destination: Ipv4,
    port: number,
    length: number,
    code: number,
    mtu: number,
  ): void {
    const ports = ((guestPort << 16) | port) >>> 0;
    this.icmpUnreachable(neighbour, PROTOCOL_UDP, destination, ports, ((length + 8) << 16) >>> 0, code, mtu);
  }

  // -- the turn ------------------------------------------------------------------------------------------------

  /** The endpoint has something to tell or to send: it is served by the next flush. */
  touch(endpoint: TcpEndpoint): void {
    if (endpoint.dirty) return;
    endpoint.dirty = true;
    this.dirty.push(endpoint);
    if (!this.flushing) this.deferFlush();
  }

  /** The endpoint's connection is over. */
  forget(endpoint: TcpEndpoint): void {
    this.timers.cancel(endpoint.timer);
    this.tcp.remove(endpoint);
  }

  /** The link of a port takes frames again. */
  writable(port: StackPort): void {
    for (const endpoint of port.held) {
      endpoint.held = false;
      if (!endpoint.ended) this.touch(endpoint);
    }
    port.held.length = 0;
  }

  private deferFlush(): void {
    if (this.deferred || this.stopped) return;
    this.deferred = true;
    this.deps.scheduler.defer(this.runFlush);
  }

  /** Serves every touched connection once and sends what waits. */
  flush(): void {
    if (this.flushing) return;
    this.flushing = true;
    const now = this.now();
    try {
      let again = false;
      // A served endpoint may touch others (a service that answers at once): a few rounds, then the next turn.
      for (let round = 0; round < 4 && this.dirty.length > 0; round++) {
        const { dirty } = this;
        this.dirty = this.spare;
        for (const endpoint of dirty) {
          endpoint.dirty = false;
          if (!endpoint.ended && endpoint.process(now)) {
            endpoint.dirty = true;
            this.dirty.push(endpoint);
            again = true;
          }
        }
        dirty.length = 0;
        this.spare = dirty;
        if (again) break;
      }
      for (const port of this.byId.values()) {
        if (!port.pending) continue;
        port.pending = false;
        port.output.flush();
      }
    } finally {
      this.flushing = false;
    }
    if (this.dirty.length > 0) this.deferFlush();
    this.rearm();
  }

  /** Makes sure that the timer comes for the earliest deadline. */
  rearm(): void {
    if (this.stopped) return;
    const next = Math.min(this.timers.next(), this.ip.reassembler.next());
    if (next >= this.armedAt) return;
    this.cancelTimer?.();
    this.armedAt = next;
    this.cancelTimer = this.deps.scheduler.after(Math.max(0, next - this.now()), () => {
      this.armedAt = Number.POSITIVE_INFINITY;
      this.cancelTimer = undefined;
      this.expire();
    });
  }

  private expire(): void {
    if (this.stopped) return;
    const now = this.now();
    this.timers.run(now);
    this.ip.expire(now);
    this.flush();
  }

  /** Resets every flow, sends what waits, and does nothing more. */
  stop(): void {
    if (this.stopped) return;
    for (const port of [...this.byId.values()]) for (const endpoint of [...port.endpoints]) endpoint.abort();
    this.arp.clear();
    this.flush();
    this.stopped = true;
    this.cancelTimer?.();
    this.cancelTimer = undefined;
  }
}
