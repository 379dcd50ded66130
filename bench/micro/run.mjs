/**
 * Runs the micro benchmarks over a built tree and prints them as JSON.
 *
 *   node --expose-gc --min-semi-space-size=256 --max-semi-space-size=256 bench/micro/run.mjs TREE SECONDS
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { networks } from './network.mjs';
import { parts } from './parts.mjs';
import { tcpPair } from './tcp-pair.mjs';

const [tree = '.', seconds = '0.5'] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(path.resolve(tree, 'dist', file)));
const modules = {
  core: await load('core/index.js'),
  tcp: await load('tcp/index.js'),
  stack: await load('stack/index.js'),
  link: await load('link/index.js'),
  testing: await load('testing/index.js'),
  library: await load('index.js'),
};
const options = { seconds: Number(seconds) };
const results = [];
for (const group of [parts, tcpPair, networks]) {
  try {
    results.push(...(await group(modules, options)));
  } catch (error) {
    results.push({ name: group.name, error: error.message });
  }
}
console.log(JSON.stringify(results));
process.exit(0);
