/** Which connection a segment belongs to; a SYN without one becomes a request that somebody answers later. */
import type { Neighbour } from '../arp/index.js';
import {
  type Block,
  type HashKey,
  type Ipv4,
  type Millis,
  type Seq,
  fold,
  hash4,
  hashKey,
  pseudoSum,
  seq,
  sumView,
} from '../core/index.js';
import { PROTOCOL_TCP } from '../ipv4/index.js';
import {
  ACK,
  MIN_HEADER,
  RST,
  SYN,
  type SegmentIn,
  TcpConnection,
  type TcpSettings,
  readSegment,
  respondToUnknown,
  segmentIn,
} from '../tcp/index.js';
import { FlowTable } from './flow-table.js';
import type { StackPort } from './port.js';
import type { Stack } from './stack.js';
import { type AnswerSyn, SYNS_PER_TURN, SynBacklog } from './syn-backlog.js';
import { type TcpApplication, TcpEndpoint } from './tcp-endpoint.js';

/**
 * How long a connection stays in TIME-WAIT, ms. RFC 9293 waits for old duplicates to die in the network; between a guest and
 * its own switch there is no network for them to hide in (docs/conformance.md).
 */
const TIME_WAIT: Millis = 2000;

/** The receive window at first, bytes. */
const RECEIVE_START = 256 * 1024;

/** Questions whether a silent guest is still there before its connection is given up, and the time between them at most, ms: Linux's. */
const KEEP_ALIVE_PROBES = 9;
const KEEP_ALIVE_INTERVAL: Millis = 75_000;

/** Per-connection settings that the user of a connection may choose. */
export interface ConnectionOptions {
  readonly receiveWindow?: number;
  readonly sendBuffer?: number;
}

/** A guest's SYN that waits for an answer. Valid during `StackUpper.tcp` only; `hold` keeps it. */
export interface TcpSyn {
  readonly port: StackPort;
  readonly neighbour: Neighbour;
  readonly sourcePort: number;
  readonly destination: Ipv4;
  readonly destinationPort: number;
  /** Makes the connection in a state where nothing was answered yet: `accept`, `refuse`, … on the endpoint do. */
  hold(application: TcpApplication, options?: ConnectionOptions): TcpEndpoint;
  /** RST at once. */
  reject(): void;
  /** ICMP destination unreachable at once. */
  unreachable(code: number): void;
}

export class TcpDemux {
  private readonly stack: Stack;
  private readonly table: FlowTable<TcpEndpoint>;
  private readonly secret: HashKey;
  private readonly segment: SegmentIn;
  private readonly keepAlive: Pick<TcpSettings, 'keepAlive'>;
  /** Guests whose SYNs wait, and the turns so far. */
  private readonly crowded = new Set<StackPort>();
  private turns = 0;
  private readonly answerSyn: AnswerSyn = (port, neighbour, block, at, length, destination) => {
    if (readSegment(this.segment, block, at, length, 0))
      this.deliver(port, neighbour, destination, block.region.view.getInt32(at), this.stack.now());
  };

  constructor(stack: Stack, emptyBlock: Block) {
    this.stack = stack;
    this.secret = hashKey(stack.deps.random);
    this.table = new FlowTable(hashKey(stack.deps.random));
    this.segment = segmentIn(emptyBlock);
    const { keepAlive: idle } = stack.config;
    const interval = Math.min(idle ?? 0, KEEP_ALIVE_INTERVAL);
    this.keepAlive = idle === undefined ? {} : { keepAlive: { idle, interval, probes: KEEP_ALIVE_PROBES } };
  }

  get size(): number {
    return this.table.size;
  }

  /** SYNs wait for the next turn. */
  get crowd(): boolean {
    return this.crowded.size > 0;
  }

  /** A turn begins: each guest may open a few connections in it, and those that wait come first. See SynBacklog. */
  newTurn(): void {
    this.turns++;
    if (!this.crowd) return;
    for (const port of this.crowded) {
      const { syns } = port;
      // A guest that is over its share opens none now.
      const allowed = this.stack.shares.mayGo(port) ? SYNS_PER_TURN : 0;
      port.synTurn = this.turns;
      port.synsLeft = allowed;
      if (port.closed) syns?.clear();
      else if (allowed > 0) {
        this.stack.shares.pay(port);
        syns?.serve(allowed, this.answerSyn);
      }
      if (syns === undefined || syns.size === 0) this.crowded.delete(port);
    }
  }

