/** Links of the native layer: the compliance suite over streams and TAPs, and what only they do. */
import { execFileSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { BlockPool, fold, pseudoSum, silentLogger, sumBytes, TX_CHECKSUM } from '../core/index.js';
import type { Link } from '../core/index.js';
import * as native from '../native/index.js';
import { Collector, complianceSuite, pause, testFrame, transmit } from './compliance.testutil.js';
import type { Pair, Rig } from './compliance.testutil.js';
import { NATIVE_KIND, NATIVE_STRIDE, READY, SEND_BUFFER_OPTION } from './native-hub.js';
import type { Peer } from './peers.testutil.js';
import { streamTransports } from './rigs.testutil.js';
import { tapFdLink, tapLink } from './tap.js';

const { addon, reason } = native.loadNative();

describe('numbers shared with native', () => {
  it('are the same', () => {
    expect(READY).toEqual({ read: native.READ, write: native.WRITE, error: native.ERR, hangup: native.HUP });
    const { tap, be32, le16, seqpacket } = native.LINK_KIND;
    expect(NATIVE_KIND).toEqual({ tap, be32, le16, seqpacket });
    expect(SEND_BUFFER_OPTION).toBe(native.OPTION.sendBuffer);
    expect(NATIVE_STRIDE).toEqual({ rx: native.RX_STRIDE, tx: native.TX_STRIDE });
  });
});

if (addon === undefined) {
  describe('native links', () => {
    it.skip(`not tested: no addon, ${reason ?? ''}`, () => undefined);
  });
} else {
  const hub = new native.Hub(addon);
  const makePool = () => new BlockPool(hub.memory);
  afterAll(() => {
    hub.close();
  });

  for (const transport of streamTransports(hub)) complianceSuite(transport, makePool);

  const mayTap = process.getuid?.() === 0;
  if (mayTap) tapTests(hub, makePool);
  else it.skip('TAP links: not tested, this user is not root', () => undefined);
}

let serial = 0;

/** Two TAPs on a bridge in a namespace of their own: what one sends, the other receives. */
function bridge(hub: native.Hub, offloads = false) {
  return (pool: BlockPool): Rig => {
    const space = `np-link-${process.pid}-${serial++}`;
    const ip = (...args: string[]): void => void execFileSync('ip', ['-n', space, ...args]);
    execFileSync('ip', ['netns', 'add', space]);
    execFileSync('ip', ['netns', 'exec', space, 'sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1']);
    const deps = { pool, logger: silentLogger, native: hub };
    const links = ['tap0', 'tap1'].map((name) => tapLink({ name, netns: space, offloads }, deps));
    ip('link', 'add', 'br0', 'mtu', '65521', 'type', 'bridge', 'mcast_snooping', '0');
    for (const name of ['tap0', 'tap1']) {
      ip('link', 'set', name, 'mtu', '65521', 'txqueuelen', '2000', 'master', 'br0', 'up');
    }
    ip('link', 'set', 'br0', 'up');
    return {
      single: true,
      connect: async (): Promise<Pair> => ({ link: links[0]!, peer: tapPeer(links[1]!) }),
      dispose: () => {
        for (const link of links) link.close();
        execFileSync('ip', ['netns', 'del', space]);
      },
    };
  };
}

function tapPeer(link: Link): Peer {
  const handler = new Collector();
  link.start(handler);
  return {
    send: (frame) => {
      transmit(link, Buffer.from(frame));
      link.output.flush();
    },
    take: (count) => handler.take(count),
    received: handler.frames_,
    pause: () => undefined,
    resume: () => undefined,
    close: () => link.close(),
    closed: Promise.resolve(),
  };
}

function tapTests(hub: native.Hub, makePool: () => BlockPool): void {
  const shape = { maxFrame: 65_535, stream: false, backpressure: false, noticesClose: false };
  complianceSuite({ name: 'tap', ...shape, open: bridge(hub) }, makePool);
  complianceSuite({ name: 'tap with offloads', ...shape, open: bridge(hub, true) }, makePool);

  describe('tap links', () => {
    const rigs: Rig[] = [];
    const open = (pool: BlockPool): Rig => {
      const rig = bridge(hub)(pool);
      rigs.push(rig);
      return rig;
    };
    afterEach(async () => {
      for (const rig of rigs.splice(0)) await rig.dispose();
    });

    it('fill checksums of payload in registered memory and elsewhere', async () => {
      const pool = makePool();
      const rig = open(pool);
      const { link, peer } = await rig.connect();
      link.start(new Collector());
      const head = Buffer.alloc(54, 0xa5);
      testFrame(14).copy(head);
      head.set([8, 0, 0x45], 12);
      head.writeUInt16BE(40 + 101, 16);
      head[23] = 6;
      head[46] = 0x50;
      head.writeUInt16BE(0, 20);
      const region = hub.memory.allocate(200);
      region.bytes.fill(7);
      const foreign = { id: 0, bytes: Buffer.alloc(51, 9), view: new DataView(new ArrayBuffer(0)) };
      const at = link.output.begin(head.length);
      link.output.bytes.set(head, at);
      link.output.payload(region, 3, 51);
      link.output.payload(foreign, 1, 50);
      link.output.end(TX_CHECKSUM, 0);
      link.output.flush();
      const [frame] = await peer.take(1);
      expect(frame).toHaveLength(155);
      const pseudo = pseudoSum(frame!.readUInt32BE(26), frame!.readUInt32BE(30), 6, 121);
      expect(fold(sumBytes(frame!, 34, 121, pseudo))).toBe(0xffff);
      expect(frame!.subarray(54)).toEqual(Buffer.concat([Buffer.alloc(51, 7), Buffer.alloc(50, 9)]));
      hub.memory.free(region);
    });

    it('send more frames than a call holds', async () => {
      const rig = open(makePool());
      const { link, peer } = await rig.connect();
      link.start(new Collector());
      for (let i = 0; i < 700; i++) transmit(link, testFrame(100, i));
      link.output.flush();
      expect((await peer.take(700)).map((frame) => frame.readUInt32BE(14))).toEqual(
        Array.from({ length: 700 }, (_, i) => i),
      );
    });

    it('say what is wrong', () => {
      const deps = { pool: makePool(), logger: silentLogger, native: hub };
      expect(() => tapLink({ name: 'a name of many letters' }, deps)).toThrow('is no interface name');
      expect(() => tapLink({ name: 't0', netns: 'np-no-such-space' }, deps)).toThrow(
        expect.objectContaining({
          code: 'ERR_NETPROXY_LINK',
          remedy: expect.stringContaining('ip netns add'),
        }),
      );
      const fd = openSync('/dev/null', 'r');
      expect(() => tapFdLink(fd, deps)).toThrow(`descriptor ${fd} is no TAP`);
      expect(() => tapLink({ name: 't0' }, { pool: deps.pool, logger: silentLogger })).toThrow(
        expect.objectContaining({ code: 'ERR_NETPROXY_NATIVE' }),
      );
    });

    it('end with a reason when the interface goes away', async () => {
      const rig = open(makePool());
      const { link } = await rig.connect();
      const handler = new Collector();
      link.start(handler);
      const space = /np-link-[\d-]+/.exec(link.name)![0];
      execFileSync('ip', ['-n', space, 'link', 'del', 'tap0']);
      expect(await handler.ended).toMatchObject({ code: 'ERR_NETPROXY_LINK' });
      await pause(5);
      expect(handler.closes).toBe(1);
    });
  });
}
