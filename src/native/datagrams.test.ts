/** UDP batches over loopback, the error queue, and ping sockets where the host allows them. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Rig, addon, missingAddon } from './addon.testutil.js';
import {
  EAGAIN,
  EINVAL,
  ERR,
  OPTION,
  READ,
  UDP_ERROR_STRIDE,
  UDP_IPV6,
  UDP_RX_STRIDE,
  UDP_TRUNCATED,
  UDP_TX_STRIDE,
  errnoName,
} from './constants.js';

const LOOPBACK = 0x7f000001;

describe.skipIf(missingAddon())('native datagrams', () => {
  let rig: Rig;
  let out: ReturnType<Rig['bytes']>;
  let room: ReturnType<Rig['bytes']>;
  let desc: ReturnType<Rig['ints']>;
  let meta: ReturnType<Rig['ints']>;
  beforeEach(() => {
    rig = new Rig();
    out = rig.bytes(256 * 1024);
    room = rig.bytes(256 * 1024);
    desc = rig.ints(UDP_TX_STRIDE * 200);
    meta = rig.ints(UDP_RX_STRIDE * 200);
    out.data.forEach((_, i) => (out.data[i] = (i * 13) & 255));
  });
  afterEach(() => rig.poller.close());

  function portOf(handle: number): number {
    return rig.poller.address(handle, false)!.port;
  }

  it('sends and receives batches, with both addresses', async () => {
    const { poller } = rig;
    const left = poller.udpOpen(null, 0, false);
    const right = poller.udpOpen(null, 0, false);
    for (let i = 0; i < 150; i++) {
      desc.data.set(
        [out.id, i, i, portOf(right), LOOPBACK, 0, 0, 0, i % 2 ? 0x7f000005 : 0, 0, 0, 0],
        i * UDP_TX_STRIDE,
      );
    }
    expect(poller.udpSendBatch(left, desc.id, 0, 150)).toBe(150);
    await rig.wait(right, READ);
    let received = 0;
    while (received < 150) {
      const count = poller.udpRecvBatch(right, room.id, 0, room.data.length, 2048, meta.id);
      expect(count).toBeGreaterThan(0);
      for (let k = 0; k < count; k++, received++) {
        const [offset, length, port, flags, from, , , , to] = meta.data.subarray(k * UDP_RX_STRIDE);
        expect([length, port, flags]).toEqual([received, portOf(left), 0]);
        expect([from, to]).toEqual([received % 2 ? 0x7f000005 : LOOPBACK, LOOPBACK]);
        expect(room.data.subarray(offset, offset! + length!)).toEqual(
          out.data.subarray(received, received * 2),
        );
      }
    }
    expect(poller.udpRecvBatch(right, room.id, 0, room.data.length, 2048, meta.id)).toBe(0);
  });

  it.each([
    ['127.0.0.1', LOOPBACK, 0, false],
    ['::1', 0, 1, true],
  ] as const)('carries TTL and TOS of each datagram over %s', async (host, first, last, v6) => {
    const { poller } = rig;
    const left = poller.udpOpen(host, 0, v6);
    const right = poller.udpOpen(host, 0, v6);
    const sent = [
      [0, 0],
      [1, 0xb8],
      [255, 3],
      [33, 0],
    ];
    sent.forEach(([ttl, tos], i) => {
      const from = i === 1 ? [first, 0, 0, last] : [0, 0, 0, 0];
      desc.data.set([out.id, 0, 9, portOf(right), first, 0, 0, last, ...from, ttl!, tos!], i * UDP_TX_STRIDE);
    });
    expect(poller.udpSendBatch(left, desc.id, 0, sent.length)).toBe(sent.length);
    await rig.wait(right, READ);
    expect(poller.udpRecvBatch(right, room.id, 0, room.data.length, 2048, meta.id)).toBe(sent.length);
    const got = sent.map((_, i) => [...meta.data.subarray(i * UDP_RX_STRIDE + 12, (i + 1) * UDP_RX_STRIDE)]);
    expect(got).toEqual([[64, 0], ...sent.slice(1)]);
    for (const bad of [-2, 256]) {
      desc.data[12] = bad;
      expect(poller.udpSendBatch(left, desc.id, 0, 1)).toBe(EINVAL);
    }
  });

  it('says when a datagram was cut, and what is no range', async () => {
    const { poller } = rig;
    const left = poller.udpOpen('127.0.0.1', 0, false);
    const right = poller.udpOpen('127.0.0.1', 0, false);
    desc.data.set([out.id, 0, 100, portOf(right), LOOPBACK]);
    expect(poller.udpSendBatch(left, desc.id, 0, 1)).toBe(1);
    await rig.wait(right, READ);
    expect(poller.udpRecvBatch(right, room.id, 0, 4096, 64, meta.id)).toBe(1);
    expect([...meta.data.subarray(0, 4)]).toEqual([0, 64, portOf(left), UDP_TRUNCATED]);
    for (const [start, end, slot] of [
      [0, 4096, 0],
      [0, 4096, -1],
      [0, 10, 64],
      [4096, 0, 64],
      [0, 1 << 30, 64],
    ] as const) {
      expect(poller.udpRecvBatch(right, room.id, start, end, slot, meta.id)).toBe(EINVAL);
    }
    for (const bad of [
      [out.id, 0, 1 << 20, 1, LOOPBACK],
      [out.id, 0, 1, 65536, LOOPBACK],
      [out.id, 0, 1, -1, LOOPBACK],
      [77, 0, 1, 1, LOOPBACK],
    ]) {
      desc.data.set(bad);
      expect(poller.udpSendBatch(left, desc.id, 0, 1)).toBe(EINVAL);
    }
    expect(poller.udpSendBatch(left, desc.id, 199, 2)).toBe(EINVAL);
  });

  it('tells the error of the first datagram and goes on behind it', () => {
    const { poller } = rig;
    const left = poller.udpOpen('127.0.0.1', 0, false);
    const right = poller.udpOpen('127.0.0.1', 0, false);
    const port = portOf(right);
    desc.data.set([out.id, 0, 10, port, LOOPBACK], 0);
    desc.data.set([out.id, 0, 70_000, port, LOOPBACK], UDP_TX_STRIDE);
    desc.data.set([out.id, 0, 10, port, LOOPBACK], 2 * UDP_TX_STRIDE);
    expect(poller.udpSendBatch(left, desc.id, 0, 3)).toBe(1);
    expect(errnoName(poller.udpSendBatch(left, desc.id, 1, 2))).toBe('EMSGSIZE');
    expect(poller.udpSendBatch(left, desc.id, 2, 1)).toBe(1);
  });

  it('drains the error queue, and a refused datagram does not hold up the next', async () => {
    const { poller } = rig;
    const gone = poller.udpOpen('127.0.0.1', 0, false);
    const port = portOf(gone);
    poller.closeHandle(gone);
    const left = poller.udpOpen(null, 0, false);
    const right = poller.udpOpen('127.0.0.1', 0, false);
    desc.data.set([out.id, 0, 10, port, LOOPBACK]);
    expect(poller.udpSendBatch(left, desc.id, 0, 1)).toBe(1);
    expect((await rig.wait(left, ERR)) & ERR).toBe(ERR);
    desc.data[3] = portOf(right);
    expect(poller.udpSendBatch(left, desc.id, 0, 1)).toBe(1);
    const errors = rig.ints(UDP_ERROR_STRIDE * 4);
    expect(poller.udpErrors(left, errors.id, 4)).toBe(1);
    const [errno, origin, type, code, info, failed, offender, , , , target] = errors.data;
    expect(errnoName(errno!)).toBe('ECONNREFUSED');
    expect([origin, type, code, info, failed, offender, target]).toEqual([
      2,
      3,
      3,
      0,
      port,
      LOOPBACK,
      LOOPBACK,
    ]);
    expect(poller.udpErrors(left, errors.id, 4)).toBe(0);
    expect(poller.udpErrors(left, errors.id, 5)).toBe(EINVAL);
    expect(poller.soError(left)).toBe(0);
  });

  it('speaks IPv6', async () => {
    const { poller } = rig;
    const left = poller.udpOpen('::1', 0, true);
    const right = poller.udpOpen(null, 0, true);
    desc.data.set([out.id, 0, 33, portOf(right), 0, 0, 0, 1]);
    expect(poller.udpSendBatch(left, desc.id, 0, 1)).toBe(1);
    await rig.wait(right, READ);
    expect(poller.udpRecvBatch(right, room.id, 0, 4096, 64, meta.id)).toBe(1);
    expect([...meta.data.subarray(0, 12)]).toEqual([0, 33, portOf(left), UDP_IPV6, 0, 0, 0, 1, 0, 0, 0, 1]);
    expect(errnoName(poller.udpOpen('127.0.0.1', 0, true))).toBe('EINVAL');
  });

  it('sets TTL, TOS and the like', () => {
    const { poller } = rig;
    for (const handle of [poller.udpOpen(null, 0, false), poller.udpOpen(null, 0, true)]) {
      expect(poller.setOption(handle, OPTION.ttl, 7)).toBe(0);
      expect(poller.setOption(handle, OPTION.tos, 0x10)).toBe(0);
      expect(poller.setOption(handle, OPTION.mtuDiscover, 2)).toBe(0);
    }
  });

  it('pings loopback where ping sockets are allowed', async () => {
    const { poller } = rig;
    const handle = poller.pingOpen(false);
    if (addon().capabilities().pingSockets !== 0) {
      process.stderr.write('no ping sockets here (net.ipv4.ping_group_range): only the refusal is tested\n');
      expect(errnoName(handle)).toBe('EACCES');
      return;
    }
    // Echo request, id and checksum are the kernel's, sequence 5.
    out.data.set([8, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3]);
    desc.data.set([out.id, 0, 11, 0, LOOPBACK]);
    expect(poller.udpSendBatch(handle, desc.id, 0, 1)).toBe(1);
    await rig.wait(handle, READ);
    expect(poller.udpRecvBatch(handle, room.id, 0, 4096, 2048, meta.id)).toBe(1);
    expect([...meta.data.subarray(1, 5)]).toEqual([11, 0, 0, LOOPBACK]);
    expect([room.data[0], room.data[7], room.data[10]]).toEqual([0, 5, 3]);
  });

  it('says that there is nothing to receive or accept', () => {
    const { poller } = rig;
    const listener = poller.tcpListen('127.0.0.1', 0, 1, false);
    expect(poller.accept(listener, 0)).toBe(EAGAIN);
    expect(poller.udpRecvBatch(listener, room.id, 0, 4096, 64, meta.id)).toBe(EINVAL);
  });
});
