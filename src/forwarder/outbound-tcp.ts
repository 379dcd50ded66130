/**
 * Guests' connections to the world.
 *
 * Limits: a guest has MAX_DIALS_PER_GUEST pending dials, MAX_DIALS_PER_DESTINATION of them to one address and port: a SYN beyond
 * is dropped and counted, and the guest's own retransmission tries again. MAX_FLOWS_PER_GUEST connections; a SYN beyond
 * is refused. MAX_HALF_OPEN_PER_GUEST dials that were answered and wait for the guest's ACK: a SYN beyond is dropped, too, before it
 * costs a socket. A dial ends after DIAL_TIMEOUT or when the guest gives up.
 */
import {
  Bag,
  type Errno,
  type HostIo,
  type Ipv4,
  type Logger,
  type Millis,
  Timer,
  hashKey,
} from '../core/index.js';
import { UNREACHABLE_HOST, UNREACHABLE_PROHIBITED } from '../icmp/index.js';
import type { Decision, DialVerdict } from '../policy/index.js';
import {
  type ConnectionOptions,
  FlowTable,
  type Stack,
  type StackPort,
  type TcpSyn,
} from '../stack/index.js';
import type { TcpEnd } from '../tcp/index.js';
import { GuestStream } from './guest-stream.js';
import type { HostDuplex } from './host-duplex.js';
import { Ipv4Target } from './ipv4-target.js';
import { refusalOf } from './refusal.js';
import { type FlowOwner, TcpFlow } from './tcp-flow.js';
import type { Way, WayOf } from './way.js';

export const MAX_DIALS_PER_GUEST = 8192;
export const MAX_DIALS_PER_DESTINATION = 4096;
export const MAX_FLOWS_PER_GUEST = 32_768;
/** A guest that is served acknowledges within a turn or two: more than a few half-open connections are a flood. */
export const MAX_HALF_OPEN_PER_GUEST = 1024;
/** As long as a Linux guest keeps trying with its default of 6 SYN retransmissions, ms. */
export const DIAL_TIMEOUT: Millis = 127_000;
/** A host without ports or memory for the moment is asked again after this, ms, this many times. */
const RETRY_AFTER: Millis = 100;
const RETRIES = 3;

/** What a dial costs later, in other calls: its outcome, its end. µs. */
const DIAL = 15;

export interface OutboundLimits {
  readonly dialsPerGuest: number;
  readonly dialsPerDestination: number;
  readonly flowsPerGuest: number;
  readonly dialTimeout: Millis;
}

export const DEFAULT_OUTBOUND_LIMITS: OutboundLimits = {
  dialsPerGuest: MAX_DIALS_PER_GUEST,
  dialsPerDestination: MAX_DIALS_PER_DESTINATION,
  flowsPerGuest: MAX_FLOWS_PER_GUEST,
  dialTimeout: DIAL_TIMEOUT,
};

export function outboundCounters() {
  return {
    dialed: 0,
    opened: 0,
    adopted: 0,
    refused: 0,
    unreachable: 0,
    timedOut: 0,
    retried: 0,
    exhausted: 0,
    cancelled: 0,
    guestDialLimit: 0,
    destinationDialLimit: 0,
    halfOpenLimit: 0,
    flowLimit: 0,
    denied: 0,
    resets: 0,
    closed: 0,
  };
}

/** A SYN that waits unanswered for a decision. */
export interface HeldDial {
  /** Dials, or refuses; once. */
  conclude(decision: Decision): void;
}

/** What a guest is dialling, and how often. */
interface Destination {
  readonly owner: number;
  readonly ip: Ipv4;
  readonly port: number;
  dials: number;
}

export interface Dial {
  readonly flow: TcpFlow;
  readonly port: StackPort;
  readonly destination: Destination;
  target: Ipv4Target;
  /** Called once when the guest gives up before there was a decision. */
  gone?: (() => void) | undefined;
  way: Way | undefined;
  readonly timer: Timer;
  tries: number;
  /** The SYN was answered; the guest's ACK is to come. */
  halfOpen: boolean;
  /** The last trouble was the host's own lack of something. */
  pending: boolean;
}

export class OutboundTcp implements FlowOwner {
  readonly counters = outboundCounters();
  /** Asked about each flow that the policy lets go where it wants to. */
  wayOf: WayOf | undefined;
  private readonly stack: Stack;
  private readonly io: HostIo;
  private readonly logger: Logger;
  private readonly limits: OutboundLimits;
  private readonly options: ConnectionOptions;
  private readonly destinations: FlowTable<Destination>;
  private readonly live = new Bag<TcpFlow>();
  private pending = 0;

