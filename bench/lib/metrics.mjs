/**
 * What is measured. A metric runs on a lab that is up and returns `{ value, …more }`; it throws BenchError where the
 * peer could not do it. `gbit` and `cpu` in what it returns become Gbit per CPU-second.
 */
import fs from 'node:fs';
import { HTTP_METRICS } from './http.mjs';
import { BULK, ECHO, ECHO_PORTS, INBOUND, TARGET, UDP } from './lab.mjs';
import { BenchError, Child, descriptors, memoryKiB, sleep } from './tools.mjs';

/**
 * Connections are made for so long before they are counted, s: each runs through much code a few times only, and a compiler
 * that compiles what is hot needs thousands of them.
 */
const WARM_CONNECTIONS = 3;

const text = (...values) => values.map(String);

/** A pair of nettool's `bulk`, not started yet: who listens, who measures. */
function bulkPair(lab, way, flows, { secs, warm, mbit = 0 }) {
  const common = text(flows, secs, warm, mbit);
  const { nettool } = lab.tools;
  if (way === 'in') {
    const { inboundHost } = lab.peer;
    return {
      listen: () => lab.onGuest(nettool, 'bulk', 'listen', 'recv', '0.0.0.0', String(INBOUND), ...common),
      connect: () => lab.onHost(nettool, 'bulk', 'connect', 'send', inboundHost, String(INBOUND), ...common),
      receiver: 'listen',
    };
  }
  const roles = way === 'up' ? ['recv', 'send'] : ['send', 'recv'];
  return {
    listen: () => lab.onHost(nettool, 'bulk', 'listen', roles[0], '0.0.0.0', String(BULK), ...common),
    connect: () => lab.onGuest(nettool, 'bulk', 'connect', roles[1], TARGET, String(BULK), ...common),
    receiver: way === 'up' ? 'listen' : 'connect',
  };
}

/** Bulk data; CPU is taken over exactly the time in which bytes are counted. */
export async function bulk(lab, way, flows, options) {
  const pair = bulkPair(lab, way, flows, options);
  const listener = pair.listen();
  let connector;
  try {
    await listener.event('listening');
    connector = pair.connect();
    const receiver = pair.receiver === 'listen' ? listener : connector;
    const sender = pair.receiver === 'listen' ? connector : listener;
    // A sender that fails would leave the receiver waiting for its deadline.
    const trouble = sender.result(600).then(
      () => new Promise(() => {}),
      (error) => {
        if (!receiver.over) throw error;
        return new Promise(() => {});
      },
    );
    trouble.catch(() => {});
    await Promise.race([receiver.event('start', 30), trouble]);
    const before = lab.cpu();
    const framesBefore = lab.frames();
    options.during?.();
    const result = await receiver.result(options.secs + 10);
    const after = lab.cpu();
    return {
      value: result.gbps,
      gbit: (result.bytes * 8) / 1e9,
      secs: result.secs,
      cpu: after.peer - before.peer,
      shimCpu: after.shim - before.shim,
      frames: lab.frames() - framesBefore,
      jain: result.jain,
    };
  } finally {
    await Promise.all([listener.kill(), connector?.kill()]);
  }
}

async function tool(lab, seconds, ...argv) {
  const child = lab.onGuest(lab.tools.nettool, ...argv);
  try {
    return await child.result(seconds);
  } finally {
    await child.kill();
  }
}

/** CPU seconds of the peer, and how much it did with each. */
function spent(lab, before, done) {
  const cpu = lab.cpu().peer - before.peer;
  return { cpu, ...(cpu >= 0.05 ? { perCpu: done / cpu } : {}) };
}

/** A round trip beside an upload; its rate shows whether there was a load. */
async function loaded(lab, options, mbit) {
  const receive = bulkPair(lab, 'up', 1, { secs: options.secs, warm: 0.5, mbit });
  const listener = receive.listen();
  let sender;
  try {
    await listener.event('listening');
    sender = receive.connect();
    await listener.event('start', 30);
    const trips = await tool(
      lab,
      options.secs + 12,
      'rr',
      TARGET,
      String(ECHO),
      String(Math.max(0.3, options.secs - 0.2)),
    );
    const load = await listener.result(options.secs + 10);
    return { value: trips.p50, p99: trips.p99, max: trips.max, n: trips.n, load: load.gbps };
  } finally {
    await Promise.all([listener.kill(), sender?.kill()]);
  }
}

