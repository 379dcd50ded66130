/**
 * The command line: which commands there are, which flags they take, and what their help says. What only some commands need is
 * loaded by them: a virtual machine that starts waits for all that `serve` loads.
 */
import { Command, CommanderError, Option } from 'commander';
import { type BindHelperOptions, bindHelper } from './bind-helper.js';
import { Collected } from './collect.js';
import { checkFile, printOpenApi, printSchema } from './config-command.js';
import type { demo } from './demo/index.js';
import { dnsCommands } from './dns-commands.js';
import { dockerCommand, dockerFlags } from './docker.js';
import { dropInCommands } from './drop-ins.js';
import { EXIT, EXIT_HELP, exitCodeOf, formatError, usageError } from './exit.js';
import { explain } from './explain.js';
import {
  addressFlags,
  configFlag,
  debugFlags,
  linkFlags,
  logFlags,
  natFlags,
  policyFlags,
  processFlags,
  publishFlags,
  sshForwardFlags,
  switchFlags,
} from './flags.js';
import { proxyCommands } from './proxy-commands.js';
import { proxyFlags } from './proxy-flags.js';
import { remoteFlags } from './remote.js';
import { type Done, remoteCommands } from './remote-commands.js';
import { run } from './run.js';
import { serve } from './serve.js';
import type { Terminal } from './terminal.js';
import { packageVersion } from '../api/index.js';

/** Runs one command line (without node and script); returns the exit code. Errors have been told. */
export async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  const result = { code: EXIT.ok as number };
  const program = createProgram(terminal, (code) => {
    result.code = code;
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return result.code;
  } catch (error) {
    if (error instanceof CommanderError) return commanderExit(error, terminal);
    terminal.err(formatError(error));
    return exitCodeOf(error);
  }
}

