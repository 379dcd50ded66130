/** What a network publishes to its host, and connections into guests. */
import type { Duplex } from 'node:stream';
import { NetproxyError } from '../core/index.js';
import {
  GuestStream,
  type GuestSpec,
  type PublishSpec,
  type PublishedPort,
  formatPublish,
  parsePublish,
} from '../forwarder/index.js';
import type { StateStore } from '../host/index.js';
import type { Parts } from './assemble.js';
import { Guest } from './guest.js';
import { KeptPorts } from './kept-ports.js';
import type { KeepOptions, PortInfo, Published } from './types.js';
import { portInfo } from './views.js';

type PublishingParts = Pick<Parts, 'publisher' | 'roster' | 'logger' | 'scheduler'>;

/** Who hears of ports that come and go. */
export interface PublishingEvents {
  published(port: PortInfo): void;
  unpublished(port: PortInfo): void;
}

/** A guest, its name, or its address; undefined: the first one. */
export type DialTarget = Guest | string | { readonly ip: string } | undefined;

function whoIs(target: DialTarget): GuestSpec {
  if (target instanceof Guest) return { guest: target.name };
  return typeof target === 'object' ? { guestIp: target.ip } : { guest: target };
}

export class Publishing {
  private readonly parts: PublishingParts;
  private readonly kept: KeptPorts;
  private readonly events: PublishingEvents;
  private stopped = false;

  constructor(parts: PublishingParts, events: PublishingEvents) {
    this.parts = parts;
    this.events = events;
    this.kept = new KeptPorts(parts, (port) => {
      this.tell(port);
    });
  }

  /** Ports that a former process was told to keep come back; from now on others are kept. */
  async adopt(store: StateStore | undefined): Promise<void> {
    if (store !== undefined) await this.kept.open(store);
  }

  /** No more ports are taken. */
  stop(): void {
    this.stopped = true;
    this.kept.stop();
  }

  /** Rejects with ERR_NETPROXY_PUBLISH or ERR_NETPROXY_CONFIG, ERR_NETPROXY_STATE once stopped. */
  async publish(spec: string | PublishSpec, { keep = true }: KeepOptions = {}): Promise<Published> {
    if (this.stopped) throw new NetproxyError('ERR_NETPROXY_STATE', 'the network was stopped');
    const parsed = typeof spec === 'string' ? parsePublish(spec) : spec;
    const known = this.kept.claim(parsed);
    const port = known ?? (await this.parts.publisher.publish(parsed));
    if (known === undefined) this.tell(port);
    if (keep) this.kept.keep(port);
    else this.kept.unkeep(port);
    return {
      id: port.id,
      spec: parsed,
      host: port.host,
      port: port.port,
      close: () => {
        this.unpublish(port.id);
      },
    };
  }

  /** All of them, or none. */
  async publishAll(
    specs: readonly (string | PublishSpec)[],
    options: KeepOptions = {},
  ): Promise<Published[]> {
    const done: Published[] = [];
    try {
      for (const spec of specs) done.push(await this.publish(spec, options));
    } catch (error) {
      for (const port of done) port.close();
      throw error;
    }
    return done;
  }

  /** Withdraws a port and resets what runs over it; false when there is none of that `id`. */
  unpublish(id: number): boolean {
    const port = this.parts.publisher.find(id);
    if (port === undefined) return false;
    const info = this.infoOf(port);
    this.kept.forget(port);
    port.close();
    this.parts.logger.info(`withdrew ${info.spec}`);
    this.events.unpublished(info);
    return true;
  }

  port(id: number): PortInfo | undefined {
    const port = this.parts.publisher.find(id);
    return port && this.infoOf(port);
  }

  private infoOf(port: PublishedPort): PortInfo {
    return portInfo(port, this.kept.keeps(port));
  }

  private tell(port: PublishedPort): void {
    this.parts.logger.info(`published ${formatPublish({ ...port.spec, hostPort: port.port })}`);
    this.events.published(this.infoOf(port));
  }

  /** The published ports behind an `id`. */
  *each(after: number): Generator<PortInfo> {
    for (const port of [...this.parts.publisher.ports()]) if (port.id > after) yield this.infoOf(port);
  }

  /** Connects to a port of a guest (the first one unless said) as a Duplex. Errors come by its `error` event. */
  dial(guest: DialTarget, port: number): Duplex {
    const stream = new GuestStream();
    const spec = whoIs(guest);
    this.parts.roster.find(spec, (neighbour) => {
      if (!this.parts.publisher.connectStream(neighbour, port, stream)) {
        stream.destroy(
          new NetproxyError(
            'ERR_NETPROXY_DIAL',
            `cannot reach port ${port} of ${spec.guest ?? spec.guestIp ?? 'the first guest'}: no such guest is attached`,
            { errno: 'EHOSTUNREACH' },
          ),
        );
      }
    });
    return stream;
  }
}
