/**
 * `npm run bench`: makes the clone ready, then runs the bench.
 *
 *   npm run bench -- --quick
 *   npm run bench -- macro --peers pasta,passt,slirp4netns --mtu 1500,65520 --json result.json
 *   npm run bench -- profile tcp_down_1 --mtu 65520
 *   npm run bench -- chart
 *   npm run bench -- --help
 *
 * With --tree DIR the netproxy of another checkout is measured, and this one is not built.
 */
import path from 'node:path';
import { bootstrap } from './bootstrap.mjs';
import { ROOT, run } from './tools.mjs';

const args = process.argv.slice(2);
const own = ['profile', 'chart', 'faults', 'queue', 'attacks', 'hostile'].includes(args[0]);
const program = path.join(ROOT, 'bench', `${own ? args[0] : 'main'}.mjs`);
const builds = !args.some((arg) => arg === '--help' || arg.startsWith('--tree')) && args[0] !== 'chart';

if (builds && !(await bootstrap(['packages', 'typescript', 'native'], { quiet: true }))) {
  process.exitCode = 1;
} else {
  const { code } = await run([process.execPath, program, ...(own ? args.slice(1) : args)], {
    output: 'inherit',
    env: { NETPROXY_NO_VSOCK: '1' },
  });
  process.exitCode = code;
}
