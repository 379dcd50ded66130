#!/usr/bin/env node
/** The command `gvproxy`, which is `netproxy gvproxy`. */
import { start } from './start.js';

await start('gvproxy', 'gvproxy');
