import { describe, expect, it } from 'vitest';
import { checksum, MAX_FRAME, plainMemory, pseudoSum, sumBytes, fold, TX_CHECKSUM } from '../core/index.js';
import type { Region } from '../core/index.js';
import { U16LE, U32BE } from './framing.js';
import type { Framing } from './framing.js';
import { HIGH_WATER, LOW_WATER, SLAB_SIZE, SLABS, StreamOutput } from './stream-output.js';

function region(bytes: Uint8Array): Region {
  return { id: 0, bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) };
}

/** An output whose peer reads when it is told to. */
function make(framing: Framing = U32BE) {
  const writes: { bytes: Buffer; raw: Uint8Array; done: () => void }[] = [];
  let writable = 0;
  const output = new StreamOutput(
    framing,
    plainMemory,
    (bytes, done) => writes.push({ bytes: Buffer.from(bytes), raw: bytes, done }),
    () => writable++,
  );
  const finish = (): void => {
    for (const write of writes.splice(0)) write.done();
  };
  return { output, writes, finish, writable: () => writable };
}

function send(output: StreamOutput, header: Uint8Array, ...pieces: Uint8Array[]): void {
  const at = output.begin(header.length);
  for (const piece of pieces) output.payload(region(piece), 0, piece.length);
  // Written after `payload`, as the contract allows.
  output.bytes.set(header, at);
  output.end(0, 0);
}

function filled(length: number, seed = 1): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (seed * 31 + i * 7) & 255));
}

describe('stream output', () => {
  it('writes once per flush, with lengths in front', () => {
    const { output, writes } = make();
    send(output, filled(54), filled(100, 2), filled(7, 3));
    send(output, filled(14));
    expect(writes).toHaveLength(0);
    output.flush();
    output.flush();
    const expected = [Buffer.from([0, 0, 0, 161]), filled(54), filled(100, 2), filled(7, 3)];
    expect(writes).toHaveLength(1);
    expect(writes[0]!.bytes).toEqual(Buffer.concat([...expected, Buffer.from([0, 0, 0, 14]), filled(14)]));
    const little = make(U16LE);
    send(little.output, filled(300));
    little.output.flush();
    expect(little.writes[0]!.bytes.subarray(0, 2)).toEqual(Buffer.from([44, 1]));
  });

  it('does not touch bytes whose write is under way', () => {
    const { output, writes, finish } = make();
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 40; i++) {
        send(output, filled(54, i), filled(9000, i));
        output.flush();
      }
      for (const { bytes, raw } of writes) expect(bytes.equals(raw)).toBe(true);
      finish();
    }
    expect(output.stats.txFrames).toBe(120);
    expect(output.queued).toBe(0);
  });

  it('moves a header when its payload does not fit the slab', () => {
    const { output, writes } = make();
    const expected: Buffer[] = [];
    for (let i = 0; i < 12; i++) {
      const [head, body] = [filled(54, i), filled(60_000, i)];
      send(output, head, body);
      const prefix = Buffer.alloc(4);
      prefix.writeUInt32BE(60_054);
      expected.push(prefix, head, body);
    }
    output.flush();
    expect(Buffer.concat(writes.map((write) => write.bytes)).equals(Buffer.concat(expected))).toBe(true);
  });

  it('is blocked at the high water mark and writable at the low one', () => {
    const { output, writes, writable } = make();
    while (!output.blocked) {
      send(output, filled(10_000));
      output.flush();
    }
    expect(output.queued).toBeGreaterThanOrEqual(HIGH_WATER);
    expect(output.queued).toBeLessThan(HIGH_WATER + 20_000);
    while (writable() === 0) writes.shift()!.done();
    expect(output.queued).toBeLessThanOrEqual(LOW_WATER);
    expect(output.blocked).toBe(false);
  });

  it('drops whole frames beyond the bound, counts them, and goes on afterwards', () => {
    const { output, writes, finish, writable } = make();
    for (let i = 0; i < 300; i++) send(output, filled(54, i), filled(10_000, i));
    output.flush();
    const { txFrames, txDropped } = output.stats;
    expect(txFrames + txDropped).toBe(300);
    expect(txDropped).toBeGreaterThan(0);
    expect(output.queued).toBeLessThanOrEqual(SLABS * SLAB_SIZE);
    const sent = Buffer.concat(writes.map((write) => write.bytes));
    expect(sent.length).toBe(txFrames * 10_058);
    expect(output.blocked).toBe(true);
    finish();
    expect(writable()).toBe(1);
    send(output, filled(60));
    output.flush();
    expect(writes[0]!.bytes).toHaveLength(64);
  });

  it('takes frames of the largest size and refuses what the link cannot carry', () => {
    const { output, writes } = make();
    send(output, filled(54), filled(MAX_FRAME - 54));
    send(output, filled(54), filled(MAX_FRAME - 53));
    send(output, filled(13));
    output.begin(60);
    output.end(0, 1460);
    output.flush();
    expect(output.stats).toMatchObject({ txFrames: 1, txRefused: 3 });
    expect(writes[0]!.bytes).toHaveLength(MAX_FRAME + 4);
    const little = make(U16LE).output;
    send(little, filled(54), filled(0xffff - 54));
    send(little, filled(54), filled(0xffff - 53));
    expect(little.stats).toMatchObject({ txFrames: 1, txRefused: 1 });
    expect(() => output.begin(MAX_FRAME + 1)).toThrow('does not fit');
  });

  it('sends nothing after close and survives writes that end later', () => {
    const { output, writes, finish } = make();
    send(output, filled(60));
    output.flush();
    output.close();
    output.close();
    send(output, filled(60));
    output.flush();
    expect(writes).toHaveLength(1);
    finish();
  });
});

