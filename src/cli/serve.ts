/** `netproxy serve`: one network, its links and ports, until a signal. */
import { statSync } from 'node:fs';
import { NetproxyError } from '../core/index.js';
import { type Api, createApi, readToken } from '../api/index.js';
import { defaultApiAddress } from '../client/index.js';
import { type Config, type GuestConfig, type LinkConfig, networkConfig } from '../config/index.js';
import type { DropIn } from '../compat/index.js';
import { type Network, createNetwork } from '../index.js';
import { type LinkListener, type ListenKind, isListenKind, parseSshForward } from '../link/index.js';
import { printEvents } from './events.js';
import { EXIT, formatError, usageError } from './exit.js';
import { Lifecycle } from './lifecycle.js';
import { commandLevel, commandLogger } from './logger.js';
import { installMiddleware } from './middleware.js';
import { writePidFile } from './pid-file.js';
import { type Doors, readiness, tellReady } from './ready.js';
import type { Terminal } from './terminal.js';

/** How long flows may take to end after a signal, and all of the end, ms. */
const DRAIN = 400;
const STOP = 900;

type Undo = () => void | Promise<void>;

/**
 * Runs until it is told to end; returns the exit code. Rejects when it cannot begin; then nothing is left behind. `dropIn`: what
 * comes to the network that its configuration describes.
 */
export async function serve(config: Config, terminal: Terminal, dropIn?: DropIn): Promise<number> {
  if (dropIn === undefined) checkServe(config);
  const logLevel = commandLevel(config, 'info');
  const logger = commandLogger(config, terminal, logLevel);
  const life = new Lifecycle();
  // In the order in which they are undone.
  const undo: Undo[] = [];
  let why: string;
  try {
    if (config.exitWithParent === true) life.watchParent();
    const network = createNetwork({ ...networkConfig(config), ...dropIn?.extra }, { logger });
    undo.unshift(() => network.stop(DRAIN));
    if (config.json === true)
      printEvents(network, (line) => {
        terminal.out(line);
      });
    if (network.hub === undefined)
      logger.info(`without the native addon: ${network.nativeMissing ?? 'unknown'}`);
    const middleware = await installMiddleware(network, config, logger);
    undo.push(() => middleware.close());
    const token = config.tokenFile === undefined ? undefined : readToken(config.tokenFile, true);
    const shutdown = (): void => life.end('the control API was told to');
    const api = createApi(network, { logger, logLevel, shutdown }, token);
    undo.unshift(() => {
      api.close();
    });
    network.control = (socket) => api.serve(socket);
    if (config.guestApi === true) api.serveGuests();
    await network.start();
    if (dropIn !== undefined) {
      undo.unshift(() => dropIn.close());
      await dropIn.begin(network, logger);
    }
    const listeners = await openLinks(network, config);
    for (const text of config.sshForwards ?? []) {
      const { SshForward } = await import('../compat/index.js');
      const forward = await SshForward.open(network, parseSshForward(text), logger);
      undo.unshift(() => forward.close());
    }
    if (config.docker !== undefined) {
      const { DockerForward, networkHost } = await import('../compat/index.js');
      const docker = await DockerForward.open(config.docker, networkHost(network), logger);
      undo.unshift(() => docker.close());
      logger.info(`docker: clients at ${docker.address}`);
    }
    const doors = await openDoors(api, config, token);
    if (config.pidFile !== undefined)
      undo.push(writePidFile(config.pidFile, process.pid, dropIn === undefined ? '\n' : ''));
    const { subnet, gateway, hostAlias } = network.addresses;
    for (const { kind, address } of listeners) logger.info(`${kind} guests attach at ${address}`);
    for (const door of Object.values(doors)) logger.info(`control API at ${door}`);
    logger.info(`ready: network ${subnet}, gateway ${gateway}, host alias ${hostAlias ?? 'off'}`);
    if (config.readyFd !== undefined) tellReady(config.readyFd, readiness(network, listeners, doors));
    dropIn?.ready();
    // Without listeners nobody can come back: the last guest's end is ours. With only the control API the network stays.
    if (listeners.length === 0 && config.links !== undefined) endWithLastGuest(network, life);
    why = await life.ended;
    logger.info(`ending: ${why}`);
  } catch (error) {
    await unwind(undo);
    throw error;
  } finally {
    life.close();
  }
  return finish(undo, terminal);
}

