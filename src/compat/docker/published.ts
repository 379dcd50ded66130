/**
 * The ports of containers, published on the host.
 *
 * Theory of operation. `settle` makes a container's published ports what they should be; calls about one container follow each
 * other. What cannot be had is remembered with the reason and tried again at the next occasion. Between `hold` and the
 * engine's answer to a start, an end of the container that is told takes nothing away.
 *
 * Limits: MAX_PORTS of all containers together, MAX_CONTAINERS.
 */
import { isIP } from 'node:net';
import { type Logger, NetproxyError } from '../../core/index.js';
import type { PublishSpec } from '../../forwarder/index.js';
import { bindError, outside } from '../bind-error.js';
import { GoError } from '../go-values.js';
import { type Binding, type Container, MAX_PORTS } from './container.js';

export const MAX_CONTAINERS = 4096;

/** Where ports are published: a network in this process, or one behind its control API. */
export interface PortHost {
  /** `gone` is called when somebody else withdrew it. Rejects with a NetproxyError. */
  publish(spec: PublishSpec, gone: () => void): Promise<OpenPort>;
}

export interface OpenPort {
  close(): Promise<void> | void;
}

export interface PublishedOptions {
  /** Address of the host for ports that are not bound to loopback; undefined: as `-p` says. */
  readonly hostIp?: string | undefined;
  /** Which guest the engine is in: its name or its address; neither: the first one. */
  readonly guest?: Pick<PublishSpec, 'guest' | 'guestIp'>;
}

/** One port as the list shows it: `GET /netproxy/ports` at the forwarded socket. */
export interface DockerPort {
  readonly container: string;
  readonly name: string;
  readonly protocol: 'tcp' | 'udp';
  /** Address of the host; `*`: all of IPv4 and IPv6. */
  readonly host: string;
  readonly port: number;
  readonly state: 'published' | 'failed';
  /** Why it failed. */
  readonly reason?: string;
}

interface Held {
  readonly spec: PublishSpec;
  /** Undefined: it failed. */
  open: OpenPort | undefined;
  reason: string | undefined;
}

interface Entry {
  readonly id: string;
  name: string;
  readonly ports: Map<string, Held>;
  /** Starts under way. */
  holds: number;
  /** Who works on it, or waits to. */
  users: number;
  /** What is done about it now. */
  work: Promise<void>;
}

/** A container of ours holds the port. */
class TakenError extends GoError {
  readonly holder: string;

  constructor(message: string, holder: string) {
    super(message);
    this.holder = holder;
  }
}

const ALL: ReadonlySet<string> = new Set(['', '0.0.0.0', '::', '*']);
const keyOf = ({ protocol, hostIp, hostPort }: PublishSpec): string => `${protocol} ${hostIp} ${hostPort}`;

export class PublishedPorts {
  private readonly host: PortHost;
  private readonly options: PublishedOptions;
  private readonly logger: Logger;
  private readonly entries = new Map<string, Entry>();
  private closed = false;
  /** Has a container's ports follow what it does now. */
  look: (id: string) => Promise<void> = () => Promise.resolve();

  constructor(host: PortHost, options: PublishedOptions, logger: Logger) {
    this.host = host;
    this.options = options;
    this.logger = logger;
  }

  list(): DockerPort[] {
    return [...this.entries.values()].flatMap(({ id, name, ports }) =>
      [...ports.values()].map(({ spec: { protocol, hostIp, hostPort }, open, reason }) => ({
        container: id,
        name,
        protocol,
        host: hostIp,
        port: hostPort,
        state: open === undefined ? ('failed' as const) : ('published' as const),
        ...(reason === undefined ? {} : { reason }),
      })),
    );
  }

  /** Ids of containers that have ports. */
  containers(): string[] {
    return [...this.entries.keys()];
  }

  /** Publishes what is known before a start, all or nothing. Rejects with a GoError whose message is for the CLI. Then `unhold`. */
  async hold(container: Container): Promise<void> {
    const entry = this.entryOf(container);
    entry.holds++;
    // One that runs already keeps what it has; nothing is to be refused.
    const wanted = container.running ? container.all : container.fixed;
    const all = (): Promise<void> => this.queued(entry, () => this.apply(entry, wanted, !container.running));
    try {
      await all().catch(async (error: unknown) => {
        if (!(error instanceof TakenError)) throw error;
        // Its end may not have been told yet.
        await this.look(error.holder);
        await all();
      });
    } catch (error) {
      this.unhold(container.id);
      throw error;
    }
  }

  /** The start that was held for is decided. */
  unhold(id: string): void {
    const entry = this.entries.get(id);
    if (entry === undefined) return;
    entry.holds--;
    this.forgetEmpty(entry);
  }

  /** Makes the container's ports what it has now; one that does not run has none. Never rejects. */
  async settle(container: Container): Promise<void> {
    const { id, running, all, foreign, name } = container;
    if (!running) {
      await this.release(id);
      return;
    }
    for (const port of foreign)
      this.logger.warn(`docker: port ${port} of ${name} is not forwarded: only tcp and udp are`);
    const entry = this.entryOf(container);
    await this.queued(entry, () => this.apply(entry, all, false));
  }

  /** Withdraws the container's ports, unless it is being started. Never rejects. */
  async release(id: string): Promise<void> {
    const entry = this.entries.get(id);
    if (entry === undefined || entry.holds > 0) return;
    await this.queued(entry, () => this.apply(entry, [], false));
  }

