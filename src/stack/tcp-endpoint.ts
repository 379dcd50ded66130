/**
 * One end of a TCP connection with a guest: what the remote peer would be. It carries the connection's segments in IP
 * and Ethernet, arms its timer, and tells its application at the end of each batch what happened in it.
 */
import type { Neighbour } from '../arp/index.js';
import {
  type Deadline,
  type Ipv4,
  type Millis,
  OUTSIDE,
  type Seq,
  TX_CHECKSUM,
  UNSET,
} from '../core/index.js';
import { ETH_HEADER } from '../ethernet/index.js';
import { DEFAULT_TTL, IP_DONT_FRAGMENT, IP_HEADER, PROTOCOL_TCP, writeIpv4Header } from '../ipv4/index.js';
import {
  MIN_HEADER,
  type SegmentOut,
  type TcpConnection,
  type TcpConnectionLike,
  type TcpEnd,
  type TcpOwner,
  addPayload,
  writeSegment,
} from '../tcp/index.js';
import type { StackPort } from './port.js';
import type { Stack } from './stack.js';

/** What a send ring may hold in any case, bytes. */
const LEAST_SEND = 128 * 1024;

/** Who uses a connection. Called once per batch at most, `gone` last. */
export interface TcpApplication {
  established(): void;
  /** There are bytes in `connection.received`. */
  received(): void;
  /** Nothing follows what is in `connection.received`. */
  receivedFin(): void;
  /** The send ring has room. */
  acknowledged(): void;
  gone(end: TcpEnd): void;
}

const ESTABLISHED = 1;
const RECEIVED = 2;
const RECEIVED_FIN = 4;
const ACKNOWLEDGED = 8;

export class TcpEndpoint implements TcpOwner, Deadline {
  readonly stack: Stack;
  readonly port: StackPort;
  readonly neighbour: Neighbour;
  /** The address and port that we play. */
  readonly localIp: Ipv4;
  readonly localPort: number;
  /** The guest's. */
  readonly remotePort: number;
  at = UNSET.at;
  index = UNSET.index;
  connection!: TcpConnection;
  application!: TcpApplication;
  /** Stands in the stack's list of endpoints to process. */
  dirty = false;
  /** See Pins. */
  pins = false;
  /** See WindowShare. */
  epoch = 0;
  /** In the port's bag of endpoints. */
  place = OUTSIDE;
  /** Stands in the port's list of endpoints that wait for the link. */
  held = false;
  private events = 0;
  /** Sequence number of the guest's SYN, for ICMP errors about it. */
  firstSequence: Seq = 0 as Seq;
  /** Both addresses as int32, for each header. */
  private readonly source: number;
  private readonly destination: number;
  private ipId = 0;
  private gone = false;

  constructor(
    stack: Stack,
    port: StackPort,
    neighbour: Neighbour,
    localIp: Ipv4,
    localPort: number,
    remotePort: number,
  ) {
    this.stack = stack;
    this.port = port;
    this.neighbour = neighbour;
    this.localIp = localIp;
    this.source = localIp | 0;
    this.destination = neighbour.ip | 0;
    this.localPort = localPort;
    this.remotePort = remotePort;
  }

  get remoteIp(): Ipv4 {
    return this.neighbour.ip;
  }

  get ended(): boolean {
    return this.gone;
  }

  // -- for the application -------------------------------------------------------------------------------------

  /** Bytes were put into `connection.ring`. */
  wrote(): void {
    this.stack.touch(this);
  }

  /** The application took `n` bytes from `connection.received`. */
  consumed(n: number): void {
    this.connection.consumed(n, this.stack.now());
    this.stack.touch(this);
  }

  /** Answers the guest's SYN. */
  accept(): void {
    this.connection.accept(this.stack.now());
    this.stack.touch(this);
  }

  /** Refuses the guest's SYN with RST. */
  refuse(): void {
    this.connection.refuse(this.stack.now());
    this.stack.touch(this);
  }

  /** Refuses the guest's SYN with ICMP destination unreachable. */
  unreachable(code: number): void {
    this.stack.packets.unreachableTcp(this, code);
    this.connection.drop();
    this.stack.touch(this);
  }

  /** Leaves the guest's SYN unanswered. */
  ignore(): void {
    this.connection.drop();
  }

  /** No more will be written: FIN behind what is in the ring. */
  close(): void {
    this.connection.close(this.stack.now());
    this.stack.touch(this);
  }