describe('TX_CHECKSUM', () => {
  /** Ethernet, IPv4 with `options` bytes of options, TCP or UDP header. */
  function header(protocol: number, options: number, transport: number, payload: number): Buffer {
    const bytes = Buffer.alloc(14 + 20 + options + transport, 0xa5);
    bytes.writeUInt16BE(0x0800, 12);
    bytes[14] = 0x40 | (5 + options / 4);
    bytes.writeUInt16BE(20 + options + transport + payload, 16);
    bytes.writeUInt16BE(0x4000, 20);
    bytes[23] = protocol;
    return bytes;
  }

  /** Folded sum over pseudo header and segment: 0xffff when the checksum is right. */
  function verify(frame: Buffer, protocol: number, options: number): number {
    const ip = 20 + options;
    const length = frame.readUInt16BE(16) - ip;
    const pseudo = pseudoSum(frame.readUInt32BE(26), frame.readUInt32BE(30), protocol, length);
    return fold(sumBytes(frame, 14 + ip, length, pseudo));
  }

  it.each([
    [6, 0, 20],
    [6, 8, 32],
    [17, 0, 8],
    [17, 4, 8],
  ])('fills protocol %d with %d bytes of options', (protocol, options, transport) => {
    for (const [first, second] of [
      [0, 0],
      [1, 0],
      [7, 9],
      [1460, 0],
      [733, 727],
    ] as const) {
      const { output, writes } = make();
      const head = header(protocol, options, transport, first + second);
      const at = output.begin(head.length);
      output.bytes.set(head, at);
      output.payload(region(filled(first, 3)), 0, first);
      output.payload(region(filled(second, 4)), 0, second);
      output.end(TX_CHECKSUM, 0);
      output.flush();
      const sent = writes[0]!.bytes.subarray(4);
      expect(verify(sent, protocol, options)).toBe(0xffff);
    }
  });

  it('sends all ones for a UDP checksum that is zero, and leaves other frames alone', () => {
    const { output, writes } = make();
    const head = header(17, 0, 8, 2);
    head.fill(0, 26, 42);
    head.writeUInt16BE(10, 38);
    // Pseudo header and header sum to 17 + 10 + 10: the payload makes it 0xffff.
    const at = output.begin(head.length);
    output.bytes.set(head, at);
    output.payload(region(Uint8Array.of(0xff, 0xff - 37)), 0, 2);
    output.end(TX_CHECKSUM, 0);
    const arp = Buffer.alloc(42, 0x11);
    const second = output.begin(42);
    output.bytes.set(arp, second);
    output.end(TX_CHECKSUM, 0);
    output.flush();
    const sent = writes[0]!.bytes;
    expect(sent.readUInt16BE(4 + 40)).toBe(0xffff);
    expect(sent.subarray(-42)).toEqual(arp);
    expect(checksum(sent, 0, 0)).toBe(0xffff);
  });
});
