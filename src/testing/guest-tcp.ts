/** The guest's TCP: which connection a segment belongs to, ports, listeners. The state machine is `TcpConnection`. */
import {
  type Block,
  type BlockPool,
  type Ipv4,
  type Millis,
  RX_CHECKSUM_OK,
  type Random,
  finish,
  formatIpv4,
  pseudoSum,
  seq,
  sumView,
} from '../core/index.js';
import { PROTOCOL_TCP } from '../ipv4/index.js';
import {
  ACK,
  RST,
  SYN,
  type SegmentIn,
  type TcpSettings,
  createTcpCounters,
  emitHeader,
  readSegment,
  respondToUnknown,
  segmentIn,
} from '../tcp/index.js';
import { GuestConnection } from './guest-connection.js';
import { GuestError } from './guest-error.js';
import type { GuestIp, PacketIn } from './guest-ip.js';
import type { GuestSocket } from './guest-socket.js';
import type { GuestWire } from './guest-wire.js';

/** Connections at once, closing ones included; beyond, a SYN is dropped and a `connect` fails. */
export const MAX_GUEST_CONNECTIONS = 65_536;
/** Ephemeral ports, as Linux has them. */
const FIRST_PORT = 32_768;
const PORTS = 60_999 - FIRST_PORT;
/** A guest of tests does not wait long for stray segments, ms. */
const TIME_WAIT: Millis = 1000;
/** Largest payload sent in a turn by one connection, bytes. */
const SEND_BUDGET = 256 * 1024;

export interface ConnectOptions {
  /** ms until ETIMEDOUT; by default as long as the SYN is repeated. */
  readonly timeout?: Millis | undefined;
  readonly localPort?: number | undefined;
  /** Aborting gives up: RST leaves, so that the other side knows. */
  readonly signal?: AbortSignal | undefined;
}

/** Settings of all connections of a guest; see TcpSettings. */
export type GuestTcpSettings = Pick<
  TcpSettings,
  'receiveWindow' | 'sendBuffer' | 'timeWait' | 'timestamps' | 'sack' | 'windowScaling' | 'ecn' | 'congestion'
>;

/** A port that a guest listens on. */
export interface GuestListener {
  readonly port: number;
  /** New connections are refused; those that stand stay. */
  close(): void;
}

export class GuestTcp {
  readonly counters = createTcpCounters();
  readonly drops = { truncated: 0, badChecksum: 0, tableFull: 0 };
  readonly wire: GuestWire;
  readonly ip: GuestIp;
  private readonly pool: BlockPool;
  private readonly random: Random;
  private readonly settings: GuestTcpSettings;
  private readonly table = new Map<string, GuestConnection>();
  private readonly listeners = new Map<number, (socket: GuestSocket) => void>();
  private dirty: GuestConnection[] = [];
  private readonly held = new Set<GuestConnection>();
  private nextPort: number;
  private readonly segment: SegmentIn;

  constructor(wire: GuestWire, ip: GuestIp, pool: BlockPool, random: Random, settings: GuestTcpSettings) {
    this.wire = wire;
    this.ip = ip;
    this.pool = pool;
    this.random = random;
    this.settings = settings;
    this.nextPort = random.u32() % PORTS;
    const block: Block = pool.takeSmall();
    block.release();
    this.segment = segmentIn(block);
  }

  /** Connections, closing ones included. */
  get size(): number {
    return this.table.size;
  }

  /** @throws GuestError ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT, EADDRINUSE, ECONNABORTED … */
  async connect(ip: Ipv4, port: number, options: ConnectOptions = {}): Promise<GuestSocket> {
    options.signal?.throwIfAborted();
    const hop = this.ip.nextHop(ip);
    if (hop === undefined) throw new GuestError('ENETUNREACH', `connect ${formatIpv4(ip)}:${port}: no route`);
    const mac = await this.ip.arp.resolve(hop);
    const localPort = options.localPort ?? this.freePort(ip, port);
    if (localPort === undefined || this.table.has(key(ip, port, localPort))) {
      throw new GuestError('EADDRINUSE', `connect ${formatIpv4(ip)}:${port}: no free port`);
    }
    if (this.table.size >= MAX_GUEST_CONNECTIONS) throw new GuestError('EMFILE', 'too many connections');
    const connection = this.open(ip, port, localPort);
    connection.mac = mac;
    return connection.connect(options);
  }

  listen(port: number, handler: (socket: GuestSocket) => void): GuestListener {
    if (this.listeners.has(port)) throw new GuestError('EADDRINUSE', `listen on tcp port ${port}`);
    this.listeners.set(port, handler);
    return {
      port,
      close: () => {
        if (this.listeners.get(port) === handler) this.listeners.delete(port);
      },
    };
  }