  constructor(
    stack: Stack,
    io: HostIo,
    logger: Logger,
    limits: OutboundLimits = DEFAULT_OUTBOUND_LIMITS,
    options: ConnectionOptions = {},
  ) {
    this.stack = stack;
    this.io = io;
    this.logger = logger;
    this.limits = limits;
    this.options = options;
    this.destinations = new FlowTable(hashKey(stack.deps.random));
  }

  get flowCount(): number {
    return this.live.size;
  }

  flows(): Iterable<TcpFlow> {
    return this.live;
  }

  get pendingDials(): number {
    return this.pending;
  }

  /**
   * Goes on with two connections that stand as one flow; false, and nothing was done, where bytes wait in one of them. `name`: what
   * the guest said of where it leads.
   */
  adopt(guest: GuestStream, host: HostDuplex, peer: string, name?: string): boolean {
    if (!guest.releasable || !host.releasable) return false;
    const flow = new TcpFlow(this, this.stack.flowId(), 'out', peer, this.stack.now());
    flow.name = name;
    this.live.add(flow);
    this.counters.adopted++;
    const near = guest.release(flow);
    const far = host.release(flow);
    flow.resume(near.endpoint, far.stream, near.ended, far.ended);
    return true;
  }

  /** Answers a SYN as the policy decided. */
  syn(syn: TcpSyn, decision: Decision): void {
    const { verdict } = decision;
    if (verdict.kind === 'dial') {
      const dial = this.dial(syn, verdict.ip, verdict.port, decision.name);
      if (dial !== undefined) this.begin(dial, verdict);
      return;
    }
    this.counters.denied++;
    if (verdict.kind !== 'deny' || verdict.how === 'reset') syn.reject();
    else if (verdict.how !== 'silent')
      syn.unreachable(verdict.how === 'prohibited' ? UNREACHABLE_PROHIBITED : UNREACHABLE_HOST);
  }

  /** Keeps a SYN that somebody is asked about; undefined: a limit has answered it. `gone`: the guest gave up. */
  hold(syn: TcpSyn, { verdict, name }: Decision, gone: () => void): HeldDial | undefined {
    if (verdict.kind !== 'ask') return undefined;
    const dial = this.dial(syn, verdict.then.ip, verdict.then.port, name);
    if (dial === undefined) return undefined;
    dial.gone = gone;
    return {
      conclude: (decision) => {
        dial.gone = undefined;
        if (dial.flow.dial === dial) this.conclude(dial, decision);
      },
    };
  }

  private conclude(dial: Dial, { verdict }: Decision): void {
    const { flow } = dial;
    if (verdict.kind === 'dial') {
      dial.target = new Ipv4Target(verdict.ip, verdict.port, dial.port.endpoints.size);
      flow.leadTo(dial.target);
      this.begin(dial, verdict);
      return;
    }
    this.counters.denied++;
    this.settle(flow);
    if (verdict.kind !== 'deny' || verdict.how === 'reset') flow.endpoint.refuse();
    else if (verdict.how === 'silent') flow.endpoint.ignore();
    else flow.endpoint.unreachable(verdict.how === 'prohibited' ? UNREACHABLE_PROHIBITED : UNREACHABLE_HOST);
  }

  /** Keeps the SYN, and a place among the dials; undefined: a limit has answered it. */
  private dial(syn: TcpSyn, ip: Ipv4, port: number, name: string | undefined): Dial | undefined {
    const { counters, limits } = this;
    const owner = syn.port.id;
    const known = this.destinations.find(owner, ip, port, 0);
    if (syn.port.endpoints.size >= Math.min(limits.flowsPerGuest, syn.port.maxFlows)) {
      counters.flowLimit++;
      syn.reject();
      return undefined;
    }
    if (syn.port.dials >= limits.dialsPerGuest) {
      counters.guestDialLimit++;
      return undefined;
    }
    if (syn.port.halfOpen >= MAX_HALF_OPEN_PER_GUEST) {
      counters.halfOpenLimit++;
      return undefined;
    }
    if (known !== undefined && known.dials >= limits.dialsPerDestination) {
      counters.destinationDialLimit++;
      return undefined;
    }
    const target = new Ipv4Target(ip, port, syn.port.endpoints.size);
    const flow = new TcpFlow(this, this.stack.flowId(), 'out', target, this.stack.now());
    flow.name = name;
    flow.endpoint = syn.hold(flow, this.options);
    if (flow.endpoint.ended) return undefined;
    const dial: Dial = {
      flow,
      port: syn.port,
      destination: known ?? { owner, ip, port, dials: 0 },
      target,
      way: undefined,
      tries: 0,
      halfOpen: false,
      pending: true,
      timer: new Timer(() => {
        this.timeUp(dial);
      }),
    };
    this.live.add(flow);
    flow.dial = dial;
    this.pending++;
    syn.port.dials++;
    if (known === undefined) this.destinations.set(owner, ip, port, 0, dial.destination);
    dial.destination.dials++;
    counters.dialed++;
    this.stack.shares.charge(syn.port, DIAL);
    this.stack.timers.set(dial.timer, this.stack.now() + limits.dialTimeout);
    this.stack.rearm();
    return dial;
  }