  /** RST. */
  abort(): void {
    this.connection.abort(this.stack.now());
    this.stack.touch(this);
  }

  /** Bytes wait on the host's side: `acknowledged` comes when it is this connection's turn. */
  pull(): void {
    this.note(ACKNOWLEDGED);
  }

  /** The host's side takes bytes again: `received` comes when it is this connection's turn. */
  push(): void {
    this.note(RECEIVED);
  }

  /** How much may wait in the ring: twice what may be on its way, and little when memory is. */
  get sendLimit(): number {
    if (this.port.budget.tight) return LEAST_SEND;
    const { cwnd } = this.connection.snd.congestion;
    return cwnd < LEAST_SEND / 2 ? LEAST_SEND : cwnd * 2;
  }

  /** Counts bytes that were read from or written to the host's side. */
  spent(bytes: number): void {
    this.stack.turn.spend(bytes);
  }

  // -- the stack's side ----------------------------------------------------------------------------------------

  /** Tells the application what happened, then sends what may be sent, about `budget` bytes. True when more could go at once. */
  process(now: Millis, budget: number): boolean {
    while (this.events !== 0 && !this.gone) {
      const { events } = this;
      this.events = 0;
      if ((events & RECEIVED) !== 0) this.connection.windowLimit = this.port.windows.of(this, now);
      for (let event = ESTABLISHED; event <= ACKNOWLEDGED; event <<= 1)
        if ((events & event) !== 0) this.tell(event);
    }
    if (this.gone) return false;
    if (this.connection.received.bytes > 0) this.stack.pins.note(this);
    const { port } = this;
    const { throttle } = port;
    this.connection.holdOutput = port.blocked(now);
    const more = this.connection.output(
      now,
      throttle === undefined ? budget : Math.min(budget, throttle.share),
    );
    if (!port.blocked(now)) return more;
    if (!this.held) {
      this.held = true;
      port.held.push(this);
    }
    throttle?.arm(now);
    return false;
  }

  transmit(_connection: TcpConnectionLike, segment: SegmentOut): void {
    const { port } = this;
    if (port.closed) return;
    const { output } = port;
    const tcpLength = MIN_HEADER + segment.optionsLength;
    const total = IP_HEADER + tcpLength + segment.payloadLength;
    const at = output.begin(ETH_HEADER + IP_HEADER + tcpLength);
    const { view, bytes } = output;
    this.stack.writeEthernet(view, at, this.neighbour);
    this.ipId = (this.ipId + 1) & 0xffff;
    writeIpv4Header(
      view,
      at + ETH_HEADER,
      total,
      this.ipId,
      IP_DONT_FRAGMENT,
      DEFAULT_TTL,
      PROTOCOL_TCP,
      segment.ecn,
      this.source,
      this.destination,
    );
    writeSegment(view, bytes, at + ETH_HEADER + IP_HEADER, segment, this.localPort, this.remotePort);
    addPayload(output, this.connection.ring, segment);
    output.end(TX_CHECKSUM, segment.gsoSize);
    this.stack.turn.spendFrame(segment.payloadLength);
    this.stack.sent(port, ETH_HEADER + total);
  }

  established(): void {
    this.note(ESTABLISHED);
  }

  received(): void {
    this.note(RECEIVED);
  }

  receivedFin(): void {
    this.note(RECEIVED_FIN);
  }

  acknowledged(): void {
    this.note(ACKNOWLEDGED);
  }

  closed(_connection: TcpConnectionLike, end: TcpEnd): void {
    if (this.gone) return;
    this.gone = true;
    this.stack.forget(this);
    this.application.gone(end);
  }

  schedule(_connection: TcpConnectionLike, at: Millis): void {
    this.stack.timers.set(this, at);
  }

  /** The connection's time has come. */
  fire(now: Millis): void {
    this.connection.onTimer(now);
    this.stack.touch(this);
  }

  /** One event to the application, unless an earlier one ended the connection. */
  private tell(event: number): void {
    const { application } = this;
    if (this.gone) return;
    if (event === ESTABLISHED) application.established();
    else if (event === RECEIVED) application.received();
    else if (event === RECEIVED_FIN) application.receivedFin();
    else application.acknowledged();
  }

  private note(event: number): void {
    this.events |= event;
    this.stack.touch(this);
  }
}
