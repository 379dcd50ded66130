/**
 * One TCP flow through stack and forwarder in memory, in a steady state: a guest that sends or acknowledges frames as fast as
 * it is served, a host that takes and gives whatever fits. It allocates nothing itself, so that what is allocated is the
 * data path's. The modules come from outside: dist/ in the bench, the sources in the unit test.
 */
const ETH = 14;
const IP = 20;
const TCP = 20;
const TIMESTAMPS = 12;
const HEADERS = ETH + IP + TCP + TIMESTAMPS;
/** Shift count of our window of 1 MiB. */
const SCALE = 5;
const SYN = 2;
const ACK = 16;

const GUEST_MAC = [0x52, 0x54, 0xf0, 0xe1, 0xd2, 0xc3];
const GATEWAY_MAC = '5a:94:ef:e4:0c:dd';
const GATEWAY_BYTES = GATEWAY_MAC.split(':').map((byte) => parseInt(byte, 16));
const GUEST_IP = 0xc0a87f02;
const SERVER_IP = 0xc6336401;

/** Takes frames and remembers what the guest needs of the last ones. */
class Sink {
  constructor(core, tsoMax) {
    const { bytes, view } = core.plainMemory.allocate(512 * 1024);
    this.bytes = bytes;
    this.view = view;
    this.offloads = { tsoMax };
    this.blocked = false;
    this.at = 0;
    this.length = 0;
    this.frames = 0;
    /** Sequence number behind the newest text, the acknowledgment, the window, TSval; signed. */
    this.end = 0;
    this.ack = 0;
    this.tsval = 0;
    this.flags = 0;
    this.window = 0;
  }

  begin(length) {
    if (this.at + length > 256 * 1024) this.at = 0;
    this.head = this.at;
    this.headLength = length;
    this.length = 0;
    this.at += length;
    return this.head;
  }

  payload(_region, _offset, length) {
    this.length += length;
  }

  end_(view, tcp) {
    this.flags = view.getUint8(tcp + 13);
    const end = (view.getInt32(tcp + 4) + this.length + (this.flags & SYN ? 1 : 0)) | 0;
    if (((end - this.end) | 0) > 0 || this.flags & SYN) this.end = end;
    this.ack = view.getInt32(tcp + 8);
    this.window = view.getUint16(tcp + 14);
    if (this.headLength >= HEADERS) this.tsval = view.getInt32(tcp + 24);
  }

  flush() {
    this.at = 0;
  }
}

/** The method that FrameOutput calls `end`; a field of that name is in use above. */
class Output {
  constructor(sink) {
    this.sink = sink;
    this.bytes = sink.bytes;
    this.view = sink.view;
    this.offloads = sink.offloads;
    this.blocked = false;
  }

  begin(length) {
    return this.sink.begin(length);
  }

  payload(region, offset, length) {
    this.sink.payload(region, offset, length);
  }

  end() {
    const { sink } = this;
    sink.frames++;
    if (sink.headLength >= ETH + IP + TCP && sink.bytes[sink.head + ETH + 9] === 6)
      sink.end_(sink.view, sink.head + ETH + IP);
  }

  flush() {
    this.sink.flush();
  }
}

/** A host that is always ready. */
class Stream {
  constructor(handler, gives) {
    this.handler = handler;
    this.gives = gives;
    this.taken = 0;
    this.given = 0;
  }

  send(queue) {
    const n = queue.bytes;
    queue.consume(n);
    this.taken += n;
    return n;
  }

  receive(ring) {
    if (!this.gives) return 0;
    ring.reserve(256 * 1024);
    const n = Math.min(ring.writeRoom, 256 * 1024);
    ring.wrote(n);
    this.given += n;
    return n;
  }

  shutdown() {}
  reset() {}
  close() {}
}

