/** TAP links against a real kernel, in a network namespace of the test's own without a route to anywhere. */
import { execFileSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Frames, Rig, missingRoot } from './addon.testutil.js';
import { EINVAL, LINK_KIND, RX_STRIDE, errnoName } from './constants.js';

const OUR_MAC = [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xdd];
const GUEST_MAC = [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee];
const OUR_IP = [192, 168, 127, 1];
const GUEST_IP = [192, 168, 127, 2];
const UDP = 17;
const TCP = 6;

/** Ethernet and IPv4 headers with checksums left to the link, and what follows them. */
function packet(protocol: number, rest: number[], payload: number): Uint8Array {
  const length = 20 + rest.length + payload;
  const ip = [
    0x45,
    0,
    length >> 8,
    length & 255,
    0,
    1,
    0x40,
    0,
    64,
    protocol,
    0xaa,
    0xaa,
    ...OUR_IP,
    ...GUEST_IP,
  ];
  return Uint8Array.from([...GUEST_MAC, ...OUR_MAC, 8, 0, ...ip, ...rest]);
}

function udp(port: number, payload: number): Uint8Array {
  return packet(
    UDP,
    [0, 99, port >> 8, port & 255, (payload + 8) >> 8, (payload + 8) & 255, 0xaa, 0xaa],
    payload,
  );
}

/** A data segment (PSH) for a connection that nobody has: the kernel's RST acknowledges all of it (RFC 9293 3.10.7.1). */
function tcp(payload: number): Uint8Array {
  return packet(TCP, [0, 99, 0, 9, 0, 0, 0, 100, 0, 0, 0, 1, 0x50, 0x08, 1, 0, 0xaa, 0xaa, 0, 0], payload);
}

