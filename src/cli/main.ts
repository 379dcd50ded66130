#!/usr/bin/env node
/** The command `netproxy`. */
import { EXIT, formatError } from './exit.js';
import { main } from './program.js';
import { processTerminal } from './terminal.js';

const terminal = processTerminal();
const args = process.argv.slice(2);

// Errors about taken ports and paths name their holder: `netproxy serve`, not `node`.
process.title = ['netproxy', ...args].join(' ');

process.on('uncaughtException', (error) => {
  terminal.err(formatError(error));
  if (process.env['NETPROXY_DEBUG'] === '1') terminal.err(`${error.stack ?? ''}\n`);
  process.exit(EXIT.failure);
});

process.exit(await main(args, terminal));