export class SteadyFlow {
  /**
   * @param {{ core: any, stack: any, forwarder: any }} modules
   * @param {{ down?: boolean, payload?: number, batch?: number, tsoMax?: number, checked?: boolean, sourcePort?: number }} options
   *   `down`: the host sends; `payload`: bytes per frame of the guest; `batch`: frames per batch; `checked`: checksums are
   *   the kernel's business
   */
  constructor({ core, stack, forwarder }, options = {}) {
    const {
      down = false,
      payload = 1448,
      batch = 32,
      tsoMax = 0,
      checked = true,
      sourcePort = 40000,
    } = options;
    this.core = core;
    this.down = down;
    this.payloadLength = payload;
    this.frames = batch;
    this.flags = checked ? core.RX_CHECKSUM_OK : 0;
    this.sourcePort = sourcePort;
    this.serverIp = SERVER_IP;
    this.time = 1000;
    this.deferred = new Array(16).fill(undefined);
    this.deferredCount = 0;
    this.tick = 0;
    const scheduler = {
      now: () => this.time,
      wall: () => 1.9e12 + this.time,
      after: () => () => undefined,
      defer: (callback) => {
        this.deferred[this.deferredCount++] = callback;
      },
    };
    let seed = 1;
    const random = { u32: () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) };
    const memory = core.plainMemory;
    this.pool = new core.BlockPool(memory);
    const upper = {
      tcp: (syn) => {
        this.outbound.syn(syn, {
          verdict: { kind: 'dial', ip: syn.destination, port: syn.destinationPort },
        });
      },
      udp: () => undefined,
      echo: () => undefined,
    };
    this.stack = new stack.Stack(
      {
        subnet: core.parseCidr('192.168.127.0/24'),
        gatewayIp: core.parseIpv4('192.168.127.1'),
        gatewayMac: GATEWAY_MAC,
        hostAlias: undefined,
        mtu: 1500,
      },
      { scheduler, random, memory, pool: this.pool, logger: core.silentLogger },
      upper,
    );
    const io = {
      dial: (_target, handler) => {
        this.stream = new Stream(handler, down);
        scheduler.defer(() => handler.connected());
        return this.stream;
      },
    };
    this.outbound = new forwarder.OutboundTcp(this.stack, io, core.silentLogger);
    this.sink = new Sink(core, tsoMax);
    this.port = this.stack.addPort(new Output(this.sink));
    this.seq = 1;
    const block = this.pool.take();
    this.batch = new core.FrameBatch(block, Math.max(batch, 64));
    this.open();
  }

  /** The handshake. */
  open() {
    this.batch.count = 0;
    this.compose(0, SYN, 0, 0);
    this.deliver();
    this.settle();
    if ((this.sink.flags & (SYN | ACK)) !== (SYN | ACK)) throw new Error('no SYN-ACK came');
    this.seq = 2;
    this.batch.count = 0;
    this.compose(0, ACK, this.sink.end, 0);
    this.deliver();
    this.settle();
    // The window of a SYN is not scaled.
    this.sink.window = 0xffff >> SCALE;
    if (this.stack.tcp.openFlows !== 1) throw new Error('the connection does not stand');
  }

  /** Opens `n` more connections from other ports and leaves them idle; the first one goes on. */
  openMore(n) {
    const { seq, sourcePort } = this;
    const { end } = this.sink;
    for (let i = 0; i < n; i++) {
      this.more = (this.more ?? 0) + 1;
      this.sourcePort = 1024 + (this.more % 30_000);
      this.serverIp = SERVER_IP + Math.floor(this.more / 30_000);
      this.seq = 1;
      this.batch.count = 0;
      this.compose(0, SYN, 0, 0);
      this.deliver();
      this.settle();
      this.seq = 2;
      this.batch.count = 0;
      this.compose(0, ACK, this.sink.end, 0);
      this.deliver();
      this.settle();
    }
    Object.assign(this, { seq, sourcePort, serverIp: SERVER_IP });
    this.sink.end = end;
  }

  /** One batch of the guest's, about a tenth of a millisecond later. */
  step() {
    this.tick = (this.tick + 1) % 10;
    if (this.tick === 0) this.time++;
    const { batch, sink } = this;
    batch.count = 0;
    let at = 0;
    if (this.down) {
      at = this.compose(at, ACK, sink.end, 0);
    } else {
      const edge = (sink.ack + (sink.window << SCALE)) | 0;
      for (let i = 0; i < this.frames; i++) {
        if (((edge - this.seq - this.payloadLength) | 0) < 0) break;
        at = this.compose(at, ACK, sink.end, this.payloadLength);
        this.seq = (this.seq + this.payloadLength) | 0;
      }
    }
    this.deliver();
    if (this.down) this.stream.handler.readable();
    this.settle();
  }

  deliver() {
    this.stack.input(this.port, this.batch);
  }

  settle() {
    for (let i = 0; i < this.deferredCount; i++) this.deferred[i]();
    this.deferredCount = 0;
  }

  /** Frames both ways so far. */
  get moved() {
    return this.port.counters.framesIn + this.port.counters.framesOut;
  }

  /** Writes a frame at `at` of the block; returns where the next may stand. */
  compose(at, flags, ack, payload) {
    const { view, bytes } = this.batch;
    const syn = (flags & SYN) !== 0;
    const options = syn ? 20 : TIMESTAMPS;
    const total = IP + TCP + options + payload;
    for (let i = 0; i < 6; i++) {
      bytes[at + i] = GATEWAY_BYTES[i];
      bytes[at + 6 + i] = GUEST_MAC[i];
    }
    view.setUint16(at + 12, 0x0800);
    const ip = at + ETH;
    view.setUint16(ip, 0x4500);
    view.setUint16(ip + 2, total);
    view.setUint32(ip + 4, 0x00004000);
    view.setUint16(ip + 8, 0x4006);
    view.setUint16(ip + 10, 0);
    view.setUint32(ip + 12, GUEST_IP);
    view.setUint32(ip + 16, this.serverIp);
    view.setUint16(ip + 10, this.core.finish(this.core.sumView(view, ip, IP, 0)));
    const tcp = ip + IP;
    view.setUint16(tcp, this.sourcePort);
    view.setUint16(tcp + 2, 443);
    view.setInt32(tcp + 4, this.seq);
    view.setInt32(tcp + 8, ack);
    view.setUint16(tcp + 12, (((TCP + options) / 4) << 12) | flags);
    view.setUint16(tcp + 14, 0xffff);
    view.setUint32(tcp + 16, 0);
    let next = tcp + TCP;
    if (syn) {
      // MSS 1460, SACK permitted, and the scale that makes the window 1 MiB.
      view.setUint32(next, 0x020405b4);
      view.setUint32(next + 4, 0x0101_0402);
      view.setUint32(next + 8, 0x0101080a);
      view.setUint32(next + 12, this.time);
      view.setUint32(next + 16, 0);
      view.setUint32(next + 4, 0x0103_0304);
      next += 8;
    } else {
      view.setUint32(next, 0x0101080a);
      view.setUint32(next + 4, this.time);
      view.setInt32(next + 8, this.sink.tsval);
    }
    if (this.flags === 0 || syn) this.fill(tcp, TCP + options + payload);
    const length = ETH + total;
    this.batch.add(at, length, syn ? 0 : this.flags, 0);
    return (at + length + 15) & ~15;
  }

  fill(tcp, length) {
    const { core, batch } = this;
    const sum = core.sumView(
      batch.view,
      tcp,
      length,
      core.pseudoSum(GUEST_IP | 0, this.serverIp | 0, 6, length),
    );
    batch.view.setUint16(tcp + 16, core.finish(sum));
  }
}

