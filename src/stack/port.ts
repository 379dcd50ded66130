/** A port of the virtual switch, seen from the stack: where one guest is attached. */
import { NeighbourTable, type Neighbour } from '../arp/index.js';
import { type Budget, type FrameOutput, Rate } from '../core/index.js';
import { FragmentIds } from '../ipv4/index.js';
import type { TcpEndpoint } from './tcp-endpoint.js';
import { WindowShare } from './window-share.js';

/** Most ICMP errors a second to one guest, and how many may come at once (RFC 1812 section 4.3.2.8). */
export const ICMP_RATE = 1000;
export const ICMP_BURST = 200;

export interface PortCounters {
  framesIn: number;
  bytesIn: number;
  framesOut: number;
  bytesOut: number;
}

export class StackPort {
  readonly id: number;
  readonly output: FrameOutput;
  /** Largest IP packet towards this guest, bytes. */
  readonly mtu: number;
  readonly neighbours: NeighbourTable;
  readonly counters: PortCounters = { framesIn: 0, bytesIn: 0, framesOut: 0, bytesOut: 0 };
  /** TCP endpoints of this guest, to be ended when it goes. */
  readonly endpoints = new Set<TcpEndpoint>();
  /** Memory that this guest's flows hold, and what they are promised together. */
  readonly budget: Budget;
  readonly windows: WindowShare;
  readonly icmpErrors = new Rate(ICMP_RATE, ICMP_BURST);
  readonly fragmentIds = new FragmentIds();
  /** Endpoints that have data to send and wait for the link. */
  readonly held: TcpEndpoint[] = [];
  /** The sender of the last frame, so that a run of frames of one guest costs two comparisons. */
  lastMacHigh = -1;
  lastMacLow = -1;
  /** The lower half of that address, and the address of `lastNeighbour`, as signed words. */
  lastMacWord = -1;
  lastIpWord = 0;
  lastNeighbour: Neighbour | undefined;
  lastLearned = 0;
  /** Frames wait in the output for a flush. */
  pending = false;
  closed = false;
  /** The only MAC address that the guest may send from; -1: any. */
  onlyMacHigh = -1;
  onlyMacLow = -1;
  /** Connections that this guest may have at once. */
  maxFlows = Number.POSITIVE_INFINITY;
  /** The attachment's owner: the guest. */
  user: unknown;

  constructor(id: number, output: FrameOutput, mtu: number, budget: Budget) {
    this.id = id;
    this.output = output;
    this.mtu = mtu;
    this.neighbours = new NeighbourTable(id);
    this.budget = budget;
    this.windows = new WindowShare(mtu - 40, budget);
  }
}