/** Undoes everything in time: whoever asked for the end gets it, also where something hangs. */
async function finish(undo: readonly Undo[], terminal: Terminal): Promise<number> {
  const late = setTimeout(() => {
    terminal.err(`netproxy: not everything ended within ${STOP} ms; leaving the rest to the system.\n`);
    process.exit(EXIT.ok);
  }, STOP);
  // Another signal while we end: at once.
  const hurry = (): void => {
    process.exit(EXIT.signalled + 15);
  };
  process.on('SIGTERM', hurry).on('SIGINT', hurry);
  try {
    await unwind(undo);
    return EXIT.ok;
  } catch (error) {
    terminal.err(formatError(error));
    return EXIT.failure;
  } finally {
    clearTimeout(late);
    process.off('SIGTERM', hurry).off('SIGINT', hurry);
  }
}

async function unwind(undo: readonly Undo[]): Promise<void> {
  for (const step of undo) await step();
}

/** What the schema cannot see. */
export function checkServe(config: Config): void {
  const links = config.links ?? [];
  if (links.length === 0 && config.services === undefined && config.servicesReadOnly === undefined) {
    throw usageError(
      'no guest could attach: there is no link',
      'Give one, for example --qemu unix:/run/vm.sock; netproxy serve --help lists them.',
    );
  }
  const stdio = links.filter(({ kind }) => kind === 'stdio').length;
  if (stdio > 1) throw usageError('--stdio is there once: there is one standard input');
  if (stdio === 1 && config.json === true) {
    throw usageError(
      '--json and --stdio both want standard output',
      'Use --ready-fd, or a link on a socket.',
    );
  }
  const { docker } = config as { readonly docker?: Partial<NonNullable<Config['docker']>> };
  if (docker !== undefined && (docker.guestSock === undefined || docker.listen === undefined)) {
    throw usageError(
      'to forward an engine, netproxy must know where it is and where its clients come',
      'Give --docker-guest-sock and --docker-listen.',
    );
  }
  if (config.guestMac !== undefined && config.guestIp === undefined) {
    throw usageError('--mac needs --guest-ip: the address that is kept for it');
  }
}

function isListener(link: LinkConfig): link is Extract<LinkConfig, { kind: ListenKind }> {
  return isListenKind(link.kind);
}

/** Opens the doors of the control API; returns their addresses. */
async function openDoors(api: Api, config: Config, token: string | undefined): Promise<Doors> {
  const open = async (where: string | undefined, rights: 'full' | 'read'): Promise<string | undefined> => {
    if (where === undefined) return undefined;
    const address = where === 'default' ? defaultApiAddress() : where;
    if (address === undefined)
      throw usageError(
        'there is no default place for the control API',
        'Set XDG_RUNTIME_DIR, or name a path.',
      );
    return api.listen(address, { rights, ...(address.startsWith('tcp:') ? { token } : {}) });
  };
  const services = await open(config.services, 'full');
  const servicesReadOnly = await open(config.servicesReadOnly, 'read');
  return { ...(services && { services }), ...(servicesReadOnly && { servicesReadOnly }) };
}

/** Opens every link; returns those that listen (or dial again and again). */
async function openLinks(network: Network, config: Config): Promise<LinkListener[]> {
  const listeners: LinkListener[] = [];
  for (const link of config.links ?? []) {
    const guest: GuestConfig = link.guest ?? {};
    if (isListener(link)) listeners.push(await network.listenLinks(link.kind, link.address, guest));
    else if (link.kind === 'tap')
      network.openTap(
        {
          name: link.interface,
          netns: link.netns === undefined ? undefined : namespacePath(link.netns),
          // A bad cable carries frames of the wire, not super-segments.
          offloads: config.faults === undefined,
        },
        guest,
      );
    else if (link.kind === 'tap-fd') network.adoptTap(link.fd, guest);
    else if (link.kind === 'stdio') network.attachStdio(guest);
    else await network.accept(link.fd, { framing: link.framing, ...guest });
  }
  return listeners;
}

/** Names are those of `ip netns`. Throws ERR_NETPROXY_NAMESPACE when there is none. */
export function namespacePath(name: string): string {
  const path = name.includes('/') ? name : `/run/netns/${name}`;
  try {
    statSync(path);
    return path;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'it does not exist' : (error as Error).message;
    throw new NetproxyError('ERR_NETPROXY_NAMESPACE', `cannot enter the network namespace ${name}: ${why}`, {
      cause: error,
      remedy: 'Give a name that "ip netns list" shows, or a path such as /proc/PID/ns/net.',
    });
  }
}

function endWithLastGuest(network: Network, life: Lifecycle): void {
  const look = (): void => {
    if (network.guests().length === 0) life.end('the last guest left, and no link can bring another');
  };
  network.on('detached', look);
  look();
}
