/** The commands that ask a running netproxy, as the command line knows them. */
import type { Command } from 'commander';
import { EXIT_HELP } from './exit.js';
import { type FlowsOptions, flows } from './flows.js';
import { remoteFlags } from './remote.js';
import type { Terminal } from './terminal.js';

/** Takes the exit code of a command. */
export type Done = (code: number) => void;

export function remoteCommands(program: Command, terminal: Terminal, done: Done): void {
  flowsCommand(program, terminal, done);
}

function flowsCommand(program: Command, terminal: Terminal, done: Done): void {
  const command = program
    .command('flows')
    .description('list the flows of a running netproxy, or end one')
    .option('--tcp', 'TCP flows with round trip, windows and retransmissions, as ss -ti shows them')
    .option('--kill <id>', 'end this flow; TCP is reset on both sides')
    .option('--guest <name>', 'only flows of this guest')
    .option('--protocol <tcp|udp>', 'only flows of this protocol')
    .option('--state <state>', 'only flows in this state, such as ESTABLISHED or DIALING')
    .option('--peer <address>', 'only flows with this peer: IP or IP:PORT');
  remoteFlags(command, 'one JSON object per flow');
  command.addHelpText(
    'after',
    `
Examples:
  netproxy flows
  netproxy flows --tcp --guest build --api unix:/run/netproxy.sock
  netproxy flows --kill 17
${EXIT_HELP}`,
  );
  command.action(async (options: FlowsOptions) => {
    done(await flows(options, terminal));
  });
}
