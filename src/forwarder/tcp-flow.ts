/**
 * A TCP flow: a guest's connection on one side, a host stream on the other, bytes spliced between them.
 *
 * Theory of operation. Guest to host: payload stays in the batches it landed in; `endpoint.connection.received` is given
 * to `stream.send`, and what the host took opens the guest's window. Host to guest: `stream.receive` reads straight into
 * the send ring when it has room. FIN travels as FIN, each direction alone; RST travels as RST, both ways; a flow is
 * never ended for being idle. Outbound flows connect first: the guest's SYN is answered when the host's connect
 * succeeded (RFC 9293 leaves the moment to us). Inbound ones open the guest's side first and read the host's client
 * only then, so that a refusal resets the client.
 */
import {
  type Errno,
  type HostStream,
  type HostStreamHandler,
  type Ipv4,
  OUTSIDE,
  formatIpv4,
} from '../core/index.js';
import type { TcpApplication, TcpEndpoint } from '../stack/index.js';
import type { Dial } from './outbound-tcp.js';
import type { TcpEnd } from '../tcp/index.js';

/** `finding`: an inbound flow whose guest is being looked for; it has no endpoint yet. */
export type FlowPhase = 'finding' | 'dialing' | 'open' | 'closed';

/** Who is at the other end: text, or what text can be made of. */
export type FlowPeer = string | { readonly host: string; readonly port: number };

/** What an owner of flows wants to know. */
export interface FlowOwner {
  /** The host's side of an outbound flow stands, and the guest's SYN is answered. */
  flowAnswered?(flow: TcpFlow): void;
  /** Both sides stand. */
  flowOpened(flow: TcpFlow): void;
  /** The host refused; the owner answers the guest and nothing else follows but `flowClosed`. */
  flowFailed(flow: TcpFlow, errno: Errno): void;
  /** Once, at the end. */
  flowClosed(flow: TcpFlow, end: TcpEnd): void;
}

export class TcpFlow implements TcpApplication, HostStreamHandler {
  readonly owner: FlowOwner;
  /** Unique in its network. */
  readonly id: number;
  readonly direction: 'out' | 'in';
  /** What is dialled or who dialled us; its text is made when somebody wants to read it. */
  private far: FlowPeer;
  readonly startedAt: number;
  /** The name by which the policy knew where it leads. */
  name: string | undefined;
  /** What the guest reads before all that the host's client sends; set before `join`, and short (LEAST_RING). */
  preface: Uint8Array | undefined;
  endpoint!: TcpEndpoint;
  phase: FlowPhase;
  /** In its owner's bag. */
  place = OUTSIDE;
  /** While an outbound flow waits for its host, or for the guest's ACK. */
  dial: Dial | undefined;
  /** Both sides stood at some time. */
  opened = false;
  bytesToHost = 0;
  bytesToGuest = 0;
  private stream: HostStream | undefined;
  private guestEnded = false;
  private finSent = false;
  private hostEnded = false;

  constructor(owner: FlowOwner, id: number, direction: 'out' | 'in', far: FlowPeer, startedAt: number) {
    this.owner = owner;
    this.id = id;
    this.direction = direction;
    this.far = far;
    this.startedAt = startedAt;
    this.phase = direction === 'in' ? 'finding' : 'dialing';
  }

  /** What is dialled or who dialled us, for people. */
  get peer(): string {
    return typeof this.far === 'string' ? this.far : `${this.far.host}:${this.far.port}`;
  }

  /** Another destination was decided upon. */
  leadTo(far: FlowPeer): void {
    this.far = far;
  }

  /** Whether that is what it dials. */
  leadsTo(ip: Ipv4, port: number): boolean {
    return this.peer === `${formatIpv4(ip)}:${port}`;
  }

  /** Gives the flow its host side. */
  attach(stream: HostStream): void {
    this.stream = stream;
  }

