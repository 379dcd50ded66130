/**
 * `netproxy run -- CMD`: a command in a network namespace of its own whose only way out is a TAP on netproxy. Without root
 * the namespace belongs to a user namespace. The command has our standard streams and our place in the terminal; its
 * exit code becomes ours.
 */
import { constants } from 'node:os';
import { NetproxyError, parseCidr, parseIpv4 } from '../core/index.js';
import { type Config, networkConfig } from '../config/index.js';
import { type Network, createNetwork } from '../index.js';
import { CHILD_SIGNALED, type Poller, errnoName } from '../native/index.js';
import { EXIT, usageError } from './exit.js';
import { type HostFacts, hostFacts } from './host-facts.js';
import { commandLevel, commandLogger } from './logger.js';
import { installMiddleware } from './middleware.js';
import { explainTrouble } from './namespace-trouble.js';
import type { Terminal } from './terminal.js';

/** We own the guest's interface and there are no offloads: the largest packets cost least. */
export const RUN_MTU = 65_520;
const TAP_NAME = 'tap0';
/** Frames: a guest's bursts fit. */
const TX_QUEUE = 10_000;
/** How long flows may take to end after the command, ms. */
const DRAIN = 200;

export interface RunOptions {
  /** false: /etc/resolv.conf stays the host's. */
  readonly dns: boolean;
  /** The command sees itself as root (only without root; as root it is root anyway). */
  readonly mapRoot: boolean;
}

const SERVE_KEYS = [
  'links',
  'services',
  'servicesReadOnly',
  'tokenFile',
  'pidFile',
  'readyFd',
  'json',
  'exitWithParent',
  'docker',
  'sshForwards',
] as const;

/** The configuration with what `run` assumes; throws ERR_NETPROXY_CONFIG for keys that only `serve` has. */
export function runConfig(config: Config): Config {
  const foreign = SERVE_KEYS.filter((key) => config[key] !== undefined);
  if (foreign.length > 0)
    throw usageError(
      `netproxy run has no use for ${foreign.join(', ')}`,
      'Leave it out, or use netproxy serve.',
    );
  return { ...config, hostAlias: config.hostAlias ?? 'off', mtu: config.mtu ?? RUN_MTU };
}

/** Runs the command to its end; returns the exit code. */
export async function run(
  given: Config,
  command: readonly string[],
  options: RunOptions,
  terminal: Terminal,
): Promise<number> {
  const config = runConfig(given);
  const logger = commandLogger(config, terminal, commandLevel(config, 'warn'));
  const network = createNetwork(networkConfig(config), { logger });
  try {
    const middleware = await installMiddleware(network, config, logger);
    try {
      await network.start();
      return await runIn(network, config, command, options, terminal);
    } finally {
      await network.stop(DRAIN);
      await middleware.close();
    }
  } finally {
    await network.stop(0);
  }
}

/** What `spawnNamespace` made: the guest is attached, the command waits for `go`. */
export interface NamespaceChild {
  readonly pid: number;
  /** Lets the command run; the errno name when it cannot be executed. */
  go(): string | undefined;
  /** Its exit code, or 128 and the signal. */
  readonly exited: Promise<number>;
  kill(signal: NodeJS.Signals): void;
}

export interface NamespaceOptions extends RunOptions {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly mac?: string | undefined;
  /** false: the guest gets its address by DHCP. Default true. */
  readonly configured?: boolean;
}

