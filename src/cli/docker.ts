/** `netproxy docker`: a container engine's API out of its machine, and its containers' ports on the host. */
import { request } from 'node:http';
import { json } from 'node:stream/consumers';
import { type Command, Option } from 'commander';
import type { DockerPort, DockerSettings } from '../compat/index.js';
import { type Config, checkFlag, dockerSchema, field } from '../config/index.js';
import { NetproxyError } from '../core/index.js';
import { parseDoor } from '../link/index.js';
import { Collected } from './collect.js';
import { EXIT, EXIT_HELP, usageError } from './exit.js';
import { add, logFlags } from './flags.js';
import { Lifecycle } from './lifecycle.js';
import { commandLevel, commandLogger } from './logger.js';
import { type RemoteOptions, remoteFlags, withClient } from './remote.js';
import type { Done } from './remote-commands.js';
import { printList } from './remote-lists.js';
import type { Column } from './table.js';
import type { Terminal } from './terminal.js';

const { shape } = dockerSchema;

/** Key of the configuration, flag, value, description. */
const FLAGS = [
  [
    'guestSock',
    'guest-sock',
    'place',
    'container engine: unix:/PATH, tcp:HOST:PORT, tcp:IP:PORT of a guest, hybrid:/PATH:PORT',
  ],
  [
    'listen',
    'listen',
    'path',
    'unix socket at which docker finds that engine; the ports of its containers come to this host',
  ],
  [
    'hostIp',
    'host-ip',
    'ip',
    'address of the host for ports that -p does not bind to loopback (default: as -p says)',
  ],
  ['guest', 'guest', 'name', 'guest that the engine is in (default: the one at its address, else the first)'],
] as const;

/** What `serve` takes to do the same for a network of its own. */
export function dockerFlags(command: Command, to: Collected): void {
  command.optionsGroup('Containers (docs/docker.md):');
  for (const [key, name, value, description] of FLAGS) {
    add(command, `--docker-${name} <${value}>`, description, (text, flag) => {
      to.docker[key] = to.check(flag, shape[key], text) as string;
    });
  }
}

interface DockerOptions extends RemoteOptions {
  readonly guestSock?: string;
  readonly listen?: string;
  readonly hostIp?: string;
  readonly guest?: string;
}

export function dockerCommand(program: Command, terminal: Terminal, done: Done): void {
  const to = new Collected();
  const command = program
    .command('docker')
    .description("forward a container engine's API out of its guest, and publish its containers' ports")
    .usage('--guest-sock PLACE --listen PATH [options] | ports PATH');
  for (const [, name, value, description] of FLAGS)
    command.addOption(new Option(`--${name} <${value}>`, description));
  remoteFlags(command, undefined);
  logFlags(command, to, 'info');
  command.addHelpText(
    'after',
    `
Examples:
  netproxy docker --guest-sock tcp:192.168.127.2:2375 --listen /run/user/1000/docker.sock
  netproxy docker --guest-sock /run/vm/docker.sock --listen /tmp/docker.sock --host-ip 127.0.0.1
  docker -H unix:///tmp/docker.sock run -d -p 8080:80 nginx
  netproxy docker ports /tmp/docker.sock

It needs a netproxy serve with --services; netproxy serve --docker-listen does the same in one process.
${EXIT_HELP}`,
  );
  command.action(async (options: DockerOptions) => {
    done(await docker(to.settle(), options, terminal));
  });
  command
    .command('ports')
    .description('list the ports of containers that are published, and those that could not be had')
    .argument('<path>', 'the socket of --listen')
    .option('--json', 'one JSON object per port')
    .addHelpText('after', `\nExample:\n  netproxy docker ports /tmp/docker.sock\n${EXIT_HELP}`)
    .action(async (path: string, options: RemoteOptions) => {
      done(await dockerPorts(path, options, terminal));
    });
}

async function docker(config: Config, options: DockerOptions, terminal: Terminal): Promise<number> {
  const settings = settingsOf(options);
  const logger = commandLogger(config, terminal, commandLevel(config, 'info'));
  const { DockerForward, apiHost } = await import('../compat/index.js');
  return withClient(options, async (client) => {
    const host = await apiHost(client);
    const life = new Lifecycle();
    try {
      const forward = await DockerForward.open(settings, host, logger);
      logger.info(`docker: clients at ${forward.address}`);
      logger.info(`ending: ${await life.ended}`);
      await forward.close();
      return EXIT.ok;
    } finally {
      life.close();
    }
  });
}

function settingsOf({ guestSock, listen, hostIp, guest }: DockerOptions): DockerSettings {
  if (guestSock === undefined || listen === undefined)
    throw usageError(
      'netproxy docker must know where the engine is and where its clients come',
      'Give --guest-sock and --listen; netproxy docker --help has examples.',
    );
  return {
    guestSock: checkFlag('--guest-sock', shape.guestSock, guestSock),
    listen: checkFlag('--listen', shape.listen, listen),
    ...(hostIp === undefined ? {} : { hostIp: checkFlag('--host-ip', field.hostIp, hostIp) }),
    ...(guest === undefined ? {} : { guest: checkFlag('--guest', field.guestName, guest) }),
  };
}

const PORTS: readonly Column<DockerPort>[] = [
  ['CONTAINER', ({ container }) => container.slice(0, 12)],
  ['NAME', ({ name }) => name],
  ['PROTO', ({ protocol }) => protocol],
  ['HOST', ({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`],
  ['STATE', ({ state, reason }) => (reason === undefined ? state : `${state}: ${reason}`)],
];

async function dockerPorts(where: string, options: RemoteOptions, terminal: Terminal): Promise<number> {
  const address = parseDoor(checkFlag('docker ports', field.unixSocket, where));
  const list = await ask(address.transport === 'unix' ? address.path : where);
  await printList(each(list), PORTS, options, terminal);
  return EXIT.ok;
}

async function* each<T>(list: readonly T[]): AsyncGenerator<T> {
  for (const one of list) yield await Promise.resolve(one);
}

function ask(socketPath: string): Promise<readonly DockerPort[]> {
  const failed = (why: string): NetproxyError =>
    new NetproxyError('ERR_NETPROXY_DIAL', `no netproxy docker at ${socketPath}: ${why}`, {
      remedy: 'Name the socket of --listen.',
    });
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path: '/netproxy/ports', agent: false }, (response) => {
      if (response.statusCode === 200) json(response).then((list) => resolve(list as DockerPort[]), reject);
      else reject(failed(`it answered with status ${response.statusCode}`));
    });
    sent.once('error', (error) => {
      reject(failed(error.message));
    });
    sent.end();
  });
}