/**
 * Bytes of heap that a thousand frames cost, once the code is optimized. The heap is looked at every STRIDE frames, and what
 * it grew by is summed up, so that collections in between do no harm.
 */
export function heapPerThousand(flow, { warmup = 200_000, frames = 400_000 } = {}) {
  const STRIDE = 20_000;
  const run = (count) => {
    const until = flow.moved + count;
    while (flow.moved < until) flow.step();
  };
  const used = () => process.memoryUsage().heapUsed;
  for (let i = 0; i < warmup; i += STRIDE) {
    run(STRIDE);
    used();
  }
  // What looking costs, in the same manner.
  let looking = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) {
    const before = used();
    const grown = used() - before;
    if (grown >= 0 && grown < looking) looking = grown;
  }
  let grown = 0;
  let strides = 0;
  let last = used();
  for (let i = 0; i < frames; i += STRIDE) {
    run(STRIDE);
    const now = used();
    if (now > last) grown += Math.max(now - last - looking, 0);
    strides++;
    last = now;
  }
  return (grown / (strides * STRIDE)) * 1000;
}

/** Bytes of heap and buffers that each of `count` idle flows costs. `gc`: collects all garbage. */
export function bytesPerIdleFlow(flow, gc, count = 10_000) {
  const used = () => {
    gc();
    gc();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  // So that tables have their size.
  flow.openMore(100);
  const open = flow.stack.tcp.size;
  const before = used();
  flow.openMore(count);
  return (used() - before) / (flow.stack.tcp.size - open);
}
