/** `netproxy bind-helper`: binds privileged ports for a netproxy without privileges. */
import { chmodSync, readFileSync } from 'node:fs';
import { NetproxyError } from '../core/index.js';
import { bindUnix } from '../link/index.js';
import { BindServer, Hub, loadNative } from '../native/index.js';
import { EXIT, usageError } from './exit.js';
import { Lifecycle } from './lifecycle.js';
import { commandLogger } from './logger.js';
import type { Terminal } from './terminal.js';

export interface BindHelperOptions {
  readonly socket: string;
  readonly allowUser: readonly string[];
  readonly allowPorts: readonly string[];
}

const BACKLOG = 64;
const PRIVILEGED = '1-1023';

/** Serves until a signal. Throws ERR_NETPROXY_CONFIG, ERR_NETPROXY_NATIVE, ERR_NETPROXY_LISTEN. */
export async function bindHelper(options: BindHelperOptions, terminal: Terminal): Promise<number> {
  const users = new Set([0, process.geteuid?.() ?? 0, ...options.allowUser.map(uidOf)]);
  const texts = options.allowPorts.length === 0 ? [PRIVILEGED] : options.allowPorts;
  const ports = texts.flatMap((text) => text.split(',')).map(rangeOf);
  const { addon, reason } = loadNative();
  if (addon === undefined)
    throw new NetproxyError(
      'ERR_NETPROXY_NATIVE',
      `the bind helper needs the native addon, and there is none: ${reason}`,
      {
        remedy: 'Run npm run build:native (it needs cargo); netproxy doctor says more.',
      },
    );
  const logger = commandLogger({ version: 1 }, terminal, { level: 'info' });
  const hub = new Hub(addon);
  const life = new Lifecycle();
  try {
    const { handle, bound } = await bindUnix(options.socket, (file) => hub.poller.unixListen(file, BACKLOG));
    const server = new BindServer(hub, handle, { users, ports }, logger);
    // Anybody may connect: who it is the kernel says, and what it may get the rules.
    chmodSync(bound.path, 0o666);
    logger.info(`bind helper at ${bound.path} for users ${[...users].join(', ')}, ports ${texts.join(', ')}`);
    await life.ended;
    bound.release();
    server.close();
    return EXIT.ok;
  } finally {
    life.close();
    hub.close();
  }
}

/** A user id, or a name of /etc/passwd. */
function uidOf(text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${text}:`));
  const uid = line?.split(':')[2];
  if (uid === undefined)
    throw usageError(`--allow-user: there is no user "${text}"`, 'Give a name of /etc/passwd, or a number.');
  return Number(uid);
}

function rangeOf(text: string): { readonly first: number; readonly last: number } {
  const [, from, to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const [first, last] = [Number(from), Number(to)];
  if (first >= 1 && last >= first && last <= 65_535) return { first, last };
  throw usageError(`--allow-ports: "${text}" is no port and no range`, 'For example 80,443 or 1-1023.');
}