/** Help and version are no failures; what commander refuses is told as we tell errors. */
function commanderExit(error: CommanderError, terminal: Terminal): number {
  if (error.exitCode === 0) return EXIT.ok;
  if (error.code === 'commander.help') return EXIT.usage;
  const [what = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
  const hint = rest.join(' ').replace(/^\((.*)\)$/, '$1');
  terminal.err(
    formatError(
      usageError(
        what,
        hint === '' ? 'netproxy --help, or netproxy COMMAND --help, tells what there is.' : hint,
      ),
    ),
  );
  return EXIT.usage;
}

export function createProgram(terminal: Terminal, done: (code: number) => void): Command {
  const program = new Command('netproxy');
  program
    .description('A virtual network whose guests reach the world through ordinary sockets of this host.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this')
    .enablePositionalOptions()
    .exitOverride()
    .configureHelp({ helpWidth: 110 })
    .configureOutput({
      writeOut: (text) => {
        terminal.out(text);
      },
      // Errors are told by commanderExit.
      writeErr: () => undefined,
    })
    .addHelpText('after', `\nnetproxy without a command is netproxy serve.\n${EXIT_HELP}`);
  serveCommand(program, terminal, done);
  runCommand(program, terminal, done);
  demoCommand(program, terminal, done);
  doctorCommand(program, terminal, done);
  bindHelperCommand(program, terminal, done);
  explainCommand(program, terminal, done);
  remoteCommands(program, terminal, done);
  dnsCommands(program, terminal, done);
  proxyCommands(program, terminal, done);
  configCommand(program, terminal, done);
  dockerCommand(program, terminal, done);
  dropInCommands(program, terminal, done);
  return program;
}

function serveCommand(program: Command, terminal: Terminal, done: Done): void {
  const to = new Collected();
  const command = program
    .command('serve', { isDefault: true })
    .description('let guests attach, until SIGTERM or SIGINT (the default command)')
    .usage('[options]')
    // An unknown command ends here; it deserves a better word than "too many arguments".
    .argument('[unknown...]')
    .configureHelp({ visibleArguments: () => [] });
  linkFlags(command, to);
  addressFlags(command, to, { mtu: '1500', alias: 'on, the last but one of the subnet' });
  natFlags(command, to);
  publishFlags(command, to);
  sshForwardFlags(command, to);
  policyFlags(command, to);
  proxyFlags(command, to);
  switchFlags(command, to);
  dockerFlags(command, to);
  debugFlags(command, to);
  processFlags(command, to);
  logFlags(command, to, 'info');
  command.option('--json', 'events as JSON lines on standard output');
  command.addHelpText(
    'after',
    `
Examples:
  netproxy --qemu unix:/run/vm.sock --publish 127.0.0.1:8080:80
      qemu-system-x86_64 … -netdev stream,id=n0,addr.type=unix,addr.path=/run/vm.sock -device virtio-net-pci,netdev=n0
  netproxy serve --netns build --tap tap0 --deny host --deny 10.0.0.0/8
  netproxy serve --vsock 1024 --config /etc/netproxy.yaml

SIGTERM and SIGINT end it within a second; a second one at once. SIGHUP is one of them unless it was ignored at the start (nohup).
${EXIT_HELP}`,
  );
  command.action(async (unknown: string[], options: { json?: true }) => {
    if (unknown[0] !== undefined) throw unknownCommand(program, unknown[0]);
    if (options.json === true) to.config.json = true;
    done(await serve(to.settle(), terminal));
  });
}

function unknownCommand(program: Command, word: string): Error {
  const names = program.commands.map((command) => command.name());
  return usageError(`there is no command "${word}"`, `The commands are ${names.join(', ')}.`);
}

function runCommand(program: Command, terminal: Terminal, done: Done): void {
  const to = new Collected();
  const command = program
    .command('run')
    .description('run a command in a network namespace of its own on netproxy')
    .usage('[options] -- COMMAND [ARGUMENT…]')
    .argument('<command...>')
    .configureHelp({ visibleArguments: () => [] })
    .passThroughOptions();
  addressFlags(command, to, { mtu: '65520', alias: 'off' });
  natFlags(command, to);
  command.addOption(
    new Option('--no-dns', "leave /etc/resolv.conf as the host's, instead of pointing it at the gateway"),
  );
  command.addOption(
    new Option('--map-root', 'let the command see itself as root (without root; no real rights)'),
  );
  publishFlags(command, to);
  policyFlags(command, to);
  proxyFlags(command, to);
  debugFlags(command, to);
  configFlag(command, to);
  logFlags(command, to, 'warn');
  command.addHelpText(
    'after',
    `
Examples:
  netproxy run -- curl https://example.org/
  netproxy run --publish 127.0.0.1:8080:80 --deny 10.0.0.0/8 -- ./server --port 80
  netproxy run --host-alias on -- psql -h host.netproxy.internal

The command's exit code is passed on: 127 not found, 126 not executable, 128 and the signal that ended it. Signals are forwarded.
Without root a user namespace is made; where that is restricted the error names the setting.
${EXIT_HELP}`,
  );
  command.action(async (words: string[], options: { dns: boolean; mapRoot?: true }) => {
    done(await run(to.settle(), words, { dns: options.dns, mapRoot: options.mapRoot ?? false }, terminal));
  });
}

function demoCommand(program: Command, terminal: Terminal, done: Done): void {
  program
    .command('demo')
    .description('show it: a guest gets a lease, names, 100 MB up and down, a published port')
    .addOption(new Option('--netns', 'with a network namespace as the guest').conflicts(['vm', 'scripted']))
    .addOption(new Option('--vm', 'with a QEMU guest').conflicts(['netns', 'scripted']))
    .addOption(
      new Option('--scripted', "with netproxy's own scripted guest, which is not a real one").conflicts([
        'netns',
        'vm',
      ]),
    )
    .option('--size <size>', 'how much goes up and down, such as 1GB or 20MB', '100MB')
    .option('--kernel <file>', "--vm: the guest's kernel, with --initrd")
    .option('--initrd <file>', "--vm: the guest's initramfs (test/vm/build-guest.mjs makes both)")
    .option('--json', 'one JSON object per step on standard output')
    .addHelpText(
      'after',
      `
Without --netns, --vm or --scripted the best guest that this host has is taken. Nothing leaves the host: as root netproxy and its
servers move into a namespace of their own, otherwise the servers listen on loopback and the guest may reach nothing else.

Examples:
  netproxy demo
  netproxy demo --vm --size 20MB
${EXIT_HELP}`,
    )
    .action(async (options: Parameters<typeof demo>[0]) => {
      const commands = await import('./demo/index.js');
      done(await commands.demo(options, terminal));
    });
}

function bindHelperCommand(program: Command, terminal: Terminal, done: Done): void {
  const several = (text: string, before: readonly string[]): string[] => [...before, text];
  program
    .command('bind-helper')
    .description('bind privileged ports for a netproxy that runs without privileges')
    .requiredOption('--socket <path>', 'where netproxy asks, with --bind-helper PATH')
    .option('--allow-user <user>', 'who may ask beside root: a name or a user id (repeatable)', several, [])
    .option('--allow-ports <list>', 'which ports, such as 80,443 (default: 1-1023; repeatable)', several, [])
    .addHelpText(
      'after',
      `
Started as root, or with CAP_NET_BIND_SERVICE. The kernel says who asks (SO_PEERCRED); the socket is bound here and handed over (SCM_RIGHTS). Needs the addon.

Examples:
  netproxy bind-helper --socket /run/netproxy-bind.sock --allow-user alice --allow-ports 80,443
  netproxy serve --qemu unix:/run/user/1000/vm.sock --bind-helper /run/netproxy-bind.sock --publish 0.0.0.0:80:80
${EXIT_HELP}`,
    )
    .action(async (options: BindHelperOptions) => {
      done(await bindHelper(options, terminal));
    });
}

function doctorCommand(program: Command, terminal: Terminal, done: Done): void {
  program
    .command('doctor')
    .description('tell what this host can do, and how to get the rest')
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      `\nOpens no vsock and changes nothing. The exit code is 0 also where something is missing.\n\nExample:\n  netproxy doctor`,
    )
    .action(async (options: { json?: true }) => {
      const { doctor } = await import('./doctor.js');
      done(doctor(options, terminal));
    });
}