  input(packet: PacketIn, now: Millis): void {
    const { segment } = this;
    const { block, at, length } = packet;
    if (!readSegment(segment, block, at, length, packet.ecn)) {
      this.drops.truncated++;
      return;
    }
    const { view } = block.region;
    const pseudo = pseudoSum(packet.source, packet.destination, PROTOCOL_TCP, length);
    if ((packet.flags & RX_CHECKSUM_OK) === 0 && finish(sumView(view, at, length, pseudo)) !== 0) {
      this.drops.badChecksum++;
      return;
    }
    const remotePort = view.getUint16(at);
    const localPort = view.getUint16(at + 2);
    let known = this.table.get(key(packet.source, remotePort, localPort));
    if (
      known?.connection.state === 'TIME-WAIT' &&
      (segment.flags & SYN) !== 0 &&
      known.connection.mayReuse(segment, now)
    ) {
      known.connection.drop();
      known = undefined;
    }
    if (known !== undefined) {
      known.mac = packet.mac;
      known.connection.input(segment, now);
      this.touch(known);
    } else if (
      (segment.flags & (SYN | ACK | RST)) !== SYN ||
      !this.accept(packet, remotePort, localPort, now)
    ) {
      this.answerUnknown(packet, remotePort, localPort);
    }
  }

  /** An ICMP error about a segment that we sent. */
  failed(ip: Ipv4, remotePort: number, localPort: number, error: GuestError): void {
    this.table.get(key(ip, remotePort, localPort))?.unreachable(error);
  }

  /** The connection has something to tell or to send. */
  touch(connection: GuestConnection): void {
    if (connection.dirty) return;
    connection.dirty = true;
    this.dirty.push(connection);
    this.wire.wake();
  }

  /** Tells what happened and sends what may be sent. */
  turn(now: Millis): void {
    const { dirty } = this;
    this.dirty = [];
    for (const connection of dirty) {
      connection.dirty = false;
      const { blocked } = this.wire.link.output;
      if (connection.process(now, blocked, SEND_BUDGET)) this.touch(connection);
      if (blocked && !connection.over) this.held.add(connection);
    }
  }

  writable(): void {
    for (const connection of this.held) this.touch(connection);
    this.held.clear();
  }

  forget(connection: GuestConnection): void {
    this.wire.timers.cancel(connection.timer);
    this.table.delete(key(connection.remoteIp, connection.remotePort, connection.localPort));
    this.held.delete(connection);
  }

  /** Ends all without a word, as a machine that lost its power. */
  down(): void {
    this.listeners.clear();
    for (const connection of [...this.table.values()]) connection.powerOff();
  }

  private accept(packet: PacketIn, remotePort: number, localPort: number, now: Millis): boolean {
    const handler = this.listeners.get(localPort);
    if (handler === undefined || packet.destination !== this.ip.ip) return false;
    if (this.table.size >= MAX_GUEST_CONNECTIONS) {
      this.drops.tableFull++;
      return true;
    }
    const connection = this.open(packet.source, remotePort, localPort);
    connection.mac = packet.mac;
    connection.onSocket = handler;
    connection.connection.listen(this.segment, now);
    connection.connection.accept(now);
    this.touch(connection);
    return true;
  }

  private open(ip: Ipv4, remotePort: number, localPort: number): GuestConnection {
    const connection = new GuestConnection(this, ip, remotePort, localPort, {
      memory: this.pool.memory,
      pool: this.pool,
      mss: this.ip.mtu - 40,
      iss: seq(this.random.u32()),
      timestampOffset: this.random.u32(),
      counters: this.counters,
      timeWait: TIME_WAIT,
      ...this.settings,
    });
    this.table.set(key(ip, remotePort, localPort), connection);
    return connection;
  }

  private freePort(ip: Ipv4, remotePort: number): number | undefined {
    for (let i = 0; i < PORTS; i++) {
      this.nextPort = (this.nextPort + 1) % PORTS;
      const port = FIRST_PORT + this.nextPort;
      if (!this.table.has(key(ip, remotePort, port)) && !this.listeners.has(port)) return port;
    }
    return undefined;
  }

  private answerUnknown(packet: PacketIn, remotePort: number, localPort: number): void {
    const answer = packet.destination === this.ip.ip ? respondToUnknown(this.segment) : undefined;
    if (answer === undefined) return;
    const bytes = new Uint8Array(20);
    const view = new DataView(bytes.buffer);
    const header = {
      sourcePort: localPort,
      destinationPort: remotePort,
      ...answer,
      window: 0,
      checksum: 0,
      urgent: 0,
      options: {},
    };
    emitHeader(header, bytes, view, 0);
    view.setUint16(
      16,
      finish(sumView(view, 0, 20, pseudoSum(packet.destination, packet.source, PROTOCOL_TCP, 20))),
    );
    this.counters.rstOut++;
    this.ip.send(packet.source, PROTOCOL_TCP, bytes);
  }
}

function key(ip: Ipv4, remotePort: number, localPort: number): string {
  return `${ip}:${remotePort}:${localPort}`;
}
