/** Frames for fuzzers: a corpus of real ones, and ways to spoil them. */
import {
  below,
  type Block,
  BlockPool,
  FrameBatch,
  type Link,
  type LinkHandler,
  plainMemory,
  type Random,
} from '../core/index.js';
import { AssemblingOutput, fillChecksum } from '../link/index.js';
import { decodeFrame, randomBytes, type ScriptedGuest, seededRandom, testNetwork } from './index.js';

const INTERESTING = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 15, 16, 19, 20, 21, 27, 28, 40, 63, 64, 127, 128, 254, 255,
];
const INTERESTING_16 = [
  0, 1, 7, 8, 19, 20, 28, 255, 256, 1500, 1514, 0x1fff, 0x2000, 0x3fff, 0x4000, 0x7fff, 0x8000, 0xfffe,
  0xffff,
];

/** Frames that a guest sent in a session that uses everything, one of each shape, and some that none sends. */
export async function corpus(): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  await using lab = await testNetwork({}, { guest: false });
  lab.host.accept('*', (socket) => socket.pipe(socket));
  lab.host.echoUdp('*');
  lab.host.name('example.test', '198.51.100.1');
  lab.network.linkMiddleware = (link) => tapped(link, (frame) => frames.push(frame));
  const guest = await lab.attach({ name: 'fuzz' });
  await session(lab, guest);
  const shapes = new Map(frames.map((frame) => [shape(frame), frame]));
  return [...shapes.values(), ...strangers(guest)];
}

async function session(lab: Awaited<ReturnType<typeof testNetwork>>, guest: ScriptedGuest): Promise<void> {
  guest.listen(80, (socket) => socket.end('x'));
  await lab.network.publish('127.0.0.1:8080:80');
  await lab.run(async () => {
    await guest.renew();
    await guest.ping(lab.gateway);
    await guest.ping(lab.gateway, { size: 4000 });
    await guest.resolve('example.test');
    await guest.resolve('example.test', 'AAAA', { tcp: true, dnssec: true }).catch(() => undefined);
    const udp = guest.udp();
    for (const size of [0, 100, 5000]) {
      udp.send(new Uint8Array(size), '198.51.100.1', 7);
      await udp.recv();
    }
    const socket = await guest.connect('198.51.100.1', 80);
    socket.end('hello over tcp');
    await socket.toArray();
    (await guest.connect('198.51.100.1', 81)).reset();
    await guest.connect(lab.gateway, 82).catch(() => undefined);
    await lab.host.connect('127.0.0.1', 8080).toArray();
    await guest.release();
  });
}

/** What kind of frame it is: one of each stays in the corpus. */
function shape(bytes: Uint8Array): string {
  const frame = decodeFrame(bytes);
  const { arp, ipv4, tcp, udp, icmp } = frame ?? {};
  if (tcp !== undefined)
    return `tcp ${tcp.flags} ${Object.keys(tcp.options).join()} ${tcp.payload.length > 0}`;
  if (udp !== undefined) return `udp ${udp.destinationPort} ${udp.payload.length}`;
  if (icmp !== undefined) return `icmp ${icmp.type} ${icmp.code}`;
  if (ipv4 !== undefined) return `ip ${ipv4.protocol} ${ipv4.moreFragments} ${ipv4.fragmentOffset}`;
  return `${frame?.ethernet.etherType ?? 0} ${arp?.operation ?? 0}`;
}

/** ARP replies, IPv6, VLAN, STP, IP with options, unknown protocols, the largest frames. */
function strangers(guest: ScriptedGuest): Uint8Array[] {
  const mac = [...guest.mac.split(':').map((byte) => Number.parseInt(byte, 16))];
  const gateway = [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xdd];
  const ip = [192, 168, 127, 2];
  const header = (protocol: number, length: number, options: number[] = []): number[] => {
    const total = 20 + options.length + length;
    return [
      0x45 + options.length / 4,
      0,
      total >> 8,
      total & 255,
      0,
      1,
      0,
      0,
      64,
      protocol,
      0,
      0,
      ...ip,
      198,
      51,
      100,
      1,
      ...options,
    ];
  };
  const make = (destination: number[], type: number, ...rest: number[]): Uint8Array =>
    repair(Uint8Array.from([...destination, ...mac, type >> 8, type & 255, ...rest]));
  return [
    make(gateway, 0x0806, 0, 1, 8, 0, 6, 4, 0, 2, ...mac, ...ip, ...gateway, 192, 168, 127, 1),
    make([0x33, 0x33, 0, 0, 0, 2], 0x86dd, 0x60, 0, 0, 0, 0, 8, 58, 255, ...new Array<number>(40).fill(0xfe)),
    make(gateway, 0x8100, 0, 5, 8, 0, ...header(17, 8), 0, 7, 0, 7, 0, 8, 0, 0),
    make([0x01, 0x80, 0xc2, 0, 0, 0], 39, ...new Array<number>(46).fill(0)),
    make(gateway, 0x0800, ...header(17, 8, [0x94, 4, 0, 0]), 0, 7, 0, 7, 0, 8, 0, 0),
    make(
      gateway,
      0x0800,
      ...header(6, 24, [7, 7, 4, 1, 1, 1, 1, 0]),
      4,
      0,
      0,
      80,
      0,
      0,
      0,
      1,
      0,
      0,
      0,
      0,
      0x60,
      2,
      255,
      255,
      0,
      0,
      0,
      0,
      2,
      4,
      5,
      180,
    ),
    make(gateway, 0x0800, ...header(47, 8), 0, 0, 8, 0, 0, 0, 0, 0),
    make([0x01, 0, 0x5e, 0, 0, 22], 0x0800, ...header(2, 8), 0x16, 0, 0x09, 4, 0xe0, 0, 0, 251),
    make(gateway, 0x0800, ...header(17, 65_000), ...new Array<number>(65_000).fill(0)),
  ];
}

