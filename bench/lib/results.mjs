/** What was measured, and its medians. */

export function median(values) {
  const sorted = values
    .filter((value) => typeof value === 'number' && Number.isFinite(value))
    .sort((a, b) => a - b);
  if (sorted.length === 0) return undefined;
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const rounded = (value) => (value === undefined ? undefined : Number(value.toPrecision(4)));

/** Samples by metric, MTU and peer. */
export class Results {
  constructor() {
    this.rows = new Map();
  }

  row(metric, mtu) {
    const key = `${metric.id}@${mtu}`;
    if (!this.rows.has(key))
      this.rows.set(key, {
        metric: metric.id,
        mtu,
        unit: metric.unit,
        less: metric.less ?? false,
        peers: {},
      });
    return this.rows.get(key);
  }

  add(metric, mtu, peer, sample) {
    (this.row(metric, mtu).peers[peer] ??= []).push(sample);
  }

  /** Medians of every row, ready for JSON. */
  summary() {
    return [...this.rows.values()].map(({ peers, ...row }) => ({
      ...row,
      peers: Object.fromEntries(Object.entries(peers).map(([name, samples]) => [name, summarize(samples)])),
    }));
  }
}

/** Median, spread and the medians of everything else that the samples hold. */
function summarize(samples) {
  const good = samples.filter((sample) => sample.error === undefined);
  const errors = samples.filter((sample) => sample.error !== undefined);
  const values = good.map((sample) => sample.value);
  const summary = { n: good.length };
  if (good.length > 0) {
    Object.assign(summary, {
      value: rounded(median(values)),
      min: rounded(Math.min(...values)),
      max: rounded(Math.max(...values)),
    });
    for (const key of new Set(good.flatMap((sample) => Object.keys(sample)))) {
      if (key in summary) continue;
      const middle = rounded(median(good.map((sample) => sample[key])));
      if (middle !== undefined) summary[key] = middle;
    }
    const efficiency = good
      .filter(({ gbit, cpu }) => gbit > 0 && cpu >= 0.05)
      .map(({ gbit, cpu }) => gbit / cpu);
    if (efficiency.length > 0) summary.gbitPerCpu = rounded(median(efficiency));
  }
  if (errors.length > 0) Object.assign(summary, { failed: errors.length, error: errors[0].error });
  return summary;
}

/** Looks medians up: `find('tcp_up_1', 1500, 'pasta')`, or another number of the same samples by its name. */
export function finder(summary) {
  return (metric, mtu, peer, key = 'value') =>
    summary.find((row) => row.metric === metric && row.mtu === mtu)?.peers[peer]?.[key];
}