function explainCommand(program: Command, terminal: Terminal, done: Done): void {
  const to = new Collected();
  const command = program
    .command('explain')
    .description('tell what would become of a flow, and which rule says so')
    .argument('<destination>', 'IPv4 address or name, with :PORT or without')
    .option('--guest <name>', 'from this guest (default: guest1)')
    .option('--protocol <tcp|udp|icmp>', 'default: tcp');
  remoteFlags(command, 'as one JSON object', 'ask this running netproxy, whatever the other flags say');
  addressFlags(command, to, { mtu: '1500', alias: 'on, the last but one of the subnet' });
  policyFlags(command, to);
  proxyFlags(command, to);
  command.optionsGroup('Process:');
  configFlag(command, to);
  command.addHelpText(
    'after',
    `
Examples:
  netproxy explain 169.254.169.254:80
  netproxy explain --deny 10.0.0.0/8 --allow tcp:any:443 --default-policy deny 10.1.2.3:443
  netproxy explain --config /etc/netproxy.yaml --guest build --protocol udp 10.0.0.53:53
  netproxy explain --api unix:/run/netproxy.sock 10.1.2.3:443
${EXIT_HELP}`,
  );
  command.action(async (destination: string, options: Parameters<typeof explain>[2]) => {
    done(await explain(to.settle(), destination, options, terminal));
  });
}

function configCommand(program: Command, terminal: Terminal, done: Done): void {
  const command = program
    .command('config')
    .description('the configuration file: its schema, and checks; the control API as a document')
    .usage('schema | check FILE | openapi');
  command
    .command('schema')
    .description('print the JSON Schema')
    .addHelpText('after', '\nExample:\n  netproxy config schema > netproxy.schema.json')
    .action(() => {
      done(printSchema(terminal));
    });
  command
    .command('check')
    .description('check a file; nothing is opened')
    .argument('<file>')
    .addHelpText('after', `\nExample:\n  netproxy config check /etc/netproxy.yaml\n${EXIT_HELP}`)
    .action((file: string) => {
      done(checkFile(file, terminal));
    });
  command
    .command('openapi')
    .description('print the OpenAPI 3.1 document of the control API')
    .addHelpText('after', '\nExample:\n  netproxy config openapi > openapi.json')
    .action(() => {
      done(printOpenApi(terminal));
    });
}