/** Makes the namespace and attaches its TAP. Throws ERR_NETPROXY_NATIVE or ERR_NETPROXY_NAMESPACE. */
export function spawnNamespace(
  network: Network,
  options: NamespaceOptions,
  facts: HostFacts = hostFacts,
): NamespaceChild {
  const { hub } = network;
  if (hub === undefined) {
    throw new NetproxyError(
      'ERR_NETPROXY_NATIVE',
      `a namespace needs the native addon, and there is none: ${network.nativeMissing ?? 'unknown'}`,
      {
        remedy: 'Run npm run build:native (it needs cargo); netproxy doctor says more.',
      },
    );
  }
  const poller: Poller = hub.poller;
  const { subnet, gateway, guest, mtu } = network.addresses;
  const configured = options.configured ?? true;
  const result = poller.spawnInNetns({
    argv: options.command,
    env: Object.entries(options.env ?? process.env).flatMap(([name, value]) =>
      value === undefined ? [] : [`${name}=${value}`],
    ),
    cwd: process.cwd(),
    tapName: TAP_NAME,
    mtu,
    mac: options.mac ?? '',
    guestIp: configured ? parseIpv4(guest)! : 0,
    prefix: parseCidr(subnet)!.prefix,
    gatewayIp: configured ? parseIpv4(gateway)! : 0,
    vnetHeader: true,
    offloads: true,
    txQueueLength: TX_QUEUE,
    resolvConf: options.dns ? `nameserver ${gateway}\n` : '',
    userNamespace: !facts.isRoot,
    insideUid: options.mapRoot ? 0 : (process.geteuid?.() ?? 0),
    insideGid: options.mapRoot ? 0 : (process.getegid?.() ?? 0),
    hideNameDaemons: options.dns,
  });
  if (result.errno !== 0) throw namespaceError(result.step, errnoName(result.errno), facts);
  network.attachTapHandle(result.tap, { ...(configured ? { ip: guest } : {}) });
  const exited = new Promise<number>((resolve) => {
    hub.watch(result.child, () => {
      const status = poller.childStatus(result.child);
      if (status < 0) return;
      hub.unwatch(result.child);
      poller.closeHandle(result.child);
      resolve(status >= CHILD_SIGNALED ? EXIT.signalled + status - CHILD_SIGNALED : status);
    });
  });
  return {
    pid: result.pid,
    go: () => {
      const outcome = poller.spawnGo(result.child);
      return outcome < 0 ? errnoName(outcome) : undefined;
    },
    exited,
    kill: (signal) => {
      poller.kill(result.child, constants.signals[signal]);
    },
  };
}

function namespaceError(step: string, errno: string, facts: HostFacts): NetproxyError {
  const { why, remedy } = explainTrouble(step, errno, facts);
  return new NetproxyError('ERR_NETPROXY_NAMESPACE', `cannot make a network namespace: ${why}`, {
    remedy,
    errno,
  });
}

async function runIn(
  network: Network,
  config: Config,
  command: readonly string[],
  options: RunOptions,
  terminal: Terminal,
): Promise<number> {
  const child = spawnNamespace(network, { ...options, command, mac: config.guestMac });
  const forwarding = forwardSignals(child);
  try {
    const failed = child.go();
    if (failed === undefined) return await child.exited;
    const [program = ''] = command;
    const missing = failed === 'ENOENT' || failed === 'ENOTDIR';
    terminal.err(
      `netproxy: cannot run ${program}: ${missing ? 'command not found' : `it cannot be executed (${failed})`}.\n`,
    );
    return missing ? EXIT.notFound : EXIT.notExecutable;
  } finally {
    forwarding.stop();
  }
}

/** Signals that a terminal sends to everybody in the foreground: the command has those already. */
const KEYBOARD: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT'];
const FORWARDED: readonly NodeJS.Signals[] = [
  ...KEYBOARD,
  'SIGTERM',
  'SIGHUP',
  'SIGUSR2',
  'SIGCONT',
  'SIGWINCH',
];

function forwardSignals(child: NamespaceChild, facts: HostFacts = hostFacts): { stop(): void } {
  const handlers = FORWARDED.map((signal) => {
    const handler = (): void => {
      if (KEYBOARD.includes(signal) && inForeground(facts.read('/proc/self/stat') ?? '')) return;
      child.kill(signal);
    };
    process.on(signal, handler);
    return { signal, handler };
  });
  return {
    stop: () => {
      for (const { signal, handler } of handlers) process.off(signal, handler);
    },
  };
}

/** Whether our process group is the one that the terminal's keys go to (pgrp and tpgid of proc(5)). */
export function inForeground(stat: string): boolean {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [, , group, , , foreground] = fields;
  return group !== undefined && group === foreground;
}
