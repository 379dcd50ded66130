/** The queue of outgoing datagrams against a kernel that is played here. */
import { describe, expect, it } from 'vitest';
import { EAGAIN, EBADF, UDP_TX_STRIDE } from './constants.js';
import type { Hub } from './hub.js';
import { ENTRIES, type QueuedSocket, UNQUEUED, UdpQueue } from './udp-queue.js';

const ENETUNREACH = -101;

interface Sent {
  readonly socket: number;
  readonly text: string;
  readonly to: readonly number[];
}

/** A hub whose kernel takes at most `burst` datagrams a call and fails as `answers` say first. */
function rig(burst = 64) {
  const memory = new Map<number, Uint8Array | Int32Array>();
  const sent: Sent[] = [];
  const answers: number[] = [];
  const deferred: (() => void)[] = [];
  let calls = 0;
  const hub = {
    defer: (callback: () => void) => void deferred.push(callback),
    poller: {
      register: (bytes: Uint8Array | Int32Array) => {
        memory.set(memory.size + 1, bytes);
        return memory.size;
      },
      udpSendBatch: (socket: number, tableId: number, start: number, count: number) => {
        calls++;
        const answer = answers.shift();
        if (answer !== undefined && answer <= 0) return answer;
        const table = memory.get(tableId)!;
        const n = Math.min(count, answer ?? burst);
        for (let i = start; i < start + n; i++) {
          const [id, offset, length, ...to] = table.subarray(i * UDP_TX_STRIDE, (i + 1) * UDP_TX_STRIDE);
          const bytes = memory.get(id!)!.subarray(offset, offset! + length!);
          sent.push({ socket, text: Buffer.from(bytes).toString(), to });
        }
        return n;
      },
    },
  };
  const queue = new UdpQueue(hub as unknown as Hub);
  const push = (
    socket: QueuedSocket,
    text: string,
    port = 53,
    words: number | readonly number[] = 1,
  ): void => {
    const bytes = Buffer.from(`..${text}..`);
    queue.push(socket, bytes, 2, bytes.length - 4, port, words);
    bytes.fill(0);
  };
  const turn = (): void => {
    for (const callback of deferred.splice(0)) callback();
  };
  const texts = () => sent.map(({ socket, text }) => `${socket} ${text}`);
  return { queue, push, turn, sent, texts, answers, deferred, calls: () => calls };
}

class FakeSocket implements QueuedSocket {
  readonly handle: number;
  head = UNQUEUED;
  tail = UNQUEUED;
  readonly failures: string[] = [];

  constructor(handle: number) {
    this.handle = handle;
  }

  refused(result: number, table: Int32Array, at: number): void {
    this.failures.push(`${result} ${table[at + 3]} ${table[at + 4]}`);
  }
}

describe('UdpQueue', () => {
  it('sends the datagrams of a turn in one call for each socket, each in its order', () => {
    const { queue, push, turn, texts, sent, deferred, calls } = rig();
    const [a, b] = [new FakeSocket(1), new FakeSocket(2)];
    for (let i = 0; i < 4; i++) {
      push(a, `a${i}`, 1000 + i, 0x7f000001);
      push(b, `b${i}`, 53, [1, 2, 3, 4]);
    }
    expect(texts()).toEqual([]);
    expect(deferred).toHaveLength(1);
    turn();
    expect(texts()).toEqual(['1 a0', '1 a1', '1 a2', '1 a3', '2 b0', '2 b1', '2 b2', '2 b3']);
    expect(calls()).toBe(2);
    expect(sent[1]!.to).toEqual([1001, 0x7f000001, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(sent[5]!.to).toEqual([53, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0]);
    queue.push(b, Buffer.from('again'), 0, 5, 53, 1, 7, 0xb8);
    turn();
    expect(sent.at(-1)!.to.slice(-2)).toEqual([7, 0xb8]);
    expect(texts().at(-1)).toBe('2 again');
  });

  it('copies short and long datagrams, and empty ones', () => {
    const { push, turn, sent } = rig();
    const socket = new FakeSocket(1);
    const lengths = [0, 1, 160, 161, 65_535];
    for (const length of lengths) push(socket, 'x'.repeat(length));
    turn();
    expect(sent.map(({ text }) => text.length)).toEqual(lengths);
    expect(sent.every(({ text }) => /^x*$/.test(text))).toBe(true);
  });

  it.each([
    ['entries', ENTRIES, 10],
    ['bytes', 4, 65_535],
  ])('holds a bounded number of %s: one more sends all before', (_, fits, length) => {
    const { push, turn, sent } = rig(100_000);
    const socket = new FakeSocket(1);
    for (let i = 0; i < fits; i++) push(socket, 'x'.repeat(length));
    expect(sent).toHaveLength(0);
    push(socket, 'one more');
    expect(sent).toHaveLength(fits);
    turn();
    expect(sent.map(({ text }) => text).at(-1)).toBe('one more');
    expect(sent).toHaveLength(fits + 1);
  });

  it('goes on after a part, drops and counts what finds no room', () => {
    const { queue, push, turn, texts, answers } = rig(2);
    const [a, b] = [new FakeSocket(1), new FakeSocket(2)];
    for (let i = 0; i < 5; i++) push(a, `${i}`);
    push(b, 'other');
    answers.push(2, 1, EAGAIN);
    turn();
    expect(texts()).toEqual(['1 0', '1 1', '1 2', '2 other']);
    expect([queue.dropped, a.failures]).toEqual([2, []]);
  });

  it('tries again after an error, tells of the second one, and goes on with the next', () => {
    const { push, turn, texts, answers } = rig();
    const socket = new FakeSocket(1);
    for (let i = 0; i < 3; i++) push(socket, `${i}`, 1000 + i, 7 + i);
    answers.push(ENETUNREACH, 1, ENETUNREACH, ENETUNREACH);
    turn();
    expect(texts()).toEqual(['1 0', '1 2']);
    expect(socket.failures).toEqual([`${ENETUNREACH} 1001 8`]);
  });

  it('says nothing for a socket that is closed', () => {
    const { push, turn, answers, calls } = rig();
    const socket = new FakeSocket(1);
    push(socket, 'x');
    push(socket, 'y');
    answers.push(EBADF);
    turn();
    expect([calls(), socket.failures]).toEqual([1, []]);
  });
});
