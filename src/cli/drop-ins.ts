/** The commands that stand in for other programs. They take those programs' flags, which commander does not know. */
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import type { Command } from 'commander';
import { packageVersion } from '../api/index.js';
import { EXIT, usageError } from './exit.js';
import { Lifecycle } from './lifecycle.js';
import type { Done } from './remote-commands.js';
import { serve } from './serve.js';
import type { Terminal } from './terminal.js';

const GVPROXY_EXAMPLES = `
Examples:
  netproxy gvproxy -listen unix:///run/net.sock -listen-qemu unix:///run/vm.sock
  gvproxy -listen-vfkit unixgram:///run/vm.sock -services unix:///run/api.sock -pid-file /run/gvproxy.pid
  curl --unix-socket /run/api.sock http://d/services/forwarder/expose -d '{"local":":8080","remote":"192.168.127.2:80"}'

docs/gvproxy.md says what is the same and what is not.
`;

const VPNKIT_EXAMPLES = `
Examples:
  netproxy vpnkit --ethernet /run/vm.sock --port /run/ports.sock
  curl --unix-socket /run/ports.sock -X PUT http://d/forwards/expose/port -d '{"out_port":8080,"in_port":80}'

docs/vpnkit.md says what is the same and what is not.
`;

const DOCKER_PROXY_EXAMPLES = `
Examples:
  dockerd --userland-proxy-path /usr/local/bin/netproxy-docker-proxy
with that file: exec netproxy docker-proxy -control-pipe /run/ports.sock "$@"
`;

/** Where dockerd waits for the outcome: a pipe. */
const STATUS_FD = 3;

/** Adds a command that gets its words as they are. */
function raw(
  program: Command,
  name: string,
  description: string,
  run: (argv: readonly string[]) => Promise<number> | number,
  done: Done,
): void {
  program
    .command(name)
    .description(description)
    .usage('[flags]')
    .argument('[words...]')
    .configureHelp({ visibleArguments: () => [] })
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (words: string[]) => {
      done(await run(words));
    });
}

export function dropInCommands(program: Command, terminal: Terminal, done: Done): void {
  raw(program, 'vpnkit', 'what vpnkit does, with its port API', (argv) => vpnkit(argv, terminal), done);
  raw(
    program,
    'docker-proxy',
    "dockerd's userland proxy: publishes one port by vpnkit's port API",
    (argv) => runDockerProxy(argv, terminal),
    done,
  );
  raw(
    program,
    'gvproxy',
    'what gvproxy does, with its flags and its API',
    (argv) => gvproxy(argv, terminal),
    done,
  );
}

async function vpnkit(argv: readonly string[], terminal: Terminal): Promise<number> {
  const { VPNKIT_FLAGS, goUsage, vpnkitDropIn } = await import('../compat/index.js');
  const dropIn = vpnkitDropIn(argv);
  if (dropIn !== undefined) return serve(dropIn.config, terminal, dropIn);
  terminal.out(`Usage of vpnkit:\n${goUsage(VPNKIT_FLAGS)}${VPNKIT_EXAMPLES}`);
  return EXIT.ok;
}

async function runDockerProxy(argv: readonly string[], terminal: Terminal): Promise<number> {
  const { DOCKER_PROXY_FLAGS, dockerProxy, goUsage } = await import('../compat/index.js');
  const proxy = dockerProxy(argv, process.env);
  if (proxy === undefined) {
    terminal.out(`Usage of docker-proxy:\n${goUsage(DOCKER_PROXY_FLAGS)}${DOCKER_PROXY_EXAMPLES}`);
    return EXIT.ok;
  }
  const life = new Lifecycle();
  try {
    await proxy.expose();
  } catch (error) {
    tellDockerd(`1\n${(error as Error).message}`, terminal);
    life.close();
    return EXIT.failure;
  }
  tellDockerd('0\n', terminal);
  // Signals alone keep no process alive.
  const hold = setInterval(() => undefined, 60_000);
  await life.ended;
  clearInterval(hold);
  life.close();
  await proxy.unexpose();
  return EXIT.ok;
}

/** Without a parent that waits there, people are told what went wrong. */
function tellDockerd(status: string, terminal: Terminal): void {
  if (isPipe(STATUS_FD)) {
    writeSync(STATUS_FD, status);
    closeSync(STATUS_FD);
  } else if (status !== '0\n') terminal.err(`docker-proxy: ${status.slice(2)}\n`);
}

/** Another descriptor of that number would be one of Node's own. */
function isPipe(fd: number): boolean {
  try {
    const stat = fstatSync(fd);
    return stat.isFIFO() || stat.isSocket();
  } catch {
    return false;
  }
}

async function gvproxy(argv: readonly string[], terminal: Terminal): Promise<number> {
  const { GVPROXY_FLAGS, goUsage, gvproxyDropIn, parseGvproxy } = await import('../compat/index.js');
  const command = parseGvproxy(argv);
  if (command.kind === 'help') {
    terminal.out(`Usage of gvproxy:\n${goUsage(GVPROXY_FLAGS)}${GVPROXY_EXAMPLES}`);
    return EXIT.ok;
  }
  if (command.kind === 'version') {
    terminal.out(`gvproxy version netproxy-${packageVersion()}\n`);
    return EXIT.ok;
  }
  const { settings } = command;
  const dropIn = gvproxyDropIn(settings);
  const log = settings.logFile === undefined ? undefined : openLog(settings.logFile);
  try {
    return await serve(dropIn.config, log === undefined ? terminal : logsTo(terminal, log), dropIn);
  } finally {
    if (log !== undefined) closeSync(log);
  }
}

/** Begins the file anew. Throws ERR_NETPROXY_CONFIG. */
function openLog(file: string): number {
  try {
    return openSync(file, 'w', 0o644);
  } catch (error) {
    throw usageError(`unable to open log file ${file}: ${(error as Error).message}`);
  }
}

/** The same terminal, whose logs go to a file. */
function logsTo(terminal: Terminal, log: number): Terminal {
  return {
    out: (text) => {
      terminal.out(text);
    },
    err: (text) => {
      writeSync(log, text);
    },
    color: { out: terminal.color.out, err: false },
  };
}
