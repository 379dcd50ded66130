/** The parts of the data path, one at a time: checksum, flow table, timers. */
import { time } from './timing.mjs';

/** What a loop computed, so that nothing is optimised away; a typed array, because numbers elsewhere would be allocated. */
const sink = new Float64Array(1);

function checksums({ core }, options) {
  return [64, 1460, 65_480].map((size) => {
    const view = new DataView(new Uint8Array(size + 16).fill(0xa5).buffer);
    const work = (n) => {
      for (let i = 0; i < n; i++) sink[0] += core.sumView(view, i & 7, size, 0);
    };
    return time(`checksum of ${size} B`, work, { ...options, bytes: size });
  });
}

function lookups({ stack }, options) {
  return [100, 100_000].map((flows) => {
    const table = new stack.FlowTable([0x12345678, 0x9abcdef0]);
    const port = (i) => ((1024 + (i % 60_000)) << 16) | 443;
    const remote = (i) => 0x0a000000 + Math.floor(i / 60_000);
    for (let i = 0; i < flows; i++) table.set(6, 0xc0a87f02, remote(i), port(i), { i });
    const work = (n) => {
      // A step that visits all, far apart.
      for (let k = 0, i = 0; k < n; k++, i = (i + 7919) % flows)
        sink[0] += table.find(6, 0xc0a87f02, remote(i), port(i)).i;
    };
    return time(`flow lookup among ${flows.toLocaleString('en')}`, work, options);
  });
}

function timers({ core }, options) {
  const all = new core.Timers();
  const list = Array.from({ length: 10_000 }, () => new core.Timer(() => sink[0]++));
  list.forEach((timer, i) => all.set(timer, 1000 + i));
  let laps = 0;
  const move = (n) => {
    laps++;
    for (let i = 0; i < n; i++) all.set(list[i % list.length], 20_000 * laps + (i & 0xffff));
  };
  let now = 1000;
  const other = new core.Timers();
  const lap = list.map(() => new core.Timer(() => sink[0]++));
  const fire = (n) => {
    for (let i = 0; i < n; i++) {
      other.set(lap[i % lap.length], now + ((i * 7919) % 997));
      if (i % 1000 === 999) other.run((now += 1000));
    }
  };
  return [time('timer moved later (10,000 set)', move, options), time('timer set and fired', fire, options)];
}

export const parts = (modules, options) => [
  ...checksums(modules, options),
  ...lookups(modules, options),
  ...timers(modules, options),
];