async function udp(lab, down, size, pps, secs) {
  const { nettool } = lab.tools;
  const ear = down
    ? () => lab.onGuest(nettool, 'upull', TARGET, ...text(UDP, secs + 0.8))
    : () => lab.onHost(nettool, 'usink', ...text(UDP, secs + 1));
  const mouth = down
    ? () => lab.onHost(nettool, 'usource', ...text(UDP, size, secs, pps))
    : () => lab.onGuest(nettool, 'usend', TARGET, ...text(UDP, size, secs, pps));
  const first = (down ? mouth : ear)();
  let second;
  try {
    await first.event('listening');
    const before = lab.cpu();
    second = (down ? ear : mouth)();
    const results = await Promise.all([first.result(secs + 15), second.result(secs + 15)]);
    const { sent, send_secs: took } = results.find((result) => result.sent !== undefined);
    const { got } = results.find((result) => result.got !== undefined);
    if (sent === 0) throw new BenchError('nothing was sent');
    // What a sender's own kernel refused was never sent; duplicates and hellos cannot make a negative loss.
    const loss = Math.max(0, 1 - got / sent);
    return { value: got / took / 1000, loss, offered: sent / took / 1000, ...spent(lab, before, got / 1000) };
  } finally {
    await Promise.all([first.kill(), second?.kill()]);
  }
}

/** No round asks for names of an earlier one. */
let dnsRound = 0;

/**
 * Names that are asked for once, so that nobody has their answers, or `cached`: a hundred, over and over. p99 in ms: of names
 * that are asked for beside that load, one every 5 ms.
 */
async function dns(lab, secs, cached) {
  const names = lab.file('names');
  if (lab.peer.dns === undefined) throw new BenchError('it has no DNS forwarder');
  dnsRound++;
  const count = cached ? 100 : Math.ceil(Math.max(1, secs) * 150_000);
  fs.writeFileSync(
    names,
    Array.from({ length: count }, (_, i) => `n${i}.r${dnsRound}.bench.test A\n`).join(''),
  );
  const before = lab.cpu();
  const child = lab.onGuest(
    'dnsperf',
    '-s',
    lab.peer.dns,
    '-p',
    String(lab.peer.dnsPort),
    '-d',
    names,
    '-l',
    String(Math.max(1, Math.round(secs))),
    '-c',
    '8',
    '-T',
    '1',
    '-q',
    '64',
    '-t',
    '1',
  );
  const asking = tool(
    lab,
    secs + 15,
    'ask',
    lab.peer.dns,
    ...text(Math.max(0.5, secs - 0.3), 5, `r${dnsRound}`, lab.peer.dnsPort),
  );
  await Promise.race([child.ended, sleep(secs * 1000 + 15_000)]);
  await child.kill();
  const latency = await asking;
  const number = (label) => Number(new RegExp(`${label}:\\s+([\\d.]+)`).exec(child.said)?.[1] ?? NaN);
  const rate = number('Queries per second');
  if (Number.isNaN(rate))
    throw new BenchError(`dnsperf: ${(child.complaints || child.said).trim().split('\n').at(-1)}`);
  const [sent, done] = [number('Queries sent'), number('Queries completed')];
  return {
    value: rate / 1000,
    loss: Math.max(0, 1 - done / sent),
    p99: latency.p99,
    ...spent(lab, before, done / 1000),
  };
}

const rss = (lab) => lab.peers.reduce((sum, child) => sum + memoryKiB(child.pid), 0);

/** Memory with `flows` open and idle, and what each of them costs. */
async function held(lab, flows) {
  const before = rss(lab);
  return holding(lab, flows, () => {
    const now = rss(lab);
    return { value: (now - before) / flows, total: now / 1024, before: before / 1024 };
  });
}

/** Does something while `flows` connections are open and idle. */
export async function holding(lab, flows, look) {
  const child = new Child(
    ['ip', 'netns', 'exec', lab.guest, lab.tools.nettool, 'hold', TARGET, ...text(ECHO, ECHO_PORTS, flows)],
    { input: true },
  );
  try {
    const { open } = await child.event('open', 75);
    await sleep(1500);
    if (open < flows) throw new BenchError(`${open} of ${flows} connections opened`);
    return await look();
  } finally {
    child.process.stdin.end();
    await child.kill(4000);
  }
}

/** Short connections by number; what they leave behind. */
async function churn(lab, count) {
  const before = { files: sum(lab, descriptors), memory: rss(lab) };
  const result = await tool(lab, 300, 'crr', TARGET, ...text(ECHO, ECHO_PORTS, 280, 64, count));
  await sleep(3000);
  const files = sum(lab, descriptors) - before.files;
  return {
    value: files,
    connections: result.done,
    failed: result.failed,
    rate: result.rate,
    memory: (rss(lab) - before.memory) / 1024,
  };
}

const sum = (lab, of) => lab.peers.reduce((total, child) => total + of(child.pid), 0);

