/** What TCP counts, shared by all connections of a network. Every drop has a name. */

export interface TcpCounters {
  segmentsIn: number;
  segmentsOut: number;
  /** Payload bytes delivered in order, and payload bytes sent for the first time. */
  bytesIn: number;
  bytesOut: number;
  /** Segments sent again, whatever for; of these, by fast retransmit; and how often the timer expired. */
  retransmits: number;
  fastRetransmits: number;
  timeouts: number;
  /** Reductions of the window that were taken back, for nothing had been lost. */
  undone: number;
  /** RFC 8985 section 7: segments that ask for an overdue acknowledgment. */
  tailProbes: number;
  /** RFC 3168: packets that came marked, and windows reduced because the peer said so. */
  congestionMarksIn: number;
  ecnReductions: number;
  duplicateAcksIn: number;
  /** Segments that arrived before their turn and were kept. */
  outOfOrder: number;
  /** Segments that brought nothing new. */
  duplicates: number;
  challengeAcks: number;
  windowProbes: number;
  keepAlives: number;
  rstIn: number;
  rstOut: number;
  /** ICMP of the peer's side about a connection: it ended an attempt to open one; it was no reason to do anything. */
  icmpRefusals: number;
  icmpSoftErrors: number;
  /** "Fragmentation needed" that made segments shorter. */
  pathMtu: number;
  /** RFC 9293 section 3.10.7.4, first check. */
  droppedOutsideWindow: number;
  /** RFC 7323 section 5.3. */
  droppedOldTimestamp: number;
  /** Acknowledges what was never sent, or too old (RFC 5961 section 5.2). */
  droppedBadAck: number;
  droppedNoAck: number;
  /** The limits of the reassembly queue were reached. */
  droppedOutOfOrderLimit: number;
  /** The memory budget was used up; the peer sends it again. */
  droppedMemory: number;
  /** A SYN repeated while the dial is under way, or a segment that fits no state. */
  droppedWaiting: number;
  /** A blind RST or SYN (RFC 5961 sections 3 and 4). */
  droppedBlind: number;
  /** For a connection that has ended. */
  droppedClosed: number;
  /** Text after the peer's FIN. */
  droppedAfterFin: number;
}

export function createTcpCounters(): TcpCounters {
  return {
    segmentsIn: 0,
    segmentsOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    retransmits: 0,
    fastRetransmits: 0,
    timeouts: 0,
    undone: 0,
    tailProbes: 0,
    congestionMarksIn: 0,
    ecnReductions: 0,
    duplicateAcksIn: 0,
    outOfOrder: 0,
    duplicates: 0,
    challengeAcks: 0,
    windowProbes: 0,
    keepAlives: 0,
    rstIn: 0,
    rstOut: 0,
    icmpRefusals: 0,
    icmpSoftErrors: 0,
    pathMtu: 0,
    droppedOutsideWindow: 0,
    droppedOldTimestamp: 0,
    droppedBadAck: 0,
    droppedNoAck: 0,
    droppedOutOfOrderLimit: 0,
    droppedMemory: 0,
    droppedWaiting: 0,
    droppedBlind: 0,
    droppedClosed: 0,
    droppedAfterFin: 0,
  };
}
