/** A command of this package as a process. */
import { EXIT, formatError } from './exit.js';
import { main } from './program.js';
import { processTerminal } from './terminal.js';

/** Runs a command line and ends the process. `name`: what the process is called; `words` come before its arguments. */
export async function start(name: string, ...words: string[]): Promise<never> {
  const terminal = processTerminal();
  const args = process.argv.slice(2);

  // Errors about taken ports and paths name their holder: `netproxy serve`, not `node`.
  process.title = [name, ...args].join(' ');

  process.on('uncaughtException', (error) => {
    terminal.err(formatError(error));
    if (process.env['NETPROXY_DEBUG'] === '1') terminal.err(`${error.stack ?? ''}\n`);
    process.exit(EXIT.failure);
  });

  process.exit(await main([...words, ...args], terminal));
}
