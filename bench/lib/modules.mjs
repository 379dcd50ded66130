/** netproxy from its compiled modules, not from the bundle that is made of them: a profile names files that people know. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const { start } = await import(
  pathToFileURL(path.join(process.env.NETPROXY_BENCH_TREE, 'dist', 'cli', 'start.js')).href
);
await start('netproxy');
