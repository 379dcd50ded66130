/**
 * The bind helper: binds ports for processes that may not, and hands them the sockets (SCM_RIGHTS).
 *
 * Theory of operation. Whoever connects is known by the kernel's word (SO_PEERCRED), not by its own. It asks once, in one line of
 * JSON; users, ports and the form are checked; the socket is bound, sent and forgotten here. A connection that says nothing within
 * PATIENCE is closed; there are at most MAX_CLIENTS.
 */
import { closeSync } from 'node:fs';
import { isIP } from 'node:net';
import type { Logger } from '../core/index.js';
import { listenError } from '../host/index.js';
import type { BindAnswer, BindRequest } from './bind-client.js';
import { READ, errnoName } from './constants.js';
import type { Hub } from './hub.js';

export const MAX_CLIENTS = 64;
const PATIENCE = 5000;
const BACKLOG = 4096;

type Refusal = Exclude<BindAnswer, { readonly ok: true }>;

export interface BindRules {
  /** User ids that may ask. */
  readonly users: ReadonlySet<number>;
  readonly ports: readonly { readonly first: number; readonly last: number }[];
}

export class BindServer {
  private readonly hub: Hub;
  private readonly listener: number;
  private readonly rules: BindRules;
  private readonly logger: Logger;
  private readonly clients = new Map<number, NodeJS.Timeout>();

  /** `listener`: a handle of a unix socket that listens; it is closed with the server. */
  constructor(hub: Hub, listener: number, rules: BindRules, logger: Logger) {
    this.hub = hub;
    this.listener = listener;
    this.rules = rules;
    this.logger = logger;
    hub.watch(listener, () => {
      this.accept();
    });
  }

  close(): void {
    this.hub.unwatch(this.listener);
    this.hub.poller.closeHandle(this.listener);
    for (const client of [...this.clients.keys()]) this.drop(client);
  }

  private accept(): void {
    const { hub } = this;
    for (let n = 0; n < MAX_CLIENTS; n++) {
      const client = hub.poller.accept(this.listener, 0);
      if (client < 0) return;
      if (this.clients.size >= MAX_CLIENTS) {
        hub.poller.closeHandle(client);
        continue;
      }
      const late = setTimeout(() => {
        this.drop(client);
      }, PATIENCE);
      this.clients.set(client, late.unref());
      hub.watch(
        client,
        () => {
          void this.serve(client);
        },
        'a client of the bind helper',
      );
      hub.poller.interest(client, READ);
    }
  }

  private async serve(client: number): Promise<void> {
    const { poller } = this.hub;
    this.hub.unwatch(client);
    const { count, text, descriptor } = poller.receiveDescriptor(client);
    if (descriptor >= 0) closeSync(descriptor);
    if (count > 0) {
      const user = poller.peerCredentials(client);
      const request = requestOf(text);
      const refusal = this.refusal(user?.uid, request);
      const who = `user ${user?.uid ?? 'unknown'} (pid ${user?.pid ?? 'unknown'})`;
      if (request === undefined || refusal !== undefined) {
        this.logger.warn(`refused ${who}: ${refusal?.message ?? ''}`);
        if (refusal !== undefined) this.answer(client, 0, refusal);
      } else await this.bind(client, request, who);
    }
    this.drop(client);
  }

  private refusal(uid: number | undefined, request: BindRequest | undefined): Refusal | undefined {
    const { users, ports } = this.rules;
    if (uid === undefined || !users.has(uid))
      return {
        errno: 'EACCES',
        message: `permission denied, also by the bind helper: user ${uid ?? 'unknown'} may not ask it`,
      };
    if (request === undefined) return { errno: 'EINVAL', message: 'the bind helper does not know that form' };
    const { port } = request;
    if (ports.some(({ first, last }) => port >= first && port <= last)) return undefined;
    return {
      errno: 'EACCES',
      message: `permission denied, also by the bind helper: port ${port} is none of its ports`,
    };
  }

  private async bind(client: number, { protocol, host, port }: BindRequest, who: string): Promise<void> {
    const { poller } = this.hub;
    const v6 = host.includes(':');
    const bound =
      protocol === 'tcp' ? poller.tcpListen(host, port, BACKLOG, true) : poller.udpOpen(host, port, v6);
    if (bound < 0) {
      const errno = errnoName(bound);
      const { message } = await listenError(protocol, host, port, errno, undefined);
      this.answer(client, 0, { errno, message: message.replace(/^cannot publish \S+ \S+: /, '') });
      return;
    }
    this.answer(client, bound, { ok: true });
    poller.closeHandle(bound);
    this.logger.info(`bound ${protocol} ${v6 ? `[${host}]` : host}:${port} for ${who}`);
  }

  private answer(client: number, bound: number, answer: BindAnswer): void {
    this.hub.poller.sendDescriptor(client, bound, `${JSON.stringify(answer)}\n`);
  }

  private drop(client: number): void {
    clearTimeout(this.clients.get(client));
    if (!this.clients.delete(client)) return;
    this.hub.unwatch(client);
    this.hub.poller.closeHandle(client);
  }
}

/** Undefined: it is none. */
function requestOf(text: string): BindRequest | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { protocol, host, port } = value as Record<string, unknown>;
  if ((protocol !== 'tcp' && protocol !== 'udp') || typeof host !== 'string' || isIP(host) === 0)
    return undefined;
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined;
  return { protocol, host, port };
}
