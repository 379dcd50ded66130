/** Asks a bind helper (bind-server.ts) for a port that this process may not bind by itself. */
import { closeSync } from 'node:fs';
import { NetproxyError } from '../core/index.js';
import { ERR, HUP, READ, errnoName } from './constants.js';
import type { Hub } from './hub.js';

/** What is asked for; the helper answers in `BindAnswer`, with the descriptor where it is one. One of each per connection. */
export interface BindRequest {
  readonly protocol: 'tcp' | 'udp';
  /** An IP address. */
  readonly host: string;
  readonly port: number;
}

export type BindAnswer = { readonly ok: true } | { readonly errno: string; readonly message: string };

/** How long the helper may take, ms. */
const PATIENCE = 5000;

/** Resolves with a handle: of a listener, or of a UDP socket. Rejects with ERR_NETPROXY_PUBLISH. */
export async function bindByHelper(hub: Hub, path: string, request: BindRequest): Promise<number> {
  const { poller } = hub;
  const { protocol, host, port } = request;
  const failed = (errno: string, why: string): NetproxyError => {
    const where = `${protocol} ${host.includes(':') ? `[${host}]` : host}:${port}`;
    const message = `cannot publish ${where}: ${why}`;
    const remedy = `See what the bind helper at ${path} allows (netproxy bind-helper --help), or use a port from 1024 up.`;
    return new NetproxyError('ERR_NETPROXY_PUBLISH', message, { errno, remedy });
  };
  const connection = poller.unixConnect(path);
  if (connection < 0) {
    const errno = errnoName(connection);
    throw failed('EACCES', `permission denied, and no bind helper answers at ${path} (${errno})`);
  }
  try {
    poller.sendDescriptor(connection, 0, `${JSON.stringify(request)}\n`);
    await readable(hub, connection);
    const { count, text, descriptor } = poller.receiveDescriptor(connection);
    const answer = count > 0 ? answerOf(text) : undefined;
    if (descriptor >= 0 && answer !== undefined && 'ok' in answer) {
      const handle =
        protocol === 'tcp' ? poller.adoptListener(descriptor, false) : poller.adoptUdp(descriptor);
      if (handle >= 0) return handle;
      throw failed(errnoName(handle), 'what the bind helper sent is no socket of that kind');
    }
    if (descriptor >= 0) closeSync(descriptor);
    if (answer === undefined || 'ok' in answer) throw failed('EACCES', 'the bind helper did not answer');
    throw failed(answer.errno, answer.message);
  } finally {
    poller.closeHandle(connection);
  }
}

/** Resolves when there is something to read, or PATIENCE is over. */
function readable(hub: Hub, connection: number): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(late);
      hub.unwatch(connection);
      resolve();
    };
    const late = setTimeout(done, PATIENCE);
    hub.watch(
      connection,
      (events) => {
        if ((events & (READ | ERR | HUP)) !== 0) done();
      },
      'a question to the bind helper',
    );
    hub.poller.interest(connection, READ);
  });
}

function answerOf(text: string): BindAnswer | undefined {
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value !== 'object' || value === null) return undefined;
    const { ok, errno, message } = value as Record<string, unknown>;
    if (ok === true) return { ok };
    return typeof errno === 'string' && typeof message === 'string' ? { errno, message } : undefined;
  } catch {
    return undefined;
  }
}
