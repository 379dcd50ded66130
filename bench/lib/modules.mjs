/**
 * netproxy from its compiled modules, not from the bundle that is made of them: a profile names files that people know. Trees from
 * before the bundle have nothing else.
 */
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const folder = path.join(process.env.NETPROXY_BENCH_TREE, 'dist', 'cli');
const module = (name) => import(pathToFileURL(path.join(folder, name)).href);

if (fs.existsSync(path.join(folder, 'start.js'))) await (await module('start.js')).start('netproxy');
else await module('main.js');