/** Gbit/s of `flows` flows one way. */
const flow = (way, flows) => ({
  id: `tcp_${way}_${flows}`,
  group: way === 'in' ? 'in' : 'tcp',
  unit: 'Gbit/s',
  mtus: 'all',
  run: (lab, options) => bulk(lab, way, flows, options),
  fits: (Peer) => way !== 'in' || !Peer.tcpOnly,
});

const trips = (id, group, run) => ({ id, group, unit: 'µs', less: true, run });

const udpMetric = (way, size, pps) => ({
  id: `udp_${way}_${size}${pps ? '_paced' : ''}`,
  group: 'udp',
  unit: pps ? 'thousand/s at 20' : 'thousand/s',
  run: (lab, options) => udp(lab, way === 'down', size, pps, options.secs),
  fits: (Peer) => !Peer.tcpOnly,
});

/**
 * All metrics in the order in which they are taken. `mtus: 'all'`: at each MTU asked for, else at the first. `fresh`: on a
 * peer that has just been started, alone. `slow`: left out of --quick. `less`: less is better.
 */
export const METRICS = [
  ...['up', 'down'].flatMap((way) => [1, 8].map((flows) => flow(way, flows))),
  flow('in', 1),
  trips('rr', 'rr', async (lab, options) => {
    const { p50, p90, p99, max, n } = await tool(
      lab,
      options.secs + 10,
      'rr',
      TARGET,
      ...text(ECHO, options.secs),
    );
    return { value: p50, p90, p99, max, n };
  }),
  trips('rr_beside_1g', 'load', (lab, options) => loaded(lab, options, 1000)),
  trips('rr_beside_bulk', 'load', (lab, options) => loaded(lab, options, 0)),
  ...[16, 64].map((atOnce) => ({
    id: `crr_${atOnce}`,
    group: 'crr',
    unit: 'conn/s',
    run: async (lab, { secs }) => {
      const connect = (time) =>
        tool(lab, time + 15, 'crr', TARGET, ...text(ECHO, ECHO_PORTS, time, atOnce, 0));
      await connect(WARM_CONNECTIONS);
      const before = lab.cpu();
      const { rate, failed, p50, p99, done } = await connect(secs);
      return { value: rate, failed, p50, p99, ...spent(lab, before, done) };
    },
  })),
  ...['up', 'down'].flatMap((way) => [
    udpMetric(way, 64, 0),
    udpMetric(way, 1400, 0),
    udpMetric(way, 1400, 20_000),
  ]),
  {
    id: 'dns',
    group: 'dns',
    unit: 'thousand/s',
    run: (lab, options) => dns(lab, options.secs, false),
    fits: (Peer) => !Peer.tcpOnly,
  },
  {
    id: 'dns_cached',
    group: 'dns',
    unit: 'thousand/s',
    run: (lab, options) => dns(lab, options.secs, true),
    fits: (Peer) => !Peer.tcpOnly,
  },
  ...HTTP_METRICS,
  {
    id: 'rss_idle',
    group: 'rss',
    unit: 'MiB',
    less: true,
    fresh: true,
    run: async (lab) => ({ value: rss(lab) / 1024 }),
    fits: (Peer) => Peer.role !== 'floor',
  },
  {
    id: 'rss_flow_1000',
    group: 'rss',
    unit: 'KiB a flow',
    less: true,
    fresh: true,
    run: (lab) => held(lab, 1000),
    fits: (Peer) => Peer.role !== 'floor',
  },
  {
    id: 'rss_flow_10000',
    group: 'rss',
    unit: 'KiB a flow',
    less: true,
    fresh: true,
    slow: true,
    run: (lab) => held(lab, 10_000),
    fits: (Peer) => Peer.role === 'ours',
  },
  ...['up', 'down'].map((way) => ({
    id: `fair_${way}`,
    group: 'fair',
    unit: 'Jain index, 1,000 flows',
    slow: true,
    run: async (lab, options) => {
      const result = await bulk(lab, way, 1000, { ...options, secs: Math.max(5, options.secs), warm: 2 });
      return { ...result, value: result.jain, rate: result.value, gbit: undefined };
    },
    fits: (Peer) => Peer.role === 'ours' || Peer.label === 'veth' || Peer.label === 'pasta',
  })),
  {
    id: 'churn',
    group: 'churn',
    unit: 'descriptors left',
    less: true,
    fresh: true,
    slow: true,
    run: (lab) => churn(lab, 100_000),
    fits: (Peer) => Peer.role === 'ours',
  },
];

/** The metrics that need a lab in a state of its own: see special.mjs. */
export const SPECIAL = ['start', 'health', 'alloc', 'idle_flow'];
