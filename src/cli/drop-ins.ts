/** The commands that stand in for other programs. They take those programs' flags, which commander does not know. */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Command } from 'commander';
import { packageVersion } from '../api/index.js';
import { GVPROXY_FLAGS, goUsage, gvproxyDropIn, parseGvproxy } from '../compat/index.js';
import { EXIT, usageError } from './exit.js';
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
  raw(
    program,
    'gvproxy',
    'what gvproxy does, with its flags and its API',
    (argv) => gvproxy(argv, terminal),
    done,
  );
}

async function gvproxy(argv: readonly string[], terminal: Terminal): Promise<number> {
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
