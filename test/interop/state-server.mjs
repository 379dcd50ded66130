#!/usr/bin/env node
// A network with a state file for state-kill.mjs, which kills it: `state-server.mjs STATE SOCKET LEASE_SECONDS`. Prints
// {"leases":[…]} once guests may attach. No socket of the machine but SOCKET is opened: its host is one in memory.
import { createNetwork } from '../../dist/index.js';
import { FakeHost, realScheduler } from '../../dist/testing/index.js';

const [stateFile, socket, seconds] = process.argv.slice(2);
const say = (message) => process.stderr.write(`${message}\n`);
const logger = { debug: () => undefined, info: () => undefined, warn: say, error: say };
const host = new FakeHost(realScheduler);
const network = createNetwork(
  { subnet: '10.0.0.0/24', stateFile, dhcp: { leaseSeconds: Number(seconds) } },
  { logger, ...host.deps },
);
process.stdin.on('end', () => process.exit(0)).resume();
await network.start();
const leases = network.leases().map(({ ip, mac, expiresIn }) => ({ ip, mac, until: Date.now() + expiresIn }));
await network.listenLinks('qemu', `unix:${socket}`);
process.stdout.write(`${JSON.stringify({ leases })}\n`);
