/** The lines that netproxy is to reach, as ratios within one run. */
import { finder } from './results.mjs';

const RIVALS = ['pasta', 'passt', 'slirp4netns'];
const TAP = 'netproxy-tap';
const STREAM = 'netproxy-stream';
const SHAPES = ['up_1', 'up_8', 'down_1', 'down_8'];

/** `up_8`: `up, 8 flows`. */
const naming = (shape) => shape.replace('_', ', ').replace(/1$/, '1 flow').replace(/8$/, '8 flows');

/**
 * @typedef {object} Goal
 * @property {string} what
 * @property {number | undefined} got undefined: not measured in this run
 * @property {number} want
 * @property {boolean} atMost
 * @property {boolean | undefined} met
 * @property {string} [than] the peer that the ratio is to
 */

/** @returns {Goal[]} */
export function goals(summary) {
  const at = finder(summary);
  /** @type {Omit<Goal, 'met'>[]} */
  const list = [];
  const add = (what, got, want, { atMost = false, than = '' } = {}) =>
    list.push({ what, got, want, atMost, than });
  const ratio = (a, b) =>
    a === undefined || b === undefined ? undefined : b === 0 ? (a === 0 ? 1 : Infinity) : a / b;
  /** The best of some peers at a metric. */
  const best = (metric, mtu, peers) =>
    peers
      .map((peer) => ({ peer, value: at(metric, mtu, peer) }))
      .filter(({ value }) => value !== undefined)
      .sort((a, b) => b.value - a.value)[0];
  const ahead = (what, metric, mtu, ours, peers, want) => {
    const first = best(metric, mtu, peers);
    add(what, ratio(at(metric, mtu, ours), first?.value), want, { than: first?.peer ?? peers.join('/') });
  };

  for (const shape of SHAPES) {
    const metric = `tcp_${shape}`;
    const label = naming(shape);
    ahead(`1  TAP 1500, ${label}`, metric, 1500, TAP, RIVALS, shape.startsWith('up') ? 6 : 4);
    ahead(`1  TAP 1500, ${label}`, metric, 1500, TAP, ['relay-offload'], 0.6);
  }
  for (const shape of SHAPES) {
    const metric = `tcp_${shape}`;
    const label = naming(shape);
    ahead(`2  TAP 65520, ${label}`, metric, 65520, TAP, RIVALS, shape.startsWith('up') ? 1 : 0.8);
    const per = (peer) => at(metric, 65520, peer, 'gbitPerCpu');
    add(`2  TAP 65520, ${label}, Gbit per CPU-second`, ratio(per(TAP), per('slirp4netns')), 1, {
      than: 'slirp4netns',
    });
  }
  for (const mtu of [1500, 65520]) {
    for (const shape of SHAPES) {
      const label = naming(shape);
      ahead(
        `3  stream ${mtu}, ${label}`,
        `tcp_${shape}`,
        mtu,
        STREAM,
        ['slirp4netns', 'libslirp'],
        mtu === 1500 ? 1.5 : 1,
      );
    }
  }
  const less = { atMost: true };
  add('4  round trip p50', ratio(at('rr', 1500, TAP), at('rr', 1500, 'pasta')), 1.3, {
    ...less,
    than: 'pasta',
  });
  add('4  p99 beside 1 Gbit/s', ratio(at('rr_beside_1g', 1500, TAP, 'p99'), at('rr', 1500, TAP, 'p99')), 3, {
    ...less,
    than: 'idle',
  });
  add('4  p50 beside an unpaced upload, µs', at('rr_beside_bulk', 1500, TAP), 2000, less);
  ahead('4  connections, 64 at once', 'crr_64', 1500, TAP, ['pasta'], 1);
  for (const way of ['up', 'down']) {
    const [ours, theirs] = [TAP, 'pasta'].map((peer) => at(`udp_${way}_1400_paced`, 1500, peer, 'loss'));
    const above = ours === undefined || theirs === undefined ? undefined : Math.max(0, ours - theirs) * 100;
    // Of 20,000 datagrams a few may be left in a buffer when the count ends.
    add(`4  UDP ${way} 1400 B at 20,000/s, loss above pasta's, %`, above, 0.05, less);
  }
  ahead('4  a body of 100 MiB through the HTTP proxy', 'http_get', 1500, TAP, ['squid'], 1);
  add('4  the same through CONNECT', ratio(at('http_connect', 1500, TAP), at('http_plain', 1500, TAP)), 0.9, {
    than: 'without a proxy',
  });
  add('5  RSS idle, MiB', at('rss_idle', 1500, TAP), 90, less);
  add('5  RSS per flow at 1,000, KiB', at('rss_flow_1000', 1500, TAP), 40, less);
  add('5  heap and buffers per idle flow at 10,000, KiB', at('idle_flow_10000', 1500, TAP), 4, less);
  add('5  start to first offer, ms', at('start', 1500, TAP), 400, less);
  for (const way of ['up', 'down']) {
    add(`6  heap bytes per 1,000 frames, ${way}`, at(`alloc_${way}`, 1500, TAP), 1024, less);
    add(`6  longest collection, ${way}, ms`, at(`health_${way}`, 1500, TAP, 'gcMax'), 10, less);
    add(`6  longest turn, ${way}, ms of CPU`, at(`health_${way}`, 1500, TAP), 5, less);
    add(`7  fairness of 1,000 flows ${way}, Jain`, at(`fair_${way}`, 1500, TAP), 0.9);
  }
  add('7  descriptors left by 100,000 flows', at('churn', 1500, TAP), 2, less);
  for (const way of ['up_1', 'down_1']) {
    ahead(
      `8  without the addon, 65520, ${naming(way)}`,
      `tcp_${way}`,
      65520,
      'netproxy-noaddon',
      [STREAM],
      0.5,
    );
  }
  return list.map((goal) => ({
    ...goal,
    met: goal.got === undefined ? undefined : goal.atMost ? goal.got <= goal.want : goal.got >= goal.want,
  }));
}
