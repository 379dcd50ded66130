/**
 * `npm start`: makes the clone ready, then runs the demo with the arguments that came (`npm start -- --vm`).
 */
import path from 'node:path';
import { bootstrap } from './bootstrap.mjs';
import { ROOT, run } from './tools.mjs';

if (await bootstrap([], { quiet: true })) {
  const command = [
    process.execPath,
    path.join(ROOT, 'dist', 'cli', 'main.js'),
    'demo',
    ...process.argv.slice(2),
  ];
  process.exitCode = (await run(command, { output: 'inherit' })).code;
} else {
  process.exitCode = 1;
}
