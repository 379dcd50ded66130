#!/usr/bin/env node
// Guests that renew their leases as fast as they can, on a server that is killed (SIGKILL) at random instants and started
// again: `state-kill.mjs FOLDER ROUNDS`. What a guest got an ACK for must be in the next process, with its time, and no
// address may be there twice. Prints one JSON object: what was promised, what was lost.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { BlockPool, plainMemory, silentLogger } from '../../dist/core/index.js';
import { acceptSocket } from '../../dist/link/index.js';
import { ScriptedGuest, realScheduler } from '../../dist/testing/index.js';

const GUESTS = 6;
const LEASE_SECONDS = 3600;
/** Rounds in which it is killed while it starts, one of so many. */
const EARLY = 5;
/** How long it lives with guests, and while it starts, ms, at most. */
const LIFE = 80;
const START = 400;

const [folder, rounds] = [process.argv[2], Number(process.argv[3])];
const stateFile = join(folder, 'state');
const socketPath = join(folder, 'guests.sock');
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const pool = new BlockPool(plainMemory);

/** By MAC address: the last ACK, or undefined after a RELEASE, when nothing is promised. */
const promised = new Map();
const result = {
  rounds: 0,
  early: 0,
  acks: 0,
  releases: 0,
  lost: [],
  duplicated: [],
  shortened: [],
  warnings: [],
};

function start() {
  const server = spawn(
    process.execPath,
    [
      fileURLToPath(new URL('state-server.mjs', import.meta.url)),
      stateFile,
      socketPath,
      String(LEASE_SECONDS),
    ],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  server.stderr.on('data', (text) => result.warnings.push(String(text)));
  const lines = createInterface({ input: server.stdout });
  const ready = once(lines, 'line').then(([line]) => JSON.parse(line));
  ready.catch(() => undefined);
  return { server, ready, exited: once(server, 'exit') };
}

/** What the new process took back is what guests were promised. */
function compare(leases) {
  for (const field of ['ip', 'mac']) {
    const all = leases.map((lease) => lease[field]);
    if (new Set(all).size !== all.length) result.duplicated.push(leases);
  }
  for (const [mac, promise] of promised) {
    if (promise === undefined) continue;
    const lease = leases.find((one) => one.mac === mac);
    if (lease?.ip !== promise.ip) result.lost.push({ round: result.rounds, mac, promise, lease });
    // A second for what is rounded on the way.
    else if (lease.until < promise.until - 1000) result.shortened.push({ mac, promise, lease });
  }
}

/** One guest until its link ends: obtains, renews, now and then releases. */
async function live(n) {
  const mac = `52:54:00:00:00:0${n}`;
  const socket = connect(socketPath);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  const { link } = await acceptSocket(socket, 'qemu', 'guest', {
    pool,
    logger: silentLogger,
    native: undefined,
  });
  const guest = new ScriptedGuest(link, { scheduler: realScheduler, mac });
  let open = true;
  socket.once('close', () => (open = false));
  const took = async (work) => {
    const asked = Date.now();
    await work;
    result.acks++;
    promised.set(mac, { ip: guest.lease.ip, until: asked + LEASE_SECONDS * 1000 });
  };
  try {
    while (open) {
      await took(guest.dhcp({ timeout: 2000 }));
      for (let turn = 0; open && turn < 50 * n; turn++) await took(guest.renew({ timeout: 2000 }));
      if (!open || n % 2 === 0) continue;
      promised.set(mac, undefined);
      result.releases++;
      await guest.release();
    }
  } catch {
    // The link ended, and with it whatever was being asked.
  } finally {
    guest.close();
    socket.destroy();
  }
}

for (; result.rounds < rounds; result.rounds++) {
  if (result.rounds % EARLY === EARLY - 1) {
    const { server, exited } = start();
    await sleep(Math.random() * START);
    server.kill('SIGKILL');
    await exited;
    result.early++;
    continue;
  }
  const { server, ready, exited } = start();
  const { leases } = await Promise.race([
    ready,
    exited.then(() => {
      throw new Error(`the server ended: ${result.warnings.join('')}`);
    }),
  ]);
  compare(leases);
  const guests = Array.from({ length: GUESTS }, (_, n) => live(n + 1).catch(() => undefined));
  // The first time, until all have addresses: those are probed first.
  await sleep(result.rounds === 0 ? 1500 : 20 + Math.random() * LIFE);
  server.kill('SIGKILL');
  await exited;
  await Promise.all(guests);
}
const last = start();
compare((await last.ready).leases);
last.server.kill('SIGKILL');
await last.exited;
result.files = readdirSync(folder)
  .filter((name) => name.startsWith('state'))
  .sort();
process.stdout.write(`${JSON.stringify(result)}\n`);
process.exit(0);
