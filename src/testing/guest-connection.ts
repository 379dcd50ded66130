/** One TCP connection of a guest: carries its segments in frames, and its news to the socket. */
import {
  type Ipv4,
  type Mac,
  type Millis,
  TX_CHECKSUM,
  Timer,
  formatIpv4,
  seq,
  writeMac,
} from '../core/index.js';
import { ETHERTYPE_IPV4, ETH_DST, ETH_HEADER, ETH_SRC, ETH_TYPE } from '../ethernet/index.js';
import { DEFAULT_TTL, IP_DONT_FRAGMENT, IP_HEADER, PROTOCOL_TCP, writeIpv4Header } from '../ipv4/index.js';
import type { TcpSide } from '../stack/index.js';
import {
  MIN_HEADER,
  RST,
  type SegmentOut,
  TcpConnection,
  type TcpConnectionLike,
  type TcpEnd,
  type TcpOwner,
  type TcpSettings,
  addPayload,
  writeSegment,
} from '../tcp/index.js';
import { GuestError } from './guest-error.js';
import { GuestSocket } from './guest-socket.js';
import type { ConnectOptions, GuestTcp } from './guest-tcp.js';

const ESTABLISHED = 1;
const RECEIVED = 2;
const RECEIVED_FIN = 4;
const ACKNOWLEDGED = 8;

const CODES: Readonly<Record<TcpEnd, string>> = {
  closed: 'EPIPE',
  reset: 'ECONNRESET',
  aborted: 'ECONNABORTED',
  timeout: 'ETIMEDOUT',
};

export class GuestConnection implements TcpOwner, TcpSide {
  readonly remoteIp: Ipv4;
  readonly remotePort: number;
  readonly localPort: number;
  readonly connection: TcpConnection;
  readonly timer: Timer;
  /** Where the next hop is. */
  mac!: Mac;
  /** Stands in the list of those to process. */
  dirty = false;
  /** Gets the socket of an accepted connection. */
  onSocket: ((socket: GuestSocket) => void) | undefined;
  private readonly owner: GuestTcp;
  private readonly socket: GuestSocket;
  private readonly localIp: Ipv4;
  private events = 0;
  private end: TcpEnd | undefined;
  private told = false;
  private opening:
    | { resolve: (socket: GuestSocket) => void; reject: (error: Error) => void; cancel: () => void }
    | undefined;
  private ipId = 0;

  constructor(owner: GuestTcp, remoteIp: Ipv4, remotePort: number, localPort: number, settings: TcpSettings) {
    this.owner = owner;
    this.remoteIp = remoteIp;
    this.remotePort = remotePort;
    this.localPort = localPort;
    this.localIp = owner.ip.ip!;
    this.connection = new TcpConnection(this, settings);
    this.socket = new GuestSocket(this, formatIpv4(this.localIp));
    this.timer = new Timer((now) => {
      this.connection.onTimer(now);
      owner.touch(this);
    });
  }

  /** The connection is gone from the network; its socket may still hold data. */
  get over(): boolean {
    return this.end !== undefined;
  }

  get name(): string {
    return `${formatIpv4(this.remoteIp)}:${this.remotePort}`;
  }

  connect(options: ConnectOptions): Promise<GuestSocket> {
    const { wire } = this.owner;
    return new Promise((resolve, reject) => {
      const { timeout, signal } = options;
      const giveUp = (): void => {
        this.giveUp(new GuestError('ECONNABORTED', `connect ${this.name}: given up`));
      };
      const cancelTimer =
        timeout === undefined
          ? undefined
          : wire.scheduler.after(timeout, () => {
              this.connection.drop();
              this.refuse(
                new GuestError('ETIMEDOUT', `connect ${this.name}: no answer within ${timeout} ms`),
              );
            });
      signal?.addEventListener('abort', giveUp);
      const cancel = (): void => {
        cancelTimer?.();
        signal?.removeEventListener('abort', giveUp);
      };
      this.opening = { resolve, reject, cancel };
      this.connection.connect(wire.now());
      this.owner.touch(this);
    });
  }

  /** ICMP: a connection that does not stand yet fails with it; one that stands goes on (RFC 5461). */
  unreachable(error: GuestError): void {
    if (this.connection.state !== 'SYN-SENT') return;
    this.connection.drop();
    this.refuse(error);
  }

