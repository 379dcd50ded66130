/**
 * What a result looks like in the documentation, from bench/baseline.json (or another result of --json): docs/bench.svg,
 * TCP throughput of netproxy and its rivals, and the tables in docs/performance.md between its two markers.
 *
 *   npm run bench -- chart [RESULT.json]
 *
 * The chart is plain SVG text that follows the reader's light or dark theme. Bars are scaled within a panel to its longest.
 */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { finder } from './lib/results.mjs';
import { goalTable, noise, short, tables } from './lib/table.mjs';
import { BENCH, ROOT } from './lib/tools.mjs';
import { microTable } from './micro.mjs';

const PANELS = [
  ['One flow up, MTU 1500', 'tcp_up_1', 1500],
  ['One flow down, MTU 1500', 'tcp_down_1', 1500],
  ['8 flows up, MTU 1500', 'tcp_up_8', 1500],
  ['8 flows down, MTU 1500', 'tcp_down_8', 1500],
  ['One flow up, MTU 65520', 'tcp_up_1', 65520],
  ['One flow down, MTU 65520', 'tcp_down_1', 65520],
];
const PEERS = ['netproxy-tap', 'netproxy-stream', 'pasta', 'passt', 'slirp4netns', 'libslirp'];
const NAMES = { 'netproxy-tap': 'netproxy, TAP', 'netproxy-stream': 'netproxy, QEMU stream' };

const WIDTH = 860;
const COLUMN = WIDTH / 2;
const LABEL = 142;
const BAR = 15;
const STEP = 20;
const TOP = 62;
const PANEL = PEERS.length * STEP + 46;
/** Room behind a bar for its number. */
const NUMBER = 62;

const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #24292f; }
  .title { font-size: 15px; font-weight: 600; }
  .panel { font-weight: 600; }
  .dim { fill: #57606a; }
  .ours { fill: #1a7f8c; }
  .rival { fill: #afb8c1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .dim { fill: #8d96a0; }
    .ours { fill: #3fb6c4; }
    .rival { fill: #57606a; }
  }`;

const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const text = (x, y, content, kind = '', anchor = 'start') =>
  `<text x="${x}" y="${y}" class="${kind}" text-anchor="${anchor}">${escape(content)}</text>`;

function panel([title, metric, mtu], left, top, at) {
  const rows = PEERS.map((peer) => ({
    peer,
    value: at(metric, mtu, peer),
    cpu: at(metric, mtu, peer, 'gbitPerCpu'),
  })).filter(({ value }) => value !== undefined);
  const longest = Math.max(...rows.map(({ value }) => value), 1e-9);
  const room = COLUMN - LABEL - NUMBER - 20;
  const parts = [text(left, top, title, 'panel')];
  rows.forEach(({ peer, value }, i) => {
    const y = top + 12 + i * STEP;
    const width = Math.max(1, Math.round((value / longest) * room));
    parts.push(text(left + LABEL - 8, y + 12, NAMES[peer] ?? peer, '', 'end'));
    parts.push(
      `<rect x="${left + LABEL}" y="${y}" width="${width}" height="${BAR}" rx="2" class="${peer.startsWith('netproxy') ? 'ours' : 'rival'}"/>`,
    );
    parts.push(text(left + LABEL + width + 6, y + 12, short(value), 'dim'));
  });
  return parts.join('\n');
}

/** The chart of a result as SVG text. */
export function chart({ machine, results }) {
  const at = finder(results);
  const panels = PANELS.filter(([, metric, mtu]) => at(metric, mtu, 'netproxy-tap') !== undefined);
  const height = TOP + Math.ceil(panels.length / 2) * PANEL;
  const body = panels.map((entry, i) =>
    panel(entry, 16 + (i % 2) * COLUMN, TOP + 10 + Math.floor(i / 2) * PANEL, at),
  );
  const under = `Gbit/s between a Linux guest and its host, medians of one interleaved run; ${machine.cpu}, ${machine.date}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="TCP throughput of netproxy beside other user-space networks">
<style>${STYLE}
</style>
${text(16, 24, 'TCP throughput through netproxy and others', 'title')}
${text(16, 43, under, 'dim')}
${body.join('\n')}
</svg>
`;
}

const [BEGIN, END] = ['<!-- results: npm run bench -- chart -->', '<!-- end of results -->'];

/** The tables of a result as Markdown. */
export function report({ machine, options, peers, versions, results, goals, micro }) {
  const named = Object.entries(versions).map(([peer, version]) => `${peer} ${version}`);
  return [
    `${machine.date}, netproxy ${machine.netproxy}: ${machine.cpu}${machine.virtual ? ' (virtual)' : ''}, ${machine.memory}, ${machine.system}, Linux ${machine.kernel}, Node ${machine.node}; ` +
      `medians of ${options.reps}, ${options.secs} s each; load average before the run ${machine.loadBefore}. Rivals: ${named.join('; ')}. ${noise(results)}`,
    tables(results, peers),
    goalTable(goals),
    ...(micro === undefined ? [] : [`### Parts, without a kernel\n\n${microTable(micro)}`]),
  ].join('\n\n');
}

function rewrite(file, content) {
  const text = fs.readFileSync(file, 'utf8');
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`${file} has no markers ${BEGIN} … ${END}`);
  fs.writeFileSync(file, `${text.slice(0, from + BEGIN.length)}\n\n${content}\n\n${text.slice(to)}`);
}

if (process.argv[1] !== undefined && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const result = JSON.parse(fs.readFileSync(process.argv[2] ?? path.join(BENCH, 'baseline.json'), 'utf8'));
  fs.writeFileSync(path.join(ROOT, 'docs', 'bench.svg'), chart(result));
  rewrite(path.join(ROOT, 'docs', 'performance.md'), report(result));
  console.log('docs/bench.svg and docs/performance.md written');
}
