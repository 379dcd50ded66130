#!/usr/bin/env node
/** The command `netproxy`. */
import { EXIT, formatError } from './exit.js';
import { main } from './program.js';
import { processTerminal } from './terminal.js';

const terminal = processTerminal();

process.on('uncaughtException', (error) => {
  terminal.err(formatError(error));
  if (process.env['NETPROXY_DEBUG'] === '1') terminal.err(`${error.stack ?? ''}\n`);
  process.exit(EXIT.failure);
});

process.exit(await main(process.argv.slice(2), terminal));