  /** Tells the socket what happened, then sends what may be sent; true when more could go at once. */
  process(now: Millis, hold: boolean, budget: number): boolean {
    const { events, socket } = this;
    this.events = 0;
    if ((events & ESTABLISHED) !== 0) this.announce();
    if ((events & RECEIVED) !== 0) socket.received();
    if ((events & RECEIVED_FIN) !== 0) socket.receivedFin();
    if ((events & ACKNOWLEDGED) !== 0) socket.acknowledged();
    if (this.end !== undefined) {
      this.tellEnd(this.end);
      return false;
    }
    this.connection.holdOutput = hold;
    return this.connection.output(now, budget);
  }

  powerOff(): void {
    this.connection.drop();
    if (this.opening !== undefined) this.refuse(new GuestError('ENETDOWN', `connect ${this.name}`));
    this.told = true;
    this.socket.lost();
  }

  // -- for the socket ------------------------------------------------------------------------------------------

  wrote(): void {
    this.connection.wrote();
    this.owner.touch(this);
  }

  consumed(n: number): void {
    this.connection.consumed(n, this.now());
    this.owner.touch(this);
  }

  close(): void {
    this.connection.close(this.now());
    this.owner.touch(this);
  }

  abort(): void {
    if (this.end === undefined) this.connection.abort(this.now());
    this.owner.touch(this);
  }

  private now(): Millis {
    return this.owner.wire.now();
  }

  // -- for the connection --------------------------------------------------------------------------------------

  transmit(_connection: TcpConnectionLike, segment: SegmentOut): void {
    const { wire } = this.owner;
    if (wire.down) return;
    const { output } = wire.link;
    const tcpLength = MIN_HEADER + segment.optionsLength;
    const total = IP_HEADER + tcpLength + segment.payloadLength;
    const at = output.begin(ETH_HEADER + IP_HEADER + tcpLength);
    const { view, bytes } = output;
    writeMac(bytes, at + ETH_DST, this.mac);
    writeMac(bytes, at + ETH_SRC, wire.mac);
    view.setUint16(at + ETH_TYPE, ETHERTYPE_IPV4);
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
      this.localIp,
      this.remoteIp,
    );
    writeSegment(view, bytes, at + ETH_HEADER + IP_HEADER, segment, this.localPort, this.remotePort);
    addPayload(output, this.connection.ring, segment);
    output.end(TX_CHECKSUM, 0);
    wire.sent(ETH_HEADER + total);
  }

  established(): void {
    this.events |= ESTABLISHED;
  }

  received(): void {
    this.events |= RECEIVED;
  }

  receivedFin(): void {
    this.events |= RECEIVED_FIN;
  }

  acknowledged(): void {
    this.events |= ACKNOWLEDGED;
  }

  closed(_connection: TcpConnectionLike, end: TcpEnd): void {
    this.end = end;
    this.owner.forget(this);
    this.owner.touch(this);
  }

  schedule(_connection: TcpConnectionLike, at: Millis): void {
    this.owner.wire.timers.set(this.timer, at);
    this.owner.wire.wake();
  }

  // -- endings -------------------------------------------------------------------------------------------------

  private announce(): void {
    if (this.opening !== undefined) {
      this.opening.cancel();
      this.opening.resolve(this.socket);
      this.opening = undefined;
    }
    this.onSocket?.(this.socket);
    this.onSocket = undefined;
  }

  private tellEnd(end: TcpEnd): void {
    if (this.told) return;
    this.told = true;
    if (this.opening !== undefined) {
      const code = end === 'reset' ? 'ECONNREFUSED' : CODES[end];
      this.refuse(new GuestError(code, `connect ${this.name}`));
    } else if (this.onSocket === undefined)
      this.socket.gone(end === 'closed' ? undefined : new GuestError(CODES[end], this.name));
  }

  private refuse(error: GuestError): void {
    this.opening?.cancel();
    this.opening?.reject(error);
    this.opening = undefined;
    this.told = true;
  }

  /** Before the handshake is done a kernel says nothing when its user goes away; a guest of tests says RST. */
  private giveUp(error: GuestError): void {
    if (this.opening === undefined) return;
    if (this.connection.state === 'SYN-SENT') {
      this.transmit(this.connection, {
        seq: this.connection.snd.nxt,
        ack: seq(0),
        flags: RST,
        window: 0,
        urgent: 0,
        options: new Uint8Array(0),
        optionsLength: 0,
        payloadOffset: 0,
        payloadLength: 0,
        gsoSize: 0,
        ecn: 0,
      });
    }
    this.connection.abort(this.now());
    this.refuse(error);
  }
}
