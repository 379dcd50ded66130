/** A port of the virtual switch, seen from the stack: where one guest is attached. */
import { NeighbourTable, type Neighbour } from '../arp/index.js';
import { Bag, Bucket, type Budget, type FrameOutput, type Millis } from '../core/index.js';
import { FragmentIds } from '../ipv4/index.js';
import type { ChallengeLimit } from '../tcp/index.js';
import { Use } from './shares.js';
import type { Storm } from './storm.js';
import type { SynBacklog } from './syn-backlog.js';
import type { TcpEndpoint } from './tcp-endpoint.js';
import type { Throttle } from './throttle.js';
import { Waits } from './waits.js';
import { WindowShare } from './window-share.js';

/** Most ICMP errors a second to one guest, and how many may come at once (RFC 1812 section 4.3.2.8). */
export const ICMP_RATE = 1000;
export const ICMP_BURST = 200;

export interface PortCounters {
  framesIn: number;
  bytesIn: number;
  framesOut: number;
  bytesOut: number;
  /** Frames to all that were too many. */
  floodLimited: number;
  /** Frames under an address of somebody else. */
  spoofed: number;
  /** What was beyond the guest's rate: frames dropped, and how often its link was made to wait. */
  rateDroppedIn: number;
  rateDroppedOut: number;
  ratePauses: number;
}

function portCounters(): PortCounters {
  return {
    framesIn: 0,
    bytesIn: 0,
    framesOut: 0,
    bytesOut: 0,
    floodLimited: 0,
    spoofed: 0,
    rateDroppedIn: 0,
    rateDroppedOut: 0,
    ratePauses: 0,
  };
}

/** What is said of a port when it is made. */
export interface PortSettings {
  readonly id: number;
  readonly output: FrameOutput;
  readonly mtu: number;
  readonly budget: Budget;
  readonly storm: Storm;
  readonly challenges: ChallengeLimit;
  readonly isolated: boolean;
}

export class StackPort {
  readonly id: number;
  /** A capture may take its place, and go again, between two frames. */
  output: FrameOutput;
  /** Largest IP packet towards this guest, bytes. */
  readonly mtu: number;
  readonly neighbours: NeighbourTable;
  readonly counters = portCounters();
  readonly storm: Storm;
  /** Of all connections of this guest: no other can use it up, or count it. */
  readonly challenges: ChallengeLimit;
  /** Sees the gateway and no other guest; what it says about addresses concerns nobody else. */
  readonly isolated: boolean;
  /** Undefined: no rates. */
  throttle: Throttle | undefined;
  /** Its name, for people. */
  label: string;
  /** TCP endpoints of this guest, to be ended when it goes. */
  readonly endpoints = new Bag<TcpEndpoint>();
  /** Of them, those whose host is being dialled, and those that were answered and wait for the guest's ACK. */
  dials = 0;
  halfOpen = 0;
  /** Memory that this guest's flows hold, and what they are promised together. */
  readonly budget: Budget;
  readonly windows: WindowShare;
  readonly icmpErrors = new Bucket(ICMP_RATE, ICMP_BURST);
  readonly fragmentIds = new FragmentIds();
  /** SYNs that wait for their turn, and how many more are answered in this one (see SynBacklog). */
  syns: SynBacklog | undefined;
  synsLeft = 0;
  synTurn = -1;
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
  /** What it costs this process. */
  readonly use = new Use();
  /** Endpoints that wait to be served. */
  readonly waits = new Waits();
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

  constructor(settings: PortSettings) {
    const { id, mtu, budget } = settings;
    this.id = id;
    this.label = `guest at port ${id}`;
    this.output = settings.output;
    this.mtu = mtu;
    this.neighbours = new NeighbourTable(id);
    this.budget = budget;
    this.storm = settings.storm;
    this.challenges = settings.challenges;
    this.isolated = settings.isolated;
    this.windows = new WindowShare(mtu - 40, budget);
  }

  /** TCP data to this guest has to wait: its link or its rate is full. */
  blocked(now: Millis): boolean {
    return this.output.blocked || this.throttle?.holds(now) === true;
  }

  /** A frame that nobody holds back is dropped: it is beyond the rate. */
  drops(now: Millis, length: number): boolean {
    return this.throttle?.drops(now, length) === true;
  }
}
