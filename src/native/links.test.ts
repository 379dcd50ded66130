/** Frame links over sockets: framing at every split, batches, limits, broken peers, checksums and cut segments. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Frames, Rig, frame, missingAddon } from './addon.testutil.js';
import {
  EBADF,
  EINVAL,
  EPIPE,
  EPROTO,
  LINK_KIND,
  OPTION,
  READ,
  RX_STRIDE,
  TX_STRIDE,
  WRITE,
} from './constants.js';

const FRAMINGS = [
  ['be32', LINK_KIND.be32],
  ['le16', LINK_KIND.le16],
] as const;

/** Frames as they stand on the wire. */
function wire(kind: number, frames: readonly Uint8Array[]): Uint8Array {
  const parts = frames.map((bytes) => {
    const prefix = Buffer.alloc(kind === LINK_KIND.be32 ? 4 : 2);
    if (kind === LINK_KIND.be32) prefix.writeUInt32BE(bytes.length);
    else prefix.writeUInt16LE(bytes.length);
    return Buffer.concat([prefix, bytes]);
  });
  return new Uint8Array(Buffer.concat(parts));
}

describe.skipIf(missingAddon())('native frame links', () => {
  let rig: Rig;
  let frames: Frames;
  beforeEach(() => {
    rig = new Rig();
    frames = new Frames(rig);
  });
  afterEach(() => rig.poller.close());

  function write(handle: number, data: Uint8Array): void {
    const id = rig.poller.register(data);
    const slices = rig.ints(3);
    slices.data.set([id, 0, data.length]);
    expect(rig.poller.writev(handle, slices.id, 0, 1)).toBe(data.length);
    rig.poller.unregister(id);
    rig.poller.unregister(slices.id);
  }

  /** Makes a link of the second end of a pair; `already` counts as read before. */
  function linkPair(kind: number, already: Uint8Array = new Uint8Array(0)): [number, number] {
    const [peer, ours] = rig.unixPair();
    const id = already.length > 0 ? rig.poller.register(already) : 0;
    expect(rig.poller.streamToLink(ours, kind, id, 0, already.length)).toBe(ours);
    if (id > 0) rig.poller.unregister(id);
    return [peer, ours];
  }

  it.each(FRAMINGS)('%s: every split of the stream gives the same frames', async (_, kind) => {
    const sent = [frame(14, 1), frame(60, 2), frame(15, 3)];
    const bytes = wire(kind, sent);
    for (let split = 1; split < bytes.length; split++) {
      const [peer, link] = linkPair(kind, bytes.slice(0, split >> 1));
      write(peer, bytes.slice(split >> 1, split));
      const first = frames.receive(link) as Uint8Array[];
      write(peer, bytes.slice(split));
      const rest = await frames.collect(link, 3 - first.length);
      expect([...first, ...rest]).toEqual(sent);
      rig.poller.closeHandle(peer);
      rig.poller.closeHandle(link);
    }
  });

  it.each(FRAMINGS)('%s: frames go out in batches and come in whole', async (kind, number) => {
    const [left, right] = rig.unixPair();
    rig.poller.streamToLink(left, number, 0, 0, 0);
    rig.poller.streamToLink(right, number, 0, 0, 0);
    expect(rig.poller.linkInfo(left)).toMatchObject({ kind: LINK_KIND[kind], vnetHeader: 0 });
    const sent = Array.from({ length: 300 }, (_, i) => frame(14 + ((i * 37) % 1500), i));
    const pieces = sent.map((bytes, i) => [
      bytes.subarray(0, 14),
      bytes.subarray(14, 14 + (i % 7) * 100),
      bytes.subarray(14 + (i % 7) * 100),
    ]);
    let pending = frames.send(left, pieces);
    expect(pending).toBeGreaterThanOrEqual(0);
    expect(await frames.collect(right, 300)).toEqual(sent);
    if (pending > 0) {
      await rig.wait(left, WRITE);
      pending = rig.poller.linkStats(left)!.pending;
    }
    expect(pending).toBe(0);
    const stats = rig.poller.linkStats(left)!;
    expect(stats).toMatchObject({ txFrames: 300, txDropped: 0, txErrors: 0 });
    expect(rig.poller.linkStats(right)).toMatchObject({ rxFrames: 300, rxBytes: stats.txBytes });
  });

  it('delivers what a limit left behind without a word from the kernel', async () => {
    const sent = [frame(20, 1), frame(30, 2), frame(40, 3)];
    const [, link] = linkPair(LINK_KIND.le16, wire(LINK_KIND.le16, sent));
    for (const expected of sent) {
      expect(await rig.wait(link, READ)).toBe(READ);
      expect(frames.receive(link, 1)).toEqual([expected]);
    }
    expect(frames.receive(link, 1)).toEqual([]);
  });

  it('does not report what was left behind while reading is paused', async () => {
    const [, link] = linkPair(LINK_KIND.le16, wire(LINK_KIND.le16, [frame(20, 1), frame(20, 2)]));
    await rig.wait(link, READ);
    frames.receive(link, 1);
    rig.poller.interest(link, 0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const before = rig.wakeups;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(rig.wakeups - before).toBe(0);
    rig.seen.clear();
    rig.poller.interest(link, READ);
    await rig.wait(link, READ);
    expect(frames.receive(link)).toEqual([frame(20, 2)]);
  });

  it('tells the end after the frames before it', async () => {
    const [peer, link] = linkPair(LINK_KIND.be32);
    const bytes = wire(LINK_KIND.be32, [frame(20, 1), frame(30, 2)]);
    write(peer, bytes.slice(0, bytes.length - 3));
    rig.poller.closeHandle(peer);
    expect(await frames.collect(link, 1)).toEqual([frame(20, 1)]);
    await rig.wait(link, READ);
    expect(frames.receive(link)).toBe(EPIPE);
    expect(frames.receive(link)).toBe(EPIPE);
  });

  it.each([
    [LINK_KIND.be32, [0, 0, 0, 13]],
    [LINK_KIND.be32, [0, 2, 0, 1]],
    [LINK_KIND.be32, [255, 255, 255, 255]],
    [LINK_KIND.le16, [13, 0]],
    [LINK_KIND.le16, [0, 0]],
  ])('calls a wrong length a protocol error (kind %i, prefix %j)', async (kind, prefix) => {
    const good = frame(100, 1);
    const [peer, link] = linkPair(kind);
    write(peer, new Uint8Array([...wire(kind, [good]), ...prefix, 1, 2, 3]));
    expect(await frames.collect(link, 1)).toEqual([good]);
    await rig.wait(link, READ);
    expect(frames.receive(link)).toBe(EPROTO);
    expect(rig.poller.linkStats(link)!.rxBad).toBe(1);
  });

  it('takes the longest frame', async () => {
    const [left, right] = rig.unixPair();
    for (const handle of [left, right]) rig.poller.streamToLink(handle, LINK_KIND.be32, 0, 0, 0);
    const longest = frame(131072, 5);
    expect(frames.send(left, [[longest]])).toBeGreaterThanOrEqual(0);
    expect(await frames.collect(right, 1)).toEqual([longest]);
    // A length that the framing cannot say is an error of that frame alone.
    rig.poller.closeHandle(left);
    rig.poller.closeHandle(right);
    const [, short] = linkPair(LINK_KIND.le16);
    expect(frames.send(short, [[frame(65536, 1)], [frame(14, 1)]])).toBe(0);
    expect(rig.poller.linkStats(short)).toMatchObject({ txErrors: 1, txFrames: 1 });
  });

  it('keeps whole frames for a slow peer up to the limit, drops and counts the others', async () => {
    const { poller } = rig;
    const [left, right] = rig.unixPair();
    for (const handle of [left, right]) poller.streamToLink(handle, LINK_KIND.le16, 0, 0, 0);
    expect(poller.setOption(left, OPTION.pendingLimit, 100_000)).toBe(0);
    const sent: Uint8Array[] = [];
    let pending = 0;
    for (let i = 0; i < 1000; i++) {
      const bytes = frame(1400, i);
      const before = poller.linkStats(left)!.txFrames;
      pending = frames.send(left, [[bytes.subarray(0, 54), bytes.subarray(54)]]);
      if (poller.linkStats(left)!.txFrames > before) sent.push(bytes);
    }
    expect(pending).toBeGreaterThan(90_000);
    expect(pending).toBeLessThanOrEqual(100_000 + 1402);
    const stats = poller.linkStats(left)!;
    expect(stats.txDropped).toBeGreaterThan(0);
    expect(stats.txFrames + stats.txDropped).toBe(1000);
    // What was counted as sent arrives, in order and whole; then the sender hears of it.
    expect(await frames.collect(right, sent.length)).toEqual(sent);
    expect((await rig.wait(left, WRITE)) & WRITE).toBe(WRITE);
    expect(poller.linkStats(left)!.pending).toBe(0);
  });

  it('says when the peer is gone', async () => {
    const { poller } = rig;
    const [left, right] = rig.unixPair();
    poller.streamToLink(left, LINK_KIND.le16, 0, 0, 0);
    poller.closeHandle(right);
    expect(frames.send(left, [[frame(20, 1)]])).toBe(EPIPE);
    await rig.wait(left, READ);
    expect(frames.receive(left)).toBe(EPIPE);
  });

  it('sends nothing when one descriptor is wrong', () => {
    const { poller } = rig;
    const [left, right] = rig.unixPair();
    for (const handle of [left, right]) poller.streamToLink(handle, LINK_KIND.le16, 0, 0, 0);
    const { out, desc } = frames;
    const good = [out.id, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const wrong = [
      [out.id, 0, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      [out.id, -1, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      [99, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      [out.id, 0, 20, 0, 0, out.id, 524_280, 9, 0, 0, 0, 0],
      [out.id, 0, 20, 0, 0, 0, 0, 0, out.id, 0, -5, 0],
      [out.id, 0, 131_073, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      [out.id, 0, 20, 0, -1, 0, 0, 0, 0, 0, 0, 0],
      // A super-segment that is no TCP packet.
      [out.id, 0, 60, 1, 100, out.id, 0, 1000, 0, 0, 0, 0],
    ];
    for (const bad of wrong) {
      desc.data.set([...good, ...bad]);
      expect([bad, poller.txBatch(left, desc.id, 2)]).toEqual([bad, EINVAL]);
    }
    desc.data.set(good);
    for (const count of [-1, 1025]) expect(poller.txBatch(left, desc.id, count)).toBe(EINVAL);
    expect(poller.txBatch(left + 1000, desc.id, 1)).toBe(EBADF);
    expect(frames.receive(right)).toEqual([]);
    expect(poller.linkStats(left)!.txFrames).toBe(0);
    // Too little room for the longest frame is said at once, not when it comes.
    const { room, meta } = frames;
    expect(poller.rxBatch(right, room.id, 0, 131_075, meta.id, 10)).toBe(EINVAL);
    expect(poller.rxBatch(right, room.id, 0, room.data.length + 1, meta.id, 10)).toBe(EINVAL);
    expect(poller.rxBatch(right, room.id, 9, 3, meta.id, 10)).toBe(EINVAL);
    expect(poller.rxBatch(right, room.id, 0, room.data.length, meta.id, 0)).toBe(EINVAL);
    expect(poller.rxBatch(right, room.id, 0, room.data.length, 99, 10)).toBe(EINVAL);
    expect(TX_STRIDE).toBe(good.length);
    expect(RX_STRIDE).toBe(4);
  });

  it('fills in checksums and cuts super-segments for a link without offloads', async () => {
    const [left, right] = rig.unixPair();
    for (const handle of [left, right]) rig.poller.streamToLink(handle, LINK_KIND.be32, 0, 0, 0);
    const payload = frame(3000, 9);
    const head = tcpHeader(3000);
    frames.send(left, [[head, payload.subarray(0, 1234), payload.subarray(1234)]], 1, 1400);
    const segments = await frames.collect(right, 3);
    expect(segments.map((segment) => segment.length - 54)).toEqual([1400, 1400, 200]);
    expect(Buffer.concat(segments.map((segment) => segment.subarray(54)))).toEqual(Buffer.from(payload));
    segments.forEach((segment, i) => {
      const view = new DataView(segment.buffer, segment.byteOffset);
      expect(view.getUint32(38)).toBe(1_000_000 + i * 1400);
      expect(sum(segment.subarray(14, 34))).toBe(0xffff);
      const pseudo = [
        ...segment.subarray(26, 34),
        0,
        6,
        (segment.length - 34) >> 8,
        (segment.length - 34) & 255,
      ];
      expect(sum(Uint8Array.from([...pseudo, ...segment.subarray(34)]))).toBe(0xffff);
      expect(segment[47]! & 8).toBe(i === 2 ? 8 : 0);
    });
  });
});

/** Ethernet, IPv4 and TCP headers (PSH, ACK) for `payload` bytes, with junk for checksums. */
function tcpHeader(payload: number): Uint8Array {
  const head = Buffer.alloc(54, 0xa5);
  head.writeUInt16BE(0x0800, 12);
  head.set([0x45, 0], 14);
  head.writeUInt16BE(40 + payload, 16);
  head.set([0, 1, 0x40, 0, 64, 6], 18);
  head.set([192, 168, 127, 1, 192, 168, 127, 2], 26);
  head.writeUInt32BE(1_000_000, 38);
  head.set([0x50, 0x18], 46);
  return new Uint8Array(head);
}

/** RFC 1071, as written. */
function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    total += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
    total = (total & 0xffff) + (total >>> 16);
  }
  return total;
}