  private begin(dial: Dial, { ip, port, via }: DialVerdict): void {
    if (via === 'direct') dial.way = this.wayOf?.(dial.port, ip, port);
    this.attempt(dial);
  }

  private attempt(dial: Dial): void {
    const { flow, way, target } = dial;
    dial.tries++;
    if (way === undefined) flow.attach(this.io.dial(target, flow));
    else
      way.open((errno) => {
        if (errno === undefined) flow.connected();
        else flow.failed(errno);
      });
  }

  flowAnswered(flow: TcpFlow): void {
    const { dial } = flow;
    if (dial === undefined || dial.halfOpen) return;
    dial.halfOpen = true;
    dial.port.halfOpen++;
  }

  flowOpened(flow: TcpFlow): void {
    const { dial } = flow;
    const way = dial?.way;
    this.counters.opened++;
    if (dial !== undefined) dial.way = undefined;
    this.settle(flow);
    if (way === undefined) return;
    this.live.delete(flow);
    const stream = new GuestStream();
    const { endpoint } = flow;
    endpoint.application = stream;
    stream.endpoint = endpoint;
    way.take(stream);
  }

  flowFailed(flow: TcpFlow, errno: Errno): void {
    const { dial } = flow;
    if (dial === undefined) return;
    const refusal = refusalOf(errno);
    if (refusal === 'retry' && dial.tries <= RETRIES) {
      this.counters.retried++;
      dial.pending = false;
      this.stack.timers.set(dial.timer, this.stack.now() + RETRY_AFTER * dial.tries);
      this.stack.rearm();
      return;
    }
    this.settle(flow);
    if (refusal === 'silent') {
      if (errno === 'ETIMEDOUT') this.counters.timedOut++;
      else this.exhausted(errno);
      flow.endpoint.ignore();
    } else if (refusal === 'reset') {
      this.counters.refused++;
      flow.endpoint.refuse();
    } else {
      this.counters.unreachable++;
      flow.endpoint.unreachable(refusal === 'retry' ? UNREACHABLE_HOST : refusal.icmp);
    }
  }

  flowClosed(flow: TcpFlow, end: TcpEnd): void {
    if (flow.dial !== undefined) this.counters.cancelled++;
    this.settle(flow);
    if (end === 'closed') this.counters.closed++;
    else this.counters.resets++;
    this.live.delete(flow);
  }

  /** Either the dial has taken too long, or a pause before the next try is over. */
  private timeUp(dial: Dial): void {
    if (!dial.pending) {
      dial.pending = true;
      this.stack.timers.set(dial.timer, dial.flow.startedAt + this.limits.dialTimeout);
      this.attempt(dial);
      return;
    }
    this.counters.timedOut++;
    this.settle(dial.flow);
    dial.flow.endpoint.ignore();
  }

  private settle(flow: TcpFlow): void {
    const { dial } = flow;
    if (dial === undefined) return;
    flow.dial = undefined;
    this.pending--;
    dial.gone?.();
    dial.way?.drop();
    this.stack.timers.cancel(dial.timer);
    if (dial.halfOpen) dial.port.halfOpen--;
    dial.port.dials--;
    const { destination } = dial;
    if (--destination.dials > 0) return;
    this.destinations.delete(destination.owner, destination.ip, destination.port, 0);
  }

  private exhausted(errno: Errno): void {
    this.counters.exhausted++;
    this.logger.warn(`the host cannot open more connections (${errno}); guests will try again`, {
      errno,
      every: 10_000,
    });
  }
}