  /** Connections that still carry something: neither in TIME-WAIT nor ended. */
  get openFlows(): number {
    let open = 0;
    for (const endpoint of this.table) if (endpoint.connection.state !== 'TIME-WAIT') open++;
    return open;
  }

  endpoints(): Iterable<TcpEndpoint> {
    return this.table;
  }

  /** A TCP segment of `length` bytes at `at`, in a block, from a guest. */
  input(
    port: StackPort,
    neighbour: Neighbour,
    block: Block,
    at: number,
    length: number,
    destination: Ipv4,
    ecn: number,
    verify: boolean,
    now: Millis,
  ): void {
    const { counters } = this.stack;
    if (!readSegment(this.segment, block, at, length, ecn)) {
      counters.tcpHeader++;
      return;
    }
    const { view } = block.region;
    if (verify && !isIntact(view, at, length, neighbour.ip, destination)) {
      counters.tcpChecksum++;
      return;
    }
    this.deliver(port, neighbour, destination, view.getInt32(at), now);
  }

  /**
   * As `input`, from the port's last neighbour, if it is a sound segment on a connection that stands; false when it is not,
   * and nothing was done. `destination`: as a signed word.
   */
  known(
    port: StackPort,
    block: Block,
    at: number,
    length: number,
    destination: number,
    ecn: number,
    verify: boolean,
    now: Millis,
  ): boolean {
    if (length < MIN_HEADER) return false;
    const endpoint = this.table.find(port.id, port.lastIpWord, destination, block.region.view.getInt32(at));
    if (endpoint === undefined || endpoint.connection.state === 'TIME-WAIT') return false;
    if (!readSegment(this.segment, block, at, length, ecn)) return false;
    if (verify && !isIntact(block.region.view, at, length, port.lastIpWord, destination)) return false;
    endpoint.connection.input(this.segment, now);
    this.stack.turn.touch(endpoint);
    return true;
  }

  /** Opens a connection to a guest; the source address and port are whom we play. Undefined when the pair is taken. */
  connect(
    port: StackPort,
    neighbour: Neighbour,
    localIp: Ipv4,
    localPort: number,
    remotePort: number,
    application: TcpApplication,
    options: ConnectionOptions = {},
  ): TcpEndpoint | undefined {
    if (this.find(port, neighbour.ip, remotePort, localIp, localPort) !== undefined) return undefined;
    const endpoint = this.make(port, neighbour, localIp, localPort, remotePort, application, options);
    endpoint.connection.connect(this.stack.now());
    this.stack.touch(endpoint);
    return endpoint;
  }

  /** ICMP of a guest about a segment from `peer`, of which it quotes the first 8 bytes at `at`. */
  undelivered(neighbour: Neighbour, peer: Ipv4, view: DataView, at: number, hard: boolean): void {
    const endpoint = this.of(neighbour, peer, view, at);
    endpoint?.connection.unreachable(view.getInt32(at + 4) as Seq, hard);
  }

  /** As `undelivered`, of a segment that is too long for its path. */
  tooBig(neighbour: Neighbour, peer: Ipv4, view: DataView, at: number, mtu: number): void {
    const endpoint = this.of(neighbour, peer, view, at);
    if (endpoint === undefined) return;
    endpoint.connection.tooBig(view.getInt32(at + 4) as Seq, mtu);
    this.stack.touch(endpoint);
  }

  /** The connection to a guest of which ICMP quotes a segment from `peer`. */
  private of(neighbour: Neighbour, peer: Ipv4, view: DataView, at: number): TcpEndpoint | undefined {
    const ports = (view.getUint16(at + 2) << 16) | view.getUint16(at);
    return this.table.find(neighbour.port, neighbour.ip, peer, ports);
  }

  remove(endpoint: TcpEndpoint): void {
    const { port } = endpoint;
    this.table.delete(
      port.id,
      endpoint.remoteIp,
      endpoint.localIp,
      (endpoint.remotePort << 16) | endpoint.localPort,
    );
    port.endpoints.delete(endpoint);
  }

  private find(
    port: StackPort,
    guestIp: Ipv4,
    guestPort: number,
    peerIp: Ipv4,
    peerPort: number,
  ): TcpEndpoint | undefined {
    return this.table.find(port.id, guestIp, peerIp, (guestPort << 16) | peerPort);
  }

