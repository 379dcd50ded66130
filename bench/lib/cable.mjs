/**
 * A bad cable between two TAPs: frames of one are written to the other through the same link code, and the same faults, that
 * netproxy puts around a guest's link. A program of its own, so that its CPU time can be told.
 *
 *   node cable.mjs TREE NETNS_A IF_A NETNS_B IF_B FAULTS       FAULTS as of --faults, or none
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [tree, netnsA, nameA, netnsB, nameB, text] = process.argv.slice(2);
const load = (folder) => import(pathToFileURL(path.join(tree, 'dist', folder, 'index.js')).href);
const [core, link, native, host] = await Promise.all(['core', 'link', 'native', 'host'].map(load));

const { addon, reason } = native.loadNative();
if (addon === undefined) throw new Error(`the cable needs the addon: ${reason}`);
const hub = new native.Hub(addon);
const pool = new core.BlockPool(hub.memory);
const logger = { debug() {}, info() {}, warn: console.error, error: console.error };
const deps = { native: hub, pool, logger };
const plain = link.tapLink({ name: nameB, netns: netnsB, offloads: false }, deps);
const tap = link.tapLink({ name: nameA, netns: netnsA, offloads: false }, deps);
const faults = text === 'none' ? undefined : link.parseFaults(text);
const bad =
  faults === undefined
    ? tap
    : link.withFaults(tap, faults, { random: host.systemRandom(), clock: host.nodeScheduler, pool });

/** What comes in at one end goes out at the other. */
function connect(from, to) {
  const { memory } = pool;
  from.start({
    frames: ({ meta, bytes, count }) => {
      for (let i = 0; i < count; i++) {
        const at = i * core.META_STRIDE;
        const [offset, length, , gsoSize] = meta.subarray(at, at + core.META_STRIDE);
        const out = to.output.begin(length);
        to.output.bytes.set(bytes.subarray(offset, offset + length), out);
        to.output.end(0, gsoSize);
      }
      to.output.flush();
    },
    writable() {},
    closed: (why) => {
      console.error(why?.message ?? 'a TAP is gone');
      process.exit(1);
    },
  });
  return memory;
}

connect(plain, bad);
connect(bad, plain);
process.stdout.write('{"event":"ready"}\n');