  /** Gives an inbound flow its guest side. */
  join(endpoint: TcpEndpoint): void {
    this.endpoint = endpoint;
    this.phase = 'dialing';
    if (this.hostEnded) endpoint.close();
  }

  /** Both sides stand already; `…Ended`: which of them have sent FIN. */
  resume(endpoint: TcpEndpoint, stream: HostStream, guestEnded: boolean, hostEnded: boolean): void {
    this.endpoint = endpoint;
    this.stream = stream;
    this.phase = 'open';
    this.guestEnded = guestEnded;
    if (hostEnded) this.ended();
    endpoint.push();
    endpoint.pull();
  }

  /** There is no guest for it: resets the host side. */
  dismiss(): void {
    this.phase = 'closed';
    this.dropStream(true);
  }

  /** Ends both sides with RST. */
  kill(): void {
    this.dropStream(true);
    this.endpoint.abort();
  }

  // -- host side -----------------------------------------------------------------------------------------------

  connected(): void {
    if (this.phase !== 'dialing') return;
    this.owner.flowAnswered?.(this);
    this.endpoint.accept();
  }

  failed(errno: Errno): void {
    this.stream = undefined;
    if (this.phase === 'dialing') this.owner.flowFailed(this, errno);
  }

  readable(): void {
    if (this.phase === 'open') this.endpoint.pull();
  }

  writable(): void {
    if (this.phase === 'open') this.endpoint.push();
  }

  ended(): void {
    this.hostEnded = true;
    if (this.phase === 'finding' || this.phase === 'closed') return;
    this.endpoint.close();
    this.letGoWhenDone();
  }

  broken(_errno: Errno): void {
    this.stream = undefined;
    if (this.phase === 'finding') this.phase = 'closed';
    if (this.phase !== 'closed') this.endpoint.abort();
  }

  // -- guest side ----------------------------------------------------------------------------------------------

  established(): void {
    this.phase = 'open';
    this.opened = true;
    this.owner.flowOpened(this);
    if (this.preface !== undefined) this.sendPreface(this.preface);
    this.pullFromHost();
  }

  received(): void {
    this.pushToHost();
  }

  receivedFin(): void {
    this.guestEnded = true;
    this.pushToHost();
  }

  acknowledged(): void {
    this.pullFromHost();
  }

  gone(end: TcpEnd): void {
    this.phase = 'closed';
    this.dropStream(end !== 'closed');
    this.owner.flowClosed(this, end);
  }

  private sendPreface(bytes: Uint8Array): void {
    this.preface = undefined;
    this.endpoint.connection.ring.write(bytes);
    this.endpoint.wrote();
  }

  // -- splice --------------------------------------------------------------------------------------------------

  private pullFromHost(): void {
    const { stream, endpoint } = this;
    if (stream === undefined || this.phase !== 'open' || this.hostEnded) return;
    const { ring } = endpoint.connection;
    ring.allow(endpoint.sendLimit);
    // Also with a full ring: the stream has to stop reading.
    const n = stream.receive(ring);
    if (n === 0) return;
    this.bytesToGuest += n;
    endpoint.spent(n);
    endpoint.wrote();
  }

  private pushToHost(): void {
    const { stream, endpoint } = this;
    if (stream === undefined) return;
    const queue = endpoint.connection.received;
    if (queue.bytes > 0) {
      const n = stream.send(queue);
      if (n > 0) {
        this.bytesToHost += n;
        endpoint.spent(n);
        endpoint.consumed(n);
      }
    }
    if (!this.guestEnded || this.finSent || queue.bytes > 0) return;
    this.finSent = true;
    stream.shutdown();
    this.letGoWhenDone();
  }

  /** When both directions have ended the descriptor is of no more use, though the guest's side may linger. */
  private letGoWhenDone(): void {
    if (this.finSent && this.hostEnded) this.dropStream(false);
  }

  private dropStream(reset: boolean): void {
    const { stream } = this;
    this.stream = undefined;
    if (stream === undefined) return;
    if (reset) stream.reset();
    else stream.close();
  }
}
