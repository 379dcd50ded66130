/**
 * A container engine's API, forwarded out of the machine that the engine runs in, and the ports of its containers on the host.
 *
 * Theory of operation. Clients come to a unix socket of ours; each has its own connection to the engine (connection.ts). Beside
 * them a watcher follows what containers do (watch.ts), and their ports are published and withdrawn (published.ts). A start that
 * comes through the socket is looked at first: its ports are bound, and where one is taken the engine does not get it.
 *
 * Limit: MAX_CLIENTS at once; the next ones are closed.
 */
import { type Server, type Socket, createServer } from 'node:net';
import { type Logger, NetproxyError } from '../../core/index.js';
import { type BoundServer, bindServer, parseDoor, parseEnginePlace } from '../../link/index.js';
import { GoError } from '../go-values.js';
import { ApiConnection, type Intercept, type OwnAnswer } from './connection.js';
import { Engine } from './engine.js';
import { type GuestDialer, dialer } from './place.js';
import { type DockerPort, type PortHost, PublishedPorts, type PublishedOptions } from './published.js';
import { Watch } from './watch.js';

export const MAX_CLIENTS = 1024;
const START = /^POST (?:\/v[\d.]+)?\/containers\/([^/?\s]+)\/(?:re)?start(?:\?\S*)? HTTP\//;
const LIST = /^GET \/netproxy\/ports HTTP\//;

export interface DockerSettings {
  /** Where the engine is; see `parseEnginePlace`. */
  readonly guestSock: string;
  /** Where its clients come: a unix socket of the host. */
  readonly listen: string;
  /** Address of the host for ports that are not bound to loopback. */
  readonly hostIp?: string | undefined;
  /** The guest that the engine is in, by name. */
  readonly guest?: string | undefined;
}

/** The network that the engine's machine is a guest of. */
export interface DockerHost extends PortHost, GuestDialer {
  /** `lost` is called when what was published is gone, and there is a network again. */
  onLost(lost: () => void): void;
  /** Whether an address is one of the guests'. */
  contains(ip: string): boolean;
  close(): Promise<void> | void;
}

export class DockerForward {
  private readonly host: DockerHost;
  private readonly logger: Logger;
  private readonly engine: Engine;
  private readonly ports: PublishedPorts;
  private readonly watch: Watch;
  private readonly dial: () => ReturnType<ReturnType<typeof dialer>>;
  private readonly clients = new Set<Socket>();
  private readonly server: Server;
  private bound: BoundServer | undefined;

  private constructor(settings: DockerSettings, host: DockerHost, logger: Logger) {
    const place = parseEnginePlace(settings.guestSock);
    this.host = host;
    this.logger = logger;
    this.dial = dialer(place, host);
    this.engine = new Engine(this.dial);
    const options = { hostIp: settings.hostIp, guest: guestOf(settings, place, host) };
    this.ports = new PublishedPorts(host, options, logger);
    this.watch = new Watch(this.engine, this.ports, logger);
    this.ports.look = (id) => this.watch.look(id);
    host.onLost(() => {
      this.ports.lost();
      this.watch.lookAtAll().catch((error: unknown) => logger.warn(`docker: ${(error as Error).message}`));
    });
    this.server = createServer({ allowHalfOpen: true }, (client) => {
      this.clients.add(client);
      client.once('close', () => this.clients.delete(client));
      void new ApiConnection(client, this.connectionHost()).serve();
    });
    this.server.maxConnections = MAX_CLIENTS;
  }

  /** Listens, and follows the engine as soon as it is there. Rejects with ERR_NETPROXY_LISTEN or ERR_NETPROXY_CONFIG. */
  static async open(settings: DockerSettings, host: DockerHost, logger: Logger): Promise<DockerForward> {
    const address = parseDoor(settings.listen, "the engine's API");
    if (address.transport !== 'unix')
      throw new NetproxyError(
        'ERR_NETPROXY_CONFIG',
        `the engine's API cannot be forwarded to ${settings.listen}`,
        {
          remedy: 'Name a unix socket: whoever reaches it has all rights in the machine of the engine.',
        },
      );
    const forward = new DockerForward(settings, host, logger);
    try {
      forward.bound = await bindServer(forward.server, address);
    } catch (error) {
      await forward.close();
      throw error;
    }
    forward.server.on('error', (error) => logger.warn(`${settings.listen}: ${error.message}`));
    forward.watch.start();
    return forward;
  }

  /** Where clients come, for DOCKER_HOST. */
  get address(): string {
    return (this.bound?.address ?? '').replace(/^unix:/, 'unix://');
  }

  list(): readonly DockerPort[] {
    return this.ports.list();
  }

  /** Withdraws the ports and closes the socket. Idempotent. */
  async close(): Promise<void> {
    this.bound?.release();
    this.server.close();
    for (const client of this.clients) client.destroy();
    await this.watch.close();
    await this.ports.close();
    await this.host.close();
  }

  private connectionHost() {
    const { dial, logger } = this;
    return { dial, logger, intercept: (line: string) => this.intercept(line) };
  }

  private intercept(line: string): Intercept | undefined {
    if (LIST.test(line))
      return {
        before: () => Promise.resolve({ status: '200 OK', body: this.list() }),
        after: () => Promise.resolve(),
      };
    const name = START.exec(line)?.[1];
    return name === undefined ? undefined : this.start(name);
  }

  /** What comes around a start: its ports before it, and those that the engine chose behind it. */
  private start(name: string): Intercept {
    let held: string | undefined;
    return {
      before: async () => {
        try {
          const container = await this.engine.inspect(decodeURIComponent(name));
          // Nothing of that name, or nothing to do: the engine says so.
          if (container === undefined) return undefined;
          await this.ports.hold(container);
          held = container.id;
          return undefined;
        } catch (error) {
          if (error instanceof GoError) return this.refuse(name, error);
          this.logger.warn(
            `docker: a start of ${name.slice(0, 64)} was not looked at: ${(error as Error).message}`,
          );
          return undefined;
        }
      },
      after: async () => {
        if (held === undefined) return;
        this.ports.unhold(held);
        // Whether it runs now, and at which ports, the engine knows best.
        await this.watch.look(held);
      },
    };
  }

  private refuse(name: string, { message }: Error): OwnAnswer {
    this.logger.warn(`docker: ${name.slice(0, 64)} was not started: ${message}`);
    return { status: '500 Internal Server Error', body: { message } };
  }
}

/** The guest by its name, else by the address at which the engine is; else the first one. */
function guestOf(
  { guest }: DockerSettings,
  place: ReturnType<typeof parseEnginePlace>,
  host: DockerHost,
): NonNullable<PublishedOptions['guest']> {
  if (guest !== undefined) return { guest };
  return place.transport === 'tcp' && host.contains(place.host) ? { guestIp: place.host } : {};
}