/** Makes the checksums of an IPv4 frame right, so that it gets past the door. */
export function repair(frame: Uint8Array): Uint8Array {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (frame.length < 34 || view.getUint16(12) !== 0x0800) return frame;
  const length = (frame[14]! & 15) * 4;
  if (length < 20 || 14 + length > frame.length) return frame;
  view.setUint16(24, 0);
  let sum = 0;
  for (let at = 14; at < 14 + length; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(24, ~sum & 0xffff);
  fillChecksum(frame, view, 0, frame.length);
  return frame;
}

/** Spoils a frame in one or a few ways; `whole`: neither Ethernet addresses nor length change. */
export function mutate(random: Random, frames: readonly Uint8Array[], whole = false): Uint8Array {
  let frame: Uint8Array = pick(random, frames).slice();
  const from = whole ? 14 : 0;
  for (let n = 1 + below(random, 4); n > 0 && frame.length > from; n--) {
    const at = from + below(random, frame.length - from);
    switch (below(random, whole ? 4 : 8)) {
      case 0:
        frame[at] = frame[at]! ^ (1 << below(random, 8));
        break;
      case 1:
        frame[at] = pick(random, INTERESTING);
        break;
      case 2:
        if (at + 1 < frame.length)
          new DataView(frame.buffer, frame.byteOffset).setUint16(at, pick(random, INTERESTING_16));
        break;
      case 3:
        // A sequence number or window a little beside.
        frame[at] = (frame[at]! + below(random, 5) - 2) & 255;
        break;
      case 4:
        frame = frame.slice(0, at);
        break;
      case 5:
        frame = concat(frame, randomBytes(random, below(random, 100)));
        break;
      case 6:
        frame = concat(frame.subarray(0, at), pick(random, frames).subarray(at));
        break;
      default:
        frame.set(randomBytes(random, Math.min(4, frame.length - at)), at);
    }
  }
  return below(random, 4) === 0 ? frame : repair(frame);
}

/** A frame out of nothing, most of them to the gateway. */
export function noise(random: Random, gateway: Uint8Array): Uint8Array {
  const frame = randomBytes(random, below(random, 8) === 0 ? below(random, 9000) : below(random, 200));
  if (frame.length >= 15 && below(random, 4) > 0) {
    frame.set(gateway);
    frame[6] = 0x52;
    frame.set(below(random, 2) === 0 ? [8, 0, 0x45] : [8, 6, 0], 12);
  }
  return below(random, 2) === 0 ? frame : repair(frame);
}

function pick<T>(random: Random, list: ArrayLike<T>): T {
  return list[below(random, list.length)]!;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}

/** Puts frames of any length into batches, as a link would. */
export class Injector {
  readonly pool = new BlockPool(plainMemory);

  /** Delivers the frames in one batch, or several when they do not fit. */
  send(frames: readonly Uint8Array[], deliver: (batch: FrameBatch) => void): void {
    let at = 0;
    while (at < frames.length) {
      const block: Block = this.pool.take();
      const batch = new FrameBatch(block, 1024);
      for (let used = 0; at < frames.length; at++) {
        const frame = frames[at]!;
        if (used + frame.length > this.pool.blockSize || !batch.add(used, frame.length)) break;
        // Behind the frame stands what was there before: a reader that goes too far reads garbage.
        batch.bytes.set(frame, used);
        used += frame.length;
      }
      deliver(batch);
      block.release();
    }
  }
}

/** A link that shows every frame that comes in to somebody. */
function tapped(link: Link, show: (frame: Uint8Array) => void): Link {
  return {
    kind: link.kind,
    name: link.name,
    output: link.output,
    start: (handler: LinkHandler) =>
      link.start({
        frames: (batch) => {
          for (let i = 0; i < batch.count; i++) {
            const [offset, length] = [batch.meta[i * 4]!, batch.meta[i * 4 + 1]!];
            show(batch.bytes.slice(offset, offset + length));
          }
          handler.frames(batch);
        },
        writable: () => handler.writable(),
        closed: (reason) => handler.closed(reason),
      }),
    close: () => link.close(),
  };
}

/** An output that spoils a share of what is sent, checksums right: a peer that does not keep to the protocol. */
class SpoilingOutput extends AssemblingOutput {
  private readonly link: Link;
  private readonly random: Random;
  private readonly share: number;
  private readonly seen: Uint8Array[] = [];

  constructor(link: Link, random: Random, share: number) {
    super(plainMemory);
    this.link = link;
    this.random = random;
    this.share = share;
  }

  get blocked(): boolean {
    return this.link.output.blocked;
  }

  flush(): void {
    this.link.output.flush();
  }

  protected override frame(length: number): void {
    const frame = repair(this.bytes.slice(0, length));
    if (this.seen.length < 64) this.seen.push(frame);
    else this.seen[below(this.random, 64)] = frame;
    const spoil = this.random.u32() / 0x100000000 < this.share;
    const out = spoil ? mutate(this.random, below(this.random, 4) === 0 ? this.seen : [frame], true) : frame;
    const { output } = this.link;
    const at = output.begin(out.length);
    output.bytes.set(out, at);
    output.end(0, 0);
  }
}

/** A link whose user is a liar. */
export function spoiled(link: Link, share: number, seed: number): Link {
  return {
    kind: link.kind,
    name: link.name,
    output: new SpoilingOutput(link, seededRandom(seed), share),
    start: (handler) => link.start(handler),
    close: () => link.close(),
  };
}
