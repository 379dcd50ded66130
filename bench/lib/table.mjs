/** Results as text: Markdown tables, which terminals show well enough. */

/** 3 significant digits, no exponents. */
export function short(value) {
  if (value === undefined) return '';
  if (value === Infinity) return '∞';
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString('en');
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  if (size >= 1 || size === 0) return value.toFixed(2).replace(/\.?0+$/, '');
  return value.toPrecision(2);
}

/** Rows of cells as a table with aligned columns. */
export function markdown(head, rows) {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(3, ...all.map((row) => [...String(row[i] ?? '')].length)));
  const line = (row) =>
    `| ${widths.map((width, i) => pad(String(row[i] ?? ''), width, i > 0)).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

function pad(text, width, right) {
  const space = ' '.repeat(Math.max(0, width - [...text].length));
  return right ? space + text : text + space;
}

/** Names of metrics where the identifier would not be understood. */
const TITLES = {
  tcp_up_1: 'up',
  tcp_up_8: 'up, 8 flows',
  tcp_down_1: 'down',
  tcp_down_8: 'down, 8 flows',
  tcp_in_1: 'inbound',
  rr: 'idle',
  rr_beside_1g: 'beside 1 Gbit/s up',
  rr_beside_bulk: 'beside an upload',
  crr_16: '16 at once',
  crr_64: '64 at once',
};

/** What stands in brackets behind a rate. */
function perCpu(sample, loss) {
  const parts = [];
  if (sample.perCpu !== undefined) parts.push(short(sample.perCpu));
  if (loss > 0) parts.push(`${short(loss * 100)} %`);
  return parts.length === 0 ? '' : ` (${parts.join('; ')})`;
}

const SECTIONS = [
  [
    'TCP, Gbit/s (Gbit per CPU-second of the peer)',
    /^tcp_/,
    (s) => `${short(s.value)}${s.gbitPerCpu === undefined ? '' : ` (${short(s.gbitPerCpu)})`}`,
  ],
  [
    '1-byte round trip, µs, p50 / p99',
    /^rr/,
    (s) => `${short(s.value)} / ${short(s.p99)}${s.load === undefined ? '' : ` at ${short(s.load)} Gbit/s`}`,
  ],
  [
    'Connections a second (per CPU-second of the peer)',
    /^crr_/,
    (s) => `${short(s.value)}${perCpu(s)}${s.failed ? `, ${short(s.failed)} failed` : ''}`,
  ],
  [
    'UDP, thousand datagrams a second received (per CPU-second; loss); paced: offered 20,000/s',
    /^udp_/,
    (s) => `${short(s.value)}${perCpu(s, s.loss)}`,
  ],
  [
    'DNS, thousand queries a second (per CPU-second; unanswered), p99 in ms beside that load',
    /^dns/,
    (s) => `${short(s.value)}${perCpu(s, s.loss)}, ${short(s.p99)}`,
  ],
  ['Memory (resident): MiB idle, KiB for each open flow', /^rss_/, (s) => short(s.value)],
  ['Start to the first DHCP offer, ms', /^start$/, (s) => short(s.value)],
  ['Fairness: Jain index of 1,000 flows', /^fair_/, (s) => `${short(s.value)} at ${short(s.rate)} Gbit/s`],
  [
    'Left behind by 100,000 short flows: descriptors, MiB',
    /^churn$/,
    (s) => `${short(s.value)}, ${short(s.memory)} at ${short(s.rate)}/s`,
  ],
  [
    'Under full load of 8 flows: longest turn, its p99, longest collection, ms',
    /^health_/,
    (s) => `${short(s.value)}, ${short(s.turnP99)}, ${short(s.gcMax)}`,
  ],
  ['Heap and buffers of an open, idle flow, KiB', /^idle_flow_/, (s) => short(s.value)],
  ['JavaScript heap allocated per 1,000 frames, bytes', /^alloc_/, (s) => short(s.value)],
];

/** All tables: one for each kind of metric and MTU, peers as rows. */
export function tables(summary, peers) {
  const parts = [];
  for (const [title, pattern, cell] of SECTIONS) {
    const rows = summary.filter((row) => pattern.test(row.metric));
    for (const mtu of new Set(rows.map((row) => row.mtu))) {
      const columns = rows.filter((row) => row.mtu === mtu);
      const present = peers.filter((peer) => columns.some((row) => row.peers[peer] !== undefined));
      const body = present.map((peer) => [
        peer,
        ...columns.map((row) => {
          const found = row.peers[peer];
          if (found === undefined) return '';
          if (found.value === undefined) return 'failed';
          return cell(found) + (found.n > 1 && found.value > 0 ? spread(found) : '');
        }),
      ]);
      const several = title.startsWith('TCP') ? `${title}, MTU ${mtu}` : title;
      parts.push(
        `### ${several}\n\n${markdown(['', ...columns.map((row) => TITLES[row.metric] ?? row.metric)], body)}`,
      );
    }
  }
  return parts.join('\n\n');
}

/** Half of what lies between the least and the greatest, in per cent of the median; only where it says something. */
function spread({ value, min, max }) {
  const percent = Math.round(((max - min) / 2 / value) * 100);
  return percent >= 10 ? ` ±${percent}%` : '';
}

/** Goals with what was reached; those that were not measured are counted only. */
export function goalTable(goals) {
  const measured = goals.filter((goal) => goal.met !== undefined);
  const rows = measured.map(({ what, got, want, atMost, than, met }) => [
    what,
    `${short(got)}${than === '' ? '' : ` x ${than}`}`,
    `${atMost ? '≤' : '≥'} ${short(want)}`,
    met ? 'met' : 'NOT met',
  ]);
  const left = goals.length - measured.length;
  const count = measured.filter((goal) => goal.met).length;
  const sum = `${count} of ${measured.length} met${left > 0 ? `, ${left} not measured in this run` : ''}`;
  return `### Goals\n\n${markdown(['goal', 'got', 'wanted', ''], rows)}\n\n${sum}`;
}

/** How much other processes disturbed, in a sentence. */
export function noise(summary) {
  const all = summary
    .flatMap((row) => Object.values(row.peers).map((sample) => sample.others))
    .filter((value) => value !== undefined);
  if (all.length === 0) return '';
  const sorted = all.sort((a, b) => a - b);
  const [middle, high] = [0.5, 0.9].map((fraction) => sorted[Math.floor((sorted.length - 1) * fraction)]);
  return `Other processes used ${short(middle)} CPUs meanwhile (median; nine in ten measurements below ${short(high)})${middle > 0.1 ? ': the figures are disturbed' : ''}.`;
}

/** What failed, by peer and metric. */
export function failures(summary) {
  return summary.flatMap((row) =>
    Object.entries(row.peers)
      .filter(([, found]) => found.error !== undefined)
      .map(([peer, found]) => `- ${peer}, ${row.metric} at MTU ${row.mtu}: ${found.error}`),
  );
}