  /** What was published is not there any more: the next `settle` publishes it anew. */
  lost(): void {
    for (const { ports } of this.entries.values()) ports.clear();
  }

  /** Withdraws everything. Idempotent; never rejects. */
  async close(): Promise<void> {
    this.closed = true;
    for (const entry of this.entries.values()) await this.queued(entry, () => this.apply(entry, [], false));
  }

  /** The container that holds a port which this one would need; undefined: none of ours. */
  private holderOf(spec: PublishSpec, own: Entry): Entry | undefined {
    for (const entry of this.entries.values()) {
      if (entry === own) continue;
      for (const { spec: other, open } of entry.ports.values()) {
        const same = other.protocol === spec.protocol && other.hostPort === spec.hostPort;
        const meet = other.hostIp === spec.hostIp || ALL.has(other.hostIp) || ALL.has(spec.hostIp);
        if (open !== undefined && same && meet) return entry;
      }
    }
    return undefined;
  }

  private entryOf({ id, name }: Container): Entry {
    const known = this.entries.get(id);
    if (known !== undefined) {
      known.name = name;
      return known;
    }
    const entry: Entry = { id, name, ports: new Map(), holds: 0, users: 0, work: Promise.resolve() };
    this.entries.set(id, entry);
    return entry;
  }

  private forgetEmpty(entry: Entry): void {
    if (entry.holds + entry.users + entry.ports.size === 0 && this.entries.get(entry.id) === entry)
      this.entries.delete(entry.id);
  }

  /** Works on an entry when those before have done so; it is not forgotten before. */
  private async queued(entry: Entry, work: () => Promise<void>): Promise<void> {
    entry.users++;
    const mine = entry.work.then(work);
    entry.work = mine.catch(() => undefined);
    try {
      await mine;
    } finally {
      entry.users--;
      this.forgetEmpty(entry);
    }
  }

  /** `strict`: nothing is kept of it where one fails, and the reason is thrown. */
  private async apply(entry: Entry, bindings: readonly Binding[], strict: boolean): Promise<void> {
    const wanted = new Map<string, PublishSpec>();
    for (const binding of bindings) {
      const spec = this.specOf(binding);
      wanted.set(keyOf(spec), spec);
    }
    for (const [key, held] of [...entry.ports]) {
      if (wanted.has(key)) continue;
      entry.ports.delete(key);
      await this.withdraw(entry, held);
    }
    const added: string[] = [];
    for (const [key, spec] of wanted) {
      if (this.closed || entry.ports.get(key)?.open !== undefined) continue;
      try {
        await this.add(entry, key, spec);
        added.push(key);
      } catch (error) {
        const reason = (error as Error).message;
        if (!strict) {
          if (entry.ports.get(key)?.reason !== reason) this.logger.warn(`docker: ${entry.name}: ${reason}`);
          entry.ports.set(key, { spec, open: undefined, reason });
          continue;
        }
        for (const one of added) {
          const held = entry.ports.get(one);
          entry.ports.delete(one);
          if (held !== undefined) await this.withdraw(entry, held);
        }
        throw error;
      }
    }
  }

  private async add(entry: Entry, key: string, spec: PublishSpec): Promise<void> {
    if (isIP(spec.hostIp) === 0 && spec.hostIp !== '*')
      throw new GoError(`${JSON.stringify(spec.hostIp)} is no IP address of the host`);
    let all = 0;
    for (const { ports } of this.entries.values()) all += ports.size;
    if (all >= MAX_PORTS || this.entries.size > MAX_CONTAINERS)
      throw new GoError(`${MAX_PORTS} ports of ${MAX_CONTAINERS} containers are forwarded at most`);
    const out_ip = spec.hostIp === '*' ? '0.0.0.0' : spec.hostIp;
    const port = { proto: spec.protocol, out_ip, out_port: spec.hostPort };
    const holder = this.holderOf(spec, entry);
    if (holder !== undefined) {
      const what = `Bind for ${outside(port)} failed: port is already allocated`;
      throw new TakenError(`${what} (container ${holder.name})`, holder.id);
    }
    const held: Held = { spec, open: undefined, reason: undefined };
    try {
      held.open = await this.host.publish(spec, () => {
        held.open = undefined;
        held.reason = 'somebody withdrew it';
      });
      entry.ports.set(key, held);
      this.logger.info(`docker: published ${textOf(spec)} for ${entry.name}`);
    } catch (error) {
      throw bindError(port, error);
    }
  }

  private async withdraw(entry: Entry, { spec, open }: Held): Promise<void> {
    if (open === undefined) return;
    try {
      await open.close();
      this.logger.info(`docker: withdrew ${textOf(spec)} of ${entry.name}`);
    } catch (error) {
      const why = error instanceof NetproxyError ? error.message : String(error);
      this.logger.warn(`docker: ${textOf(spec)} of ${entry.name} cannot be withdrawn: ${why}`);
    }
  }

  private specOf({ protocol, hostIp, hostPort }: Binding): PublishSpec {
    const { hostIp: own, guest } = this.options;
    const loopback = hostIp === '::1' || hostIp.startsWith('127.');
    const asked = hostIp === '' ? '*' : hostIp;
    const host = loopback || own === undefined ? asked : own;
    return { protocol, hostIp: host, hostPort, guestPort: hostPort, ...guest };
  }
}

const textOf = ({ protocol, hostIp, hostPort }: PublishSpec): string =>
  `${hostIp.includes(':') ? `[${hostIp}]` : hostIp}:${hostPort}/${protocol}`;
