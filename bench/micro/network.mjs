/** A whole network in one process: frames go in at a link, and a host that costs nothing takes what comes out. */
import { time } from './timing.mjs';

/** A host without a kernel: takes every byte at once, or has always more of them. */
function nullHost() {
  const taken = { bytes: 0, datagrams: 0 };
  const io = {
    dial: (target, handler) => {
      const endless = target.port === 9001;
      setImmediate(() => {
        handler.connected();
        if (endless) handler.readable();
      });
      return {
        send: (queue) => {
          const n = queue.bytes;
          queue.consume(n);
          taken.bytes += n;
          return n;
        },
        receive: (ring) => {
          if (!endless || ring.room === 0) return 0;
          ring.reserve(64 * 1024);
          const n = Math.min(ring.writeRoom, 256 * 1024);
          ring.wrote(n);
          if (n > 0) setImmediate(() => handler.readable());
          return n;
        },
        shutdown: () => undefined,
        reset: () => undefined,
        close: () => undefined,
      };
    },
    listen: () => Promise.reject(new Error('nothing listens')),
    udp: () => ({
      send: () => {
        taken.datagrams++;
      },
      close: () => undefined,
    }),
    bindUdp: () => Promise.reject(new Error('nothing is bound')),
  };
  return { io, taken };
}

/** A link whose far side is this program: it remembers the handler and throws away what is sent. */
function nullLink() {
  const bytes = new Uint8Array(256 * 1024);
  let used = 0;
  return {
    kind: 'memory',
    name: 'bench',
    handler: undefined,
    output: {
      bytes,
      view: new DataView(bytes.buffer),
      offloads: { tsoMax: 0 },
      blocked: false,
      begin: (length) => {
        if (used + length > bytes.length) used = 0;
        const at = used;
        used += length;
        return at;
      },
      payload: () => undefined,
      end: () => undefined,
      flush: () => {
        used = 0;
      },
    },
    start(handler) {
      this.handler = handler;
    },
    close: () => undefined,
  };
}

/** An Ethernet frame with a UDP datagram of the guest. */
function udpFrame(view, at, size, sourcePort, core) {
  const length = 14 + 28 + size;
  view.setUint16(at, 0x5a94);
  view.setUint32(at + 2, 0xefe40cdd);
  view.setUint16(at + 6, 0x5254);
  view.setUint32(at + 8, 0x00123456);
  view.setUint16(at + 12, 0x0800);
  view.setUint32(at + 14, 0x45000000 | (28 + size));
  view.setUint32(at + 18, 0x00004000);
  view.setUint32(at + 22, 0x40110000);
  view.setUint32(at + 26, 0xc0a87f02);
  view.setUint32(at + 30, 0xc6336401);
  view.setUint16(at + 24, core.checksum(new Uint8Array(view.buffer), at + 14, 20));
  view.setUint32(at + 34, (sourcePort << 16) | 9);
  view.setUint32(at + 38, (8 + size) << 16);
  return length;
}

const DEPS = { native: false, isOwnAddress: () => false };

async function frames(modules, options, size) {
  const { core, library } = modules;
  const { io, taken } = nullHost();
  const network = library.createNetwork({ subnet: '192.168.127.0/24' }, { ...DEPS, io });
  await network.start();
  const link = nullLink();
  network.attach(link);
  const pool = new core.BlockPool(core.plainMemory);
  const block = pool.take();
  const batch = new core.FrameBatch(block, 64);
  for (let i = 0, at = 0; i < 64; i++, at += 2048)
    batch.add(at, udpFrame(block.region.view, at, size, 40_000 + (i % 8), core));
  const feed = (n) => {
    for (let i = 0; i < n; i += 64) link.handler.frames(batch);
  };
  feed(640);
  if (taken.datagrams < 640) throw new Error(`only ${taken.datagrams} of 640 datagrams came out`);
  const result = time(`UDP frame of ${size} B, link to host socket`, feed, { ...options, bytes: size });
  await network.stop(0);
  return result;
}

/** TCP through two whole stacks: a scripted guest, and the network with its forwarder. */
async function stream(modules, seconds, way) {
  const { library, testing, link } = modules;
  const { io, taken } = nullHost();
  const network = library.createNetwork({ subnet: '192.168.127.0/24' }, { ...DEPS, io });
  await network.start();
  const scheduler = testing.realScheduler;
  const [ours, theirs] = link.memoryLinkPair(new modules.core.BlockPool(modules.core.plainMemory));
  network.attach(ours);
  const guest = new testing.ScriptedGuest(theirs, {
    scheduler,
    random: testing.systemRandom(),
    name: 'bench',
    mac: '52:54:00:12:34:56',
  });
  guest.configure({ ip: '192.168.127.2', gateway: '192.168.127.1' });
  const socket = await guest.connect('198.51.100.1', way === 'up' ? 9000 : 9001);
  const chunk = Buffer.alloc(256 * 1024);
  const push = () => {
    while (!socket.destroyed && socket.write(chunk)) continue;
  };
  if (way === 'up') {
    socket.on('drain', push);
    push();
  } else socket.on('data', () => undefined);
  const moved = () => (way === 'up' ? taken.bytes : socket.bytesRead);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const from = moved();
  const cpu = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const { user, system } = process.cpuUsage(cpu);
  const bytes = moved() - from;
  socket.destroy();
  guest.close();
  await network.stop(0);
  if (bytes === 0) throw new Error('the stream moves nothing');
  const packets = bytes / 1460;
  return {
    name: `two stacks in one process, MTU 1500, ${way}`,
    ns: ((user + system) * 1000) / packets,
    gbps: (bytes * 8) / ((user + system) * 1000),
  };
}

export async function networks(modules, options) {
  return [
    await frames(modules, options, 64),
    await frames(modules, options, 1400),
    await stream(modules, options.seconds * 2, 'up'),
    await stream(modules, options.seconds * 2, 'down'),
  ];
}
