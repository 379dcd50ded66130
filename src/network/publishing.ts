/** What a network publishes to its host, and connections into guests. */
import type { Duplex } from 'node:stream';
import { NetproxyError } from '../core/index.js';
import {
  GuestStream,
  type GuestSpec,
  type PublishSpec,
  formatPublish,
  parsePublish,
} from '../forwarder/index.js';
import type { Parts } from './assemble.js';
import { Guest } from './guest.js';
import type { PortInfo, Published } from './types.js';
import { eachPort, portInfo } from './views.js';

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
  private readonly parts: Pick<Parts, 'publisher' | 'roster' | 'logger'>;
  private readonly events: PublishingEvents;
  private stopped = false;

  constructor(parts: Pick<Parts, 'publisher' | 'roster' | 'logger'>, events: PublishingEvents) {
    this.parts = parts;
    this.events = events;
  }

  /** No more ports are taken. */
  stop(): void {
    this.stopped = true;
  }

  /** Rejects with ERR_NETPROXY_PUBLISH or ERR_NETPROXY_CONFIG, ERR_NETPROXY_STATE once stopped. */
  async publish(spec: string | PublishSpec): Promise<Published> {
    if (this.stopped) throw new NetproxyError('ERR_NETPROXY_STATE', 'the network was stopped');
    const parsed = typeof spec === 'string' ? parsePublish(spec) : spec;
    const port = await this.parts.publisher.publish(parsed);
    this.parts.logger.info(`published ${formatPublish({ ...parsed, hostPort: port.port })}`);
    this.events.published(portInfo(port));
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
  async publishAll(specs: readonly (string | PublishSpec)[]): Promise<Published[]> {
    const done: Published[] = [];
    try {
      for (const spec of specs) done.push(await this.publish(spec));
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
    const info = portInfo(port);
    port.close();
    this.parts.logger.info(`withdrew ${info.spec}`);
    this.events.unpublished(info);
    return true;
  }

  port(id: number): PortInfo | undefined {
    const port = this.parts.publisher.find(id);
    return port && portInfo(port);
  }

  /** The published ports behind an `id`. */
  each(after: number): Iterable<PortInfo> {
    return eachPort(this.parts.publisher, after);
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