  private deliver(
    port: StackPort,
    neighbour: Neighbour,
    destination: Ipv4,
    ports: number,
    now: Millis,
  ): void {
    const { segment } = this;
    const known = this.table.find(port.id, neighbour.ip, destination, ports);
    if (known !== undefined) {
      if (
        known.connection.state !== 'TIME-WAIT' ||
        (segment.flags & SYN) === 0 ||
        !known.connection.mayReuse(segment, now)
      ) {
        known.connection.input(segment, now);
        this.stack.touch(known);
        return;
      }
      // RFC 6191: a new connection may take the place of one in TIME-WAIT.
      known.connection.drop();
    }
    if ((segment.flags & (SYN | ACK | RST)) !== SYN) {
      this.stack.counters.tcpNoConnection++;
      this.reset(port, neighbour, destination, ports);
      return;
    }
    if (this.mustWait(port, neighbour, destination)) return;
    this.stack.upper.tcp(this.request(port, neighbour, destination, ports, now));
  }

  /** A SYN has to wait when its guest has opened enough in this turn, or others wait already. */
  private mustWait(port: StackPort, neighbour: Neighbour, destination: Ipv4): boolean {
    if (port.synTurn !== this.turns) {
      port.synTurn = this.turns;
      port.synsLeft = SYNS_PER_TURN;
    }
    if (port.synsLeft > 0) {
      port.synsLeft--;
      return false;
    }
    const { block, header, data } = this.segment;
    const syns = (port.syns ??= new SynBacklog(port, this.stack.deps.pool));
    if (!syns.push(neighbour, block.region.bytes, header, data - header, destination))
      this.stack.counters.synBacklogFull++;
    this.crowded.add(port);
    return true;
  }

  private request(
    port: StackPort,
    neighbour: Neighbour,
    destination: Ipv4,
    ports: number,
    now: Millis,
  ): TcpSyn {
    const sourcePort = ports >>> 16;
    const destinationPort = ports & 0xffff;
    return {
      port,
      neighbour,
      sourcePort,
      destination,
      destinationPort,
      hold: (application, options = {}) => {
        const endpoint = this.make(
          port,
          neighbour,
          destination,
          destinationPort,
          sourcePort,
          application,
          options,
        );
        endpoint.firstSequence = this.segment.seq;
        endpoint.connection.listen(this.segment, now);
        return endpoint;
      },
      reject: () => {
        this.reset(port, neighbour, destination, ports);
      },
      unreachable: (code) => {
        this.stack.packets.unreachable(
          neighbour,
          PROTOCOL_TCP,
          destination,
          ports,
          this.segment.seq,
          code,
          0,
        );
      },
    };
  }

  private make(
    port: StackPort,
    neighbour: Neighbour,
    localIp: Ipv4,
    localPort: number,
    remotePort: number,
    application: TcpApplication,
    options: ConnectionOptions,
  ): TcpEndpoint {
    const { stack, secret } = this;
    const endpoint = new TcpEndpoint(stack, port, neighbour, localIp, localPort, remotePort);
    const ports = (remotePort << 16) | localPort;
    // RFC 6528: a 4 µs clock plus a keyed hash of the four-tuple.
    const hash = hash4(secret, neighbour.ip, localIp, ports, port.id);
    const settings: TcpSettings = {
      memory: stack.deps.memory,
      pool: stack.deps.pool,
      mss: port.mtu - 40,
      iss: seq(hash + Math.floor(stack.now() * 250)),
      gsoMax: port.output.offloads.tsoMax,
      timeWait: TIME_WAIT,
      timestampOffset: hash4(secret, neighbour.ip, localIp, port.id, 1),
      counters: stack.tcpCounters,
      challenges: port.challenges,
      budget: port.budget,
      receiveStart: RECEIVE_START,
      ...this.keepAlive,
      ...options,
    };
    endpoint.application = application;
    endpoint.connection = new TcpConnection(endpoint, settings);
    endpoint.connection.windowLimit = port.windows.ofNew(port.endpoints.size);
    this.table.set(port.id, neighbour.ip, localIp, ports, endpoint);
    port.endpoints.add(endpoint);
    return endpoint;
  }

  private reset(port: StackPort, neighbour: Neighbour, destination: Ipv4, ports: number): void {
    const answer = respondToUnknown(this.segment);
    if (answer !== undefined) this.stack.sendBareTcp(port, neighbour, destination, ports, answer);
  }
}

/** Checks the checksum of a segment; addresses may be signed words. */
function isIntact(view: DataView, at: number, length: number, source: number, destination: number): boolean {
  return fold(sumView(view, at, length, pseudoSum(source, destination, PROTOCOL_TCP, length))) === 0xffff;
}