describe.skipIf(missingRoot())('native TAP links', () => {
  const netns = `np-tap-${process.pid}`;
  const path = `/run/netns/${netns}`;
  let rig: Rig;
  let frames: Frames;
  const ip = (...args: string[]) => execFileSync('ip', ['-n', netns, ...args]).toString();

  beforeEach(() => {
    execFileSync('ip', ['netns', 'add', netns]);
    execFileSync('ip', ['netns', 'exec', netns, 'sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1']);
    rig = new Rig();
    frames = new Frames(rig);
  });
  afterEach(() => {
    rig.poller.close();
    execFileSync('ip', ['netns', 'del', netns]);
  });

  /** Opens a TAP inside and gives it an address. */
  function open(vnetHeader: boolean): number {
    const link = rig.poller.linkOpenTap('tap0', path, { vnetHeader, offloads: vnetHeader });
    expect(link).toBeGreaterThan(0);
    const mac = (bytes: number[]) => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
    ip('link', 'set', 'tap0', 'address', mac(GUEST_MAC), 'mtu', '1500', 'up');
    ip('addr', 'add', `${GUEST_IP.join('.')}/24`, 'dev', 'tap0');
    ip('neigh', 'add', OUR_IP.join('.'), 'lladdr', mac(OUR_MAC), 'dev', 'tap0');
    return link;
  }

  /** The next IPv4 frame of a protocol, and its flags and GSO size. */
  async function next(link: number, protocol: number) {
    for (;;) {
      const batch = frames.receive(link, 1);
      if (typeof batch === 'number') throw new Error(`rxBatch: ${errnoName(batch)}`);
      const [bytes] = batch;
      if (bytes === undefined) await rig.wait(link, 1);
      else if (bytes[12] === 8 && bytes[23] === protocol)
        return { bytes, flags: frames.meta.data[2]!, gso: frames.meta.data[3]! };
    }
  }

  it.each([false, true])(
    'writes frames that the kernel takes, checksums filled in (offloads: %s)',
    async (on) => {
      const link = open(on);
      expect(rig.poller.linkInfo(link)).toEqual({
        kind: LINK_KIND.tap,
        name: 'tap0',
        mtu: 1500,
        vnetHeader: on ? 12 : 0,
        offloads: on,
      });
      for (const [first, second] of [
        [0, 301],
        [7, 294],
        [301, 0],
      ] as const) {
        const pieces = [udp(9, 301), new Uint8Array(first).fill(3), new Uint8Array(second).fill(4)];
        expect(frames.send(link, [pieces], 1)).toBe(0);
        // Port unreachable: IP and UDP headers were right.
        const { bytes } = await next(link, 1);
        expect([bytes[34], bytes[35]]).toEqual([3, 3]);
      }
      expect(rig.poller.linkStats(link)).toMatchObject({ txFrames: 3, txDropped: 0, txErrors: 0 });
    },
  );

  it.each([false, true])('sends super-segments, cut or whole (offloads: %s)', async (on) => {
    const link = open(on);
    const payload = [new Uint8Array(2001).fill(1), new Uint8Array(2999).fill(2)];
    expect(frames.send(link, [[tcp(5000), ...payload]], 1, 1448)).toBe(0);
    const acknowledged: number[] = [];
    while (acknowledged.at(-1) !== 100 + 5000) {
      const { bytes } = await next(link, TCP);
      expect(bytes[47]! & 4).toBe(4);
      acknowledged.push(new DataView(bytes.buffer, bytes.byteOffset).getUint32(42));
    }
    expect(acknowledged.length).toBe(on ? 1 : 4);
  });

  it('says that a checksum is not filled in yet, and hands over super-segments', async () => {
    const link = open(true);
    execFileSync('ip', [
      'netns',
      'exec',
      netns,
      'bash',
      '--norc',
      '-c',
      'echo hello > /dev/udp/192.168.127.1/9',
    ]);
    const { bytes, flags, gso } = await next(link, UDP);
    expect([flags, gso]).toEqual([1, 0]);
    expect(Buffer.from(bytes.subarray(42, 48)).toString()).toBe('hello\n');
  });

  it('refuses a range without room for the longest frame', () => {
    const link = open(false);
    const { room, meta } = frames;
    expect(rig.poller.rxBatch(link, room.id, 0, 65_567, meta.id, 10)).toBe(EINVAL);
    expect(rig.poller.rxBatch(link, room.id, 0, 65_568, meta.id, 10)).toBe(0);
    expect(RX_STRIDE).toBe(4);
  });

  it('counts frames for an interface that is down', async () => {
    const link = open(false);
    ip('link', 'set', 'tap0', 'down');
    expect(frames.send(link, [[udp(9, 10), new Uint8Array(10)]], 1)).toBe(0);
    expect(rig.poller.linkStats(link)).toMatchObject({ txFrames: 0, txErrors: 1 });
    // Deleted behind our back: an error, once, and no spinning.
    rig.seen.clear();
    ip('link', 'del', 'tap0');
    await rig.wait(link, 4 | 1);
    expect(errnoName(frames.receive(link) as number)).toBe('EBADFD');
    rig.poller.closeHandle(link);
  });

  it('adopts an open TAP and asks for its flags', async () => {
    const link = open(true);
    const fd = rig.poller.release(link);
    const adopted = rig.poller.linkAdopt(fd, LINK_KIND.tap, false);
    expect(rig.poller.linkInfo(adopted)).toMatchObject({ name: 'tap0', vnetHeader: 12, offloads: false });
    expect(frames.send(adopted, [[udp(9, 10), new Uint8Array(10)]], 1)).toBe(0);
    await next(adopted, 1);
    const other = rig.poller.udpOpen('127.0.0.1', 0, false);
    expect(rig.poller.linkAdopt(rig.poller.release(other), LINK_KIND.tap, false)).toBeLessThan(0);
  });

  it('gives a TAP that it makes a queue for bursts, and leaves another one as it was', () => {
    const options = { vnetHeader: false, offloads: false };
    expect(rig.poller.linkOpenTap('tap1', path, options)).toBeGreaterThan(0);
    expect(ip('link', 'show', 'tap1')).toContain('qlen 10000');
    ip('tuntap', 'add', 'mode', 'tap', 'name', 'tap2');
    ip('link', 'set', 'tap2', 'txqueuelen', '77');
    expect(rig.poller.linkOpenTap('tap2', path, options)).toBeGreaterThan(0);
    expect(ip('link', 'show', 'tap2')).toContain('qlen 77');
  });

  it('says why a TAP cannot be opened', () => {
    const options = { vnetHeader: false, offloads: false };
    const open = (name: string, where: string) => errnoName(rig.poller.linkOpenTap(name, where, options));
    expect(open('tap0', '/run/netns/absent')).toBe('ENOENT');
    expect(open('tap0', '/etc/passwd')).toBe('EINVAL');
    expect(open('a-name-that-is-too-long', path)).toBe('EINVAL');
    expect(open('', path)).toBe('EINVAL');
    const first = rig.poller.linkOpenTap('tap1', path, options);
    expect(first).toBeGreaterThan(0);
    expect(open('tap1', path)).toBe('EBUSY');
  });
});
