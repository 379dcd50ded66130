#!/usr/bin/env node
// A network made by the library, for tests that look inside: counters, descriptors, heap.
//
//   node --expose-gc library.mjs '{"config":{…},"taps":[{"name":"tap0","netns":"/run/netns/x","guest":{…}}],"qemu":"unix:/path"}'
//
// Prints {"ready":…} first. Reads commands from stdin, one JSON object a line ({"id","command","argument"}), and
// answers {"id","result"} or {"id","error"}. Ends when stdin does. library.ts is its other side.

import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createNetwork } from '../../dist/index.js';

const print = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

const { config = {}, taps = [], qemu } = JSON.parse(process.argv[2]);
const logger = Object.fromEntries(
  ['debug', 'info', 'warn', 'error'].map((level) => [
    level,
    (message) => level !== 'debug' && process.stderr.write(`${level} ${message}\n`),
  ]),
);

const network = createNetwork(config, { logger });
const inputs = { inputErrors: 0 };
process.on('uncaughtException', (error) => {
  inputs.inputErrors++;
  process.stderr.write(`uncaught ${error.stack}\n`);
});
await network.start();
for (const { name, netns, guest } of taps) network.openTap({ name, netns }, guest);
if (qemu !== undefined) await network.listenLinks('qemu', qemu);

/** How many of each kind of thing keeps the process alive, by Node's own names; an immediate does so until this turn ends. */
function resources() {
  const counts = {};
  for (const name of process.getActiveResourcesInfo()) counts[name] = (counts[name] ?? 0) + 1;
  delete counts.Immediate;
  return counts;
}

const COMMANDS = {
  /** All counters, and what the process holds after a full collection. */
  look: () => {
    globalThis.gc?.();
    globalThis.gc?.();
    const { heapUsed, external, arrayBuffers, rss } = process.memoryUsage();
    return {
      stats: network.stats(),
      flows: network.flows().length,
      fds: readdirSync('/proc/self/fd').length - 1,
      handles: network.hub?.poller.handleCount() ?? 0,
      resources: resources(),
      memory: { heapUsed, external, arrayBuffers, rss },
      uncaught: inputs.inputErrors,
    };
  },
  flows: () => network.flows(),
  leases: () => network.leases(),
  explain: (query) => network.explain(query),
  publish: async (spec) => {
    const { host, port } = await network.publish(spec);
    return { host, port };
  },
  stop: () => network.stop(),
};

const input = createInterface({ input: process.stdin });
input.on('line', async (line) => {
  const { id, command, argument } = JSON.parse(line);
  try {
    print({ id, result: (await COMMANDS[command](argument)) ?? null });
  } catch (error) {
    print({ id, error: { code: error.code, message: error.message } });
  }
});
input.on('close', () => process.exit(0));
print({ ready: { addresses: network.addresses, native: network.hub !== undefined } });
