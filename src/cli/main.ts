#!/usr/bin/env node
/** The command `netproxy`. */
import { start } from './start.js';

await start('netproxy');
