/** What the benches of one question have in common: their options, peers that come up, what is printed and written. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Lab } from './lab.mjs';
import { describeMachine } from './machine.mjs';
import { missingBuild } from './peers.mjs';
import { BenchError, ROOT } from './tools.mjs';

/** `--name value` for each name of `defaults`, and `--tree`, `--json`. Numbers stay numbers. Says what is missing and ends. */
export function begin(argv, defaults) {
  const options = { tree: ROOT, json: undefined, ...defaults };
  const fail = (why) => {
    console.error(`bench: ${why}`);
    process.exit(2);
  };
  for (let i = 0; i < argv.length; i += 2) {
    const name = argv[i].replace(/^--/, '');
    if (!(name in options) || argv[i + 1] === undefined)
      fail(
        `${argv[i]}: there is ${Object.keys(options)
          .map((key) => `--${key}`)
          .join(', ')}, each with a value`,
      );
    options[name] = typeof defaults[name] === 'number' ? Number(argv[i + 1]) : argv[i + 1];
  }
  options.tree = path.resolve(options.tree);
  if (process.getuid?.() !== 0) fail('namespaces need root: run it as root');
  const missing = missingBuild(options.tree);
  if (missing !== undefined) fail(missing);
  process.on('uncaughtException', (error) => {
    console.error(error instanceof BenchError ? `bench: ${error.message}` : error);
    process.exit(error instanceof BenchError ? 2 : 1);
  });
  return options;
}

/** A peer's lab that is up; nothing of it stays when it does not come up. */
export async function bringUp(Peer, setup) {
  const lab = new Lab(Peer, setup);
  try {
    await lab.up();
    return lab;
  } catch (error) {
    await lab.down();
    throw error;
  }
}

/** Prints a table and the machine, writes `--json`. */
export function conclude(options, results, text) {
  const machine = describeMachine(options.tree);
  const load = os.loadavg()[0].toFixed(2);
  console.log(`\n${text}\n`);
  console.log(
    `Machine: ${machine.cpu}, Linux ${machine.kernel}, Node ${machine.node}, load at the end ${load}`,
  );
  if (options.json !== undefined)
    fs.writeFileSync(options.json, `${JSON.stringify({ machine, options, results }, null, 1)}\n`);
}
