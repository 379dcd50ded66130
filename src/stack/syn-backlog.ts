/**
 * SYNs of one guest that wait for their turn. A new connection costs a hundred times as much as a segment of one that
 * stands (a socket, a connect), and a batch may hold a thousand SYNs: so a turn takes a few of each guest's, and between
 * two turns the other guests are served. What waits is the TCP header alone; text on a SYN is sent again in any case.
 */
import type { Neighbour } from '../arp/index.js';
import type { Block, BlockPool, Ipv4 } from '../core/index.js';
import type { StackPort } from './port.js';

/** SYNs of a guest that are answered within a turn. */
export const SYNS_PER_TURN = 4;
/** SYNs of a guest that wait; one beyond is dropped and counted, and the guest sends it again. */
export const SYN_BACKLOG = 4096;
/** The longest TCP header is 60 bytes: all slots together are one block of the pool. */
const SLOT = 64;
const LONGEST = 60;

/** Answers one of them, as if it had just come. */
export type AnswerSyn = (
  port: StackPort,
  neighbour: Neighbour,
  block: Block,
  at: number,
  length: number,
  destination: Ipv4,
) => void;

export class SynBacklog {
  size = 0;
  private readonly port: StackPort;
  private readonly pool: BlockPool;
  private block: Block | undefined;
  private head = 0;
  private readonly lengths = new Uint8Array(SYN_BACKLOG);
  private readonly destinations = new Uint32Array(SYN_BACKLOG);
  private readonly neighbours: (Neighbour | undefined)[] = [];

  constructor(port: StackPort, pool: BlockPool) {
    this.port = port;
    this.pool = pool;
  }

  /** Keeps the header of `length` bytes at `at`; false when there is no room. */
  push(neighbour: Neighbour, bytes: Uint8Array, at: number, length: number, destination: Ipv4): boolean {
    if (this.size === SYN_BACKLOG || length > LONGEST) return false;
    const { region } = (this.block ??= this.pool.take());
    const slot = (this.head + this.size++) & (SYN_BACKLOG - 1);
    region.bytes.set(bytes.subarray(at, at + length), slot * SLOT);
    this.lengths[slot] = length;
    this.destinations[slot] = destination;
    this.neighbours[slot] = neighbour;
    return true;
  }

  /** Has up to `n` of them answered, the oldest first. */
  serve(n: number, answer: AnswerSyn): void {
    for (let left = Math.min(n, this.size); left > 0 && this.block !== undefined; left--) {
      const slot = this.head;
      const neighbour = this.neighbours[slot]!;
      this.neighbours[slot] = undefined;
      this.head = (slot + 1) & (SYN_BACKLOG - 1);
      this.size--;
      const destination = this.destinations[slot]! as Ipv4;
      answer(this.port, neighbour, this.block, slot * SLOT, this.lengths[slot]!, destination);
    }
    if (this.size === 0) this.clear();
  }

  /** Forgets them all. */
  clear(): void {
    this.size = 0;
    this.neighbours.length = 0;
    this.block?.release();
    this.block = undefined;
  }
}
