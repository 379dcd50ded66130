/** The commands that ask a running netproxy, as the command line knows them. */
import type { Command } from 'commander';
import { EXIT_HELP } from './exit.js';
import { type FlowsOptions, flows } from './flows.js';
import { policyCommand } from './policy-command.js';
import { type RemoteOptions, remoteFlags } from './remote.js';
import { type GuestsOptions, guests, leases, ports, stats } from './remote-lists.js';
import { type PublishFlags, publish, unpublish } from './remote-ports.js';
import { type CaptureOptions, type EventsOptions, capture, events } from './remote-streams.js';
import type { Terminal } from './terminal.js';

/** Takes the exit code of a command. */
export type Done = (code: number) => void;

export function remoteCommands(program: Command, terminal: Terminal, done: Done): void {
  guestsCommand(program, terminal, done);
  leasesCommand(program, terminal, done);
  flowsCommand(program, terminal, done);
  portCommands(program, terminal, done);
  eventsCommand(program, terminal, done);
  captureCommand(program, terminal, done);
  statsCommand(program, terminal, done);
  policyCommand(program, terminal, done);
}

/** Ends the help of a command. */
export function examples(command: Command, ...lines: readonly string[]): void {
  const shown = lines.map((line) => `  ${line}\n`).join('');
  command.addHelpText('after', `\nExample${lines.length > 1 ? 's' : ''}:\n${shown}${EXIT_HELP}`);
}

function guestsCommand(program: Command, terminal: Terminal, done: Done): void {
  const command = program
    .command('guests')
    .description('list the guests of a running netproxy, or take one off the network')
    .option('--detach <name>', 'reset the flows of this guest and close its link; its lease stays');
  remoteFlags(command, 'one JSON object per guest');
  examples(command, 'netproxy guests', 'netproxy guests --detach build');
  command.action(async (options: GuestsOptions) => {
    done(await guests(options, terminal));
  });
}

function leasesCommand(program: Command, terminal: Terminal, done: Done): void {
  const command = program.command('leases').description('list the addresses that a running netproxy leased');
  remoteFlags(command, 'one JSON object per lease');
  examples(command, 'netproxy leases --json');
  command.action(async (options: RemoteOptions) => {
    done(await leases(options, terminal));
  });
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
  examples(
    command,
    'netproxy flows',
    'netproxy flows --tcp --guest build --api unix:/run/netproxy.sock',
    'netproxy flows --kill 17',
  );
  command.action(async (options: FlowsOptions) => {
    done(await flows(options, terminal));
  });
}

function portCommands(program: Command, terminal: Terminal, done: Done): void {
  const list = program.command('ports').description('list the published ports of a running netproxy');
  remoteFlags(list, 'one JSON object per port');
  examples(list, 'netproxy ports');
  list.action(async (options: RemoteOptions) => {
    done(await ports(options, terminal));
  });
  const add = program
    .command('publish')
    .description('publish ports of the host into guests of a running netproxy')
    .argument(
      '<spec...>',
      '[GUEST@][HOSTIP:]HOSTPORT:[GUESTIP:]PORT[/tcp|udp][,OPTION…]; HOSTPORT 0: the host chooses; ranges of one length: 8000-8009:8000-8009; OPTION: preserve-source, proxy-protocol=v1|v2, max-connections=N',
    );
  add.option('--no-keep', 'they end with that netproxy, also where it has a state file');
  remoteFlags(add, 'one JSON object per port');
  examples(add, 'netproxy publish 127.0.0.1:8080:80', 'netproxy publish build@0:22 5300:53/udp');
  add.action(async (specs: string[], options: PublishFlags) => {
    done(await publish(specs, options, terminal));
  });
  const remove = program
    .command('unpublish')
    .description('withdraw published ports and reset what runs over them')
    .argument('<port...>', '[HOSTIP:]PORT[/tcp|udp], or id:N');
  remoteFlags(remove, 'one JSON object per port');
  examples(remove, 'netproxy unpublish 8080', 'netproxy unpublish 127.0.0.1:5300/udp id:7');
  remove.action(async (names: string[], options: RemoteOptions) => {
    done(await unpublish(names, options, terminal));
  });
}

function eventsCommand(program: Command, terminal: Terminal, done: Done): void {
  const command = program
    .command('events')
    .description('tell what happened lately in a running netproxy')
    .option('-f, --follow', 'and what happens from now on, until it ends')
    .option('--last <n>', 'begin with this many that happened already, 0 to 256 (default: 256; with -f: 0)')
    .option(
      '--types <list>',
      'only these: started,attached,detached,lease,published,unpublished,ask,answered,decision,warning,stopped',
    );
  remoteFlags(command, 'one JSON object per event');
  examples(command, 'netproxy events', 'netproxy events -f --types attached,detached,lease --json');
  command.action(async (options: EventsOptions) => {
    done(await events(options, terminal));
  });
}

function captureCommand(program: Command, terminal: Terminal, done: Done): void {
  const command = program
    .command('capture')
    .description('write the frames of guests of a running netproxy as pcapng, from now on')
    .option('-w, --write <file>', 'where to; - is standard output')
    .option('--guest <name>', 'only frames of this guest');
  remoteFlags(command, undefined);
  examples(command, 'netproxy capture -w - | tshark -r -', 'netproxy capture --guest build -w build.pcapng');
  command.action(async (options: CaptureOptions) => {
    done(await capture(options, terminal));
  });
}

function statsCommand(program: Command, terminal: Terminal, done: Done): void {
  const command = program.command('stats').description('print all counters of a running netproxy');
  remoteFlags(command, 'as one JSON object');
  examples(command, 'netproxy stats', 'netproxy stats --json --api unix:/run/netproxy.sock');
  command.action(async (options: RemoteOptions) => {
    done(await stats(options, terminal));
  });
}
