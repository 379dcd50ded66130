/**
 * One virtual network: a switch with guests on its ports, and behind port 0 the gateway, which plays every remote peer.
 *
 * Theory of operation. `input` takes a batch of frames from a port. Frames to the gateway go up: ARP, IPv4, and from
 * there TCP connections, UDP services, ICMP; all others go to the port of their MAC address, or to all. Nothing leaves
 * at once: connections that were touched wait in `turn`, frames wait in the ports' outputs, until `flush`. That runs at the
 * end of a batch, or deferred to the end of the event-loop turn when the host side was the reason; it serves each connection
 * with a share and all together with a budget, so that neither one flow nor one turn keeps others waiting. This is the only
 * place that arms a timer. Time is whole milliseconds here: small integers cost no memory.
 */
import type { Neighbour } from '../arp/index.js';
import {
  type Block,
  Budget,
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
import { ChallengeLimit, createTcpCounters } from '../tcp/index.js';
import { Alarm } from './alarm.js';
import { Bridge } from './bridge.js';
import { Guard } from './guard.js';
import { ArpService } from './arp-service.js';
import { IpInput } from './ip-input.js';
import { Packets } from './packets.js';
import { Pins } from './pins.js';
import { StackPort } from './port.js';
import { Shares, microsOf } from './shares.js';
import { FLOODS, Storm } from './storm.js';
import { Throttle } from './throttle.js';
import { type ConnectionOptions, TcpDemux } from './tcp-demux.js';
import { Turn } from './turn.js';
import type { TcpApplication, TcpEndpoint } from './tcp-endpoint.js';
import {
  GUEST_MEMORY,
  type PortOptions,
  type StackConfig,
  type StackDeps,
  type StackUpper,
  TOTAL_MEMORY,
  stackCounters,
} from './types.js';

/** A sender that goes on is learned again after this, ms. */
const LEARN_AGAIN: Millis = 10_000;
/** Timers fired at once; those beyond wait for the next turn. */
const TIMERS_PER_TURN = 1024;

export class Stack {
  readonly config: StackConfig;
  readonly deps: StackDeps;
  readonly upper: StackUpper;
  readonly counters = stackCounters();
  readonly tcpCounters = createTcpCounters();
  readonly timers = new Timers();
  /** Memory that the flows of all guests hold. */
  readonly budget: Budget;
  readonly macs = new MacTable();
  readonly packets: Packets;
  readonly arp: ArpService;
  readonly ip: IpInput;
  readonly tcp: TcpDemux;
  readonly bridge: Bridge;
  readonly guard: Guard;
  readonly gatewayHigh: number;
  readonly gatewayLow: number;
  private readonly gatewayWord: number;
  private readonly byId = new Map<number, StackPort>();
  private nextPort = 1;
  private nextFlow = 1;
  readonly shares: Shares;
  readonly turn: Turn;
  readonly pins: Pins;
  /** Inside `input`, `flush` or a timer: the time it began, and a flush that follows by itself. */
  private busy = false;
  private time: Millis = 0;
  private deferred = false;
  private stopped = false;
  private readonly alarm: Alarm;
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
    this.gatewayWord = this.gatewayLow | 0;
    this.alarm = new Alarm(deps.scheduler, this.timers, () => {
      this.expire();
    });
    this.shares = new Shares(microsOf(deps.scheduler));
    this.turn = new Turn(this.shares);
    this.pins = new Pins(deps.pool);
    this.budget = new Budget(config.totalMemory ?? TOTAL_MEMORY);
    const empty: Block = deps.pool.takeSmall();
    empty.release();
    this.guard = new Guard(this);
    this.packets = new Packets(this);
    this.arp = new ArpService(this);
    this.ip = new IpInput(this);
    this.bridge = new Bridge(this);
    this.tcp = new TcpDemux(this, empty);
  }

  /** The monotonic clock in whole milliseconds; it stands still within a turn. */
  now(): Millis {
    return this.busy ? this.time : Math.floor(this.deps.scheduler.now());
  }

  /** A number for a flow, never used again in this network. */
  flowId(): number {
    return this.nextFlow++;
  }

  // -- ports ---------------------------------------------------------------------------------------------------

  addPort(output: FrameOutput, options: PortOptions = {}): StackPort {
    const { config } = this;
    const {
      mtu = config.mtu,
      isolated = false,
      memory = config.guestMemory ?? GUEST_MEMORY,
      rates,
    } = options;
    const budget = new Budget(memory, this.budget);
    const storm = new Storm(config.floods ?? FLOODS);
    const challenges = new ChallengeLimit(this.deps.random);
    const port = new StackPort({ id: this.nextPort++, output, mtu, budget, storm, challenges, isolated });
    if (rates?.up !== undefined || rates?.down !== undefined)
      port.throttle = new Throttle(this, port, rates, options.link);
    this.byId.set(port.id, port);
    return port;
  }

  /** Ends every flow of a guest that went away and forgets its addresses. */
  removePort(port: StackPort): void {
    if (port.closed) return;
    port.closed = true;
    port.throttle?.stop();
    for (const endpoint of [...port.endpoints]) endpoint.abort();
    this.byId.delete(port.id);
    this.shares.forget(port);
    this.counters.neighboursEvicted += port.neighbours.evicted;
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
    const now = this.begin();
    const { meta, block, count } = batch;
    // Reading it cost something, too.
    this.shares.charge(port, count >> 2);
    this.shares.pay(port);
    const before = port.counters.bytesIn;
    try {
      for (let i = 0; i < count; i++) {
        const at = i * META_STRIDE;
        this.frame(port, block, meta[at]!, meta[at + 1]!, meta[at + 2]!, meta[at + 3]!, now);
      }
      port.throttle?.received(now, port.counters.bytesIn - before);
    } finally {
      this.busy = false;
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
    if (port.throttle?.admits(now, length) === false) return;
    port.counters.framesIn++;
    port.counters.bytesIn += length;
    const sourceHigh = view.getUint16(at + 6);
    if (
      view.getInt32(at + 8) === port.lastMacWord &&
      sourceHigh === port.lastMacHigh &&
      now - port.lastLearned < LEARN_AGAIN &&
      view.getInt32(at + 2) === this.gatewayWord &&
      view.getUint16(at) === this.gatewayHigh &&
      view.getUint16(at + 12) === ETHERTYPE_IPV4 &&
      this.ip.segment(port, block, at + ETH_HEADER, length - ETH_HEADER, flags, now)
    )
      return;
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
        this.arp.input(port, block.region, at + ETH_HEADER, length - ETH_HEADER);
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
    if (high === port.lastMacHigh && low === port.lastMacLow && now - port.lastLearned < LEARN_AGAIN)
      return true;
    if ((high & 0x100) !== 0 || (high === 0 && low === 0)) {
      this.counters.groupSource++;
      return false;
    }
    if (!this.guard.mayUseMac(port, high, low, now)) return false;
    port.lastMacHigh = high;
    port.lastMacLow = low;
    port.lastMacWord = low | 0;
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
    port.throttle?.sent(this.now(), length);
    this.turn.pending(port);
    if (!this.busy) this.deferFlush();
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

  // -- the turn ------------------------------------------------------------------------------------------------

  /** The endpoint has something to tell or to send: it is served by the next flush. */
  touch(endpoint: TcpEndpoint): void {
    this.turn.touch(endpoint);
    if (!this.busy) this.deferFlush();
  }

  /** The endpoint's connection is over. */
  forget(endpoint: TcpEndpoint): void {
    this.timers.cancel(endpoint);
    this.pins.forget(endpoint);
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

  /** Serves touched connections within the turn's budget and sends what waits; the rest follows in the next turn. */
  flush(): void {
    if (this.busy) return;
    const now = this.begin();
    try {
      this.tcp.newTurn();
      this.turn.run(now);
      this.pins.relieve(now);
    } finally {
      this.busy = false;
    }
    if (this.turn.waiting > 0 || this.tcp.crowd) this.deferFlush();
    this.rearm();
  }

  private begin(): Millis {
    this.time = Math.floor(this.deps.scheduler.now());
    this.busy = true;
    return this.time;
  }

  /** Makes sure that the timer comes for the earliest deadline. */
  rearm(): void {
    if (!this.stopped) this.alarm.set(this.now());
  }

  private expire(): void {
    if (this.stopped) return;
    const now = this.begin();
    try {
      this.timers.run(now, TIMERS_PER_TURN);
    } finally {
      this.busy = false;
    }
    this.flush();
  }

  /** Resets every flow, sends what waits, and does nothing more. */
  stop(): void {
    if (this.stopped) return;
    for (const port of [...this.byId.values()]) {
      port.syns?.clear();
      for (const endpoint of [...port.endpoints]) endpoint.abort();
    }
    this.arp.clear();
    this.flush();
    this.stopped = true;
    this.alarm.stop();
  }
}
