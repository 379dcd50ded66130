/** The bench: micro and macro benchmarks, tables, goals, JSON. See `--help`. */
import fs from 'node:fs';
import { goals } from './lib/goals.mjs';
import { describeMachine } from './lib/machine.mjs';
import { HELP, parseOptions } from './lib/options.mjs';
import { failures, goalTable, noise, tables } from './lib/table.mjs';
import { BenchError } from './lib/tools.mjs';
import { macro } from './macro.mjs';
import { micro, microTable } from './micro.mjs';

async function main(argv) {
  const options = parseOptions(argv);
  if (options.help) {
    console.log(HELP);
    return;
  }
  const wanted = options.programs.length > 0 ? options.programs : ['micro', 'macro'];
  const unknown = wanted.find((name) => name !== 'micro' && name !== 'macro');
  if (unknown !== undefined) throw new BenchError(`there is no benchmark "${unknown}"\n\n${HELP}`);
  const output = {
    machine: describeMachine(options.tree),
    options: { reps: options.reps, secs: options.secs, mtus: options.mtus },
  };
  const write = (state) => {
    if (options.json !== undefined) fs.writeFileSync(options.json, `${JSON.stringify(state, null, 1)}\n`);
  };
  if (wanted.includes('micro')) {
    output.micro = await micro(options);
    console.log(`\n### Micro\n\n${microTable(output.micro)}`);
  }
  if (wanted.includes('macro')) {
    const { results, peers, versions } = await macro(options, (state) => write({ ...output, ...state }));
    Object.assign(output, { peers, versions, results, goals: goals(results) });
    console.log(`\n${tables(results, peers)}\n\n${goalTable(output.goals)}`);
    const failed = failures(results);
    if (failed.length > 0) console.log(`\n### Failed\n\n${failed.join('\n')}`);
    console.log(`\n${noise(results)}`);
    const named = Object.entries(versions).map(([peer, version]) => `${peer} ${version}`);
    console.log(`\nRivals: ${named.join('; ') || 'none'}`);
  }
  const { machine } = output;
  console.log(
    `Machine: ${machine.cpu}, ${machine.memory}, ${machine.system}, Linux ${machine.kernel}, Node ${machine.node}, load before ${machine.loadBefore}`,
  );
  write(output);
}

try {
  await main(process.argv.slice(2));
  process.exit(0);
} catch (error) {
  if (!(error instanceof BenchError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exit(2);
}
