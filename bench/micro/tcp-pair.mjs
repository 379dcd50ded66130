/** Two TCP connections, each the other's wire: segments become bytes in a block and are parsed again, as from a link. */
import { time } from './timing.mjs';

const ROOM = 70_000;

class End {
  constructor({ core, tcp }, pool, settings) {
    this.tcp = tcp;
    this.pool = pool;
    this.block = pool.take();
    this.used = 0;
    this.inbox = new Int32Array(8192);
    this.waiting = 0;
    this.segments = 0;
    this.segment = {
      block: this.block,
      header: 0,
      data: 0,
      length: 0,
      seq: 0,
      ack: 0,
      flags: 0,
      window: 0,
      ecn: 0,
    };
    this.connection = new tcp.TcpConnection(this, {
      memory: core.plainMemory,
      pool,
      iss: core.seq(1000),
      ...settings,
    });
  }

  transmit(_connection, out) {
    const { peer } = this;
    const header = 20 + out.optionsLength;
    const length = header + out.payloadLength;
    if (peer.block.region.bytes.length - peer.used < ROOM) peer.fresh();
    const { bytes, view } = peer.block.region;
    const at = peer.used;
    view.setUint32(at + 4, out.seq);
    view.setUint32(at + 8, out.ack);
    view.setUint8(at + 12, (header / 4) << 4);
    view.setUint8(at + 13, out.flags);
    view.setUint16(at + 14, out.window);
    for (let i = 0; i < out.optionsLength; i++) bytes[at + 20 + i] = out.options[i];
    // The payload is not copied: nobody looks at it, and copying is what the kernel does on a real link.
    peer.used += (length + 15) & ~15;
    peer.inbox[peer.waiting++] = peer.number;
    peer.inbox[peer.waiting++] = at;
    peer.inbox[peer.waiting++] = length;
    this.segments++;
  }

  /** Blocks of segments that wait: `number` says which of `blocks`. */
  fresh() {
    this.blocks.push((this.block = this.pool.take()));
    this.number = this.blocks.length - 1;
    this.used = 0;
  }

  join(peer) {
    this.peer = peer;
    this.blocks = [this.block];
    this.number = 0;
  }

  /** Takes what waits, answers, lets go of the blocks. */
  turn(now) {
    const { connection, segment, tcp } = this;
    const count = this.waiting;
    const { blocks } = this;
    const list = this.inbox;
    for (let i = 0; i < count; i += 3) {
      if (!tcp.readSegment(segment, blocks[list[i]], list[i + 1], list[i + 2], 0))
        throw new Error('bad segment');
      if (connection.state === 'CLOSED') {
        connection.listen(segment, now);
        connection.accept(now);
      } else connection.input(segment, now);
    }
    this.waiting = 0;
    for (const block of blocks) block.release();
    blocks.length = 0;
    this.fresh();
    const got = connection.received.bytes;
    connection.received.consume(got);
    connection.consumed(got, now);
    this.got += got;
    if (this.endless && connection.ring.room > 0) {
      connection.ring.reserve(connection.ring.room);
      connection.ring.wrote(connection.ring.writeRoom);
      connection.wrote(now);
    }
    connection.output(now, 1 << 20);
  }

  got = 0;
  endless = false;
  established() {}
  received() {}
  receivedFin() {}
  acknowledged() {}
  closed(_connection, why) {
    throw new Error(`the connection ended: ${why}`);
  }
  schedule(_connection, at) {
    this.timer = at;
  }
}

function pair(modules, mss, gsoMax) {
  const pool = new modules.core.BlockPool(modules.core.plainMemory, 2 << 20, 64);
  const [a, b] = [0, 1].map(() => new End(modules, pool, { mss, gsoMax }));
  a.join(b);
  b.join(a);
  a.endless = true;
  let now = 0;
  a.connection.connect(now);
  const step = () => {
    now += 0.05;
    b.turn(now);
    a.turn(now);
    if (a.timer <= now) a.connection.onTimer(now);
    if (b.timer <= now) b.connection.onTimer(now);
  };
  for (let i = 0; i < 2000; i++) step();
  if (b.got < 1e6) throw new Error(`the pair moves nothing: ${b.got} bytes`);
  return { a, b, step };
}

/** Nanoseconds for one segment or super-segment with its acknowledgments. */
export function tcpPair(modules, options) {
  return [
    ['MSS 1460', 1460, 0],
    ['MSS 65480', 65_480, 0],
    ['super-segments of 64 KiB', 1460, 65_000],
  ].map(([label, mss, gsoMax]) => {
    const { a, b, step } = pair(modules, mss, gsoMax);
    let bytes = 0;
    let segments = 0;
    const work = (n) => {
      const [from, end] = [b.got, a.segments + n];
      const first = a.segments;
      while (a.segments < end) step();
      bytes += b.got - from;
      segments += a.segments - first;
    };
    const result = time(`TCP in memory, ${label}`, work, options);
    return { ...result, gbps: ((bytes / segments) * 8) / result.ns };
  });
}
