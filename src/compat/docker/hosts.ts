/** Where ports of containers are published: a network of this process, or a running netproxy by its control API. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import type { ApiClient } from '../../client/index.js';
import { NetproxyError, cidrContains, parseCidr, parseIpv4 } from '../../core/index.js';
import { type PublishSpec, formatPublish } from '../../forwarder/index.js';
import type { Network, PortInfo } from '../../index.js';
import type { DockerHost } from './forward.js';
import { pause } from './pause.js';
import { opened } from './place.js';
import type { OpenPort } from './published.js';

/** Between two tries to reach the control API, ms. */
const RETRY = 1000;

function isWithin(subnet: string, ip: string): boolean {
  const cidr = parseCidr(subnet);
  const address = parseIpv4(ip);
  return cidr !== undefined && address !== undefined && cidrContains(cidr, address);
}

/** A network of this process. */
export function networkHost(network: Network): DockerHost {
  const gone = new Map<number, () => void>();
  const unpublished = ({ id }: PortInfo): void => {
    gone.get(id)?.();
    gone.delete(id);
  };
  network.on('unpublished', unpublished);
  const contains = (ip: string): boolean => isWithin(network.addresses.subnet, ip);
  return {
    contains,
    dial: (ip, port) => (contains(ip) ? opened(network.dial({ ip }, port)) : undefined),
    publish: async (spec, told) => {
      const port = await network.publish(spec, { keep: false });
      gone.set(port.id, told);
      return port;
    },
    onLost: () => undefined,
    close: () => void network.off('unpublished', unpublished),
  };
}

/** A running netproxy. Rejects with what `client` does where there is none. */
export async function apiHost(client: ApiClient): Promise<DockerHost> {
  const subnets: string[] = [];
  for await (const { subnet } of client.networks()) subnets.push(subnet);
  return new ApiHost(client, subnets);
}

class ApiHost implements DockerHost {
  private readonly client: ApiClient;
  private readonly subnets: readonly string[];
  private readonly gone = new Map<number, () => void>();
  private readonly stopped = new AbortController();
  private lost: () => void = () => undefined;
  private following: Promise<void> | undefined;
  private folder: string | undefined;
  /** Sockets of ours that lead to ports of guests, by address. */
  private readonly sockets = new Map<string, Promise<string>>();

  constructor(client: ApiClient, subnets: readonly string[]) {
    this.client = client;
    this.subnets = subnets;
  }

  contains(ip: string): boolean {
    return this.subnets.some((subnet) => isWithin(subnet, ip));
  }

  onLost(lost: () => void): void {
    this.lost = lost;
    this.following ??= this.follow();
  }

  async publish(spec: PublishSpec, gone: () => void): Promise<OpenPort> {
    const id = await this.publishText(formatPublish(spec), spec);
    this.gone.set(id, gone);
    return { close: () => this.withdraw(id) };
  }

  dial(ip: string, port: number): Promise<Duplex> | undefined {
    return this.contains(ip) ? this.throughSocket(ip, port) : undefined;
  }

  async close(): Promise<void> {
    this.stopped.abort();
    await this.following;
    for (const id of this.gone.keys()) await this.withdraw(id).catch(() => undefined);
    if (this.folder !== undefined) rmSync(this.folder, { recursive: true, force: true });
  }

  /** Takes over what another process of this kind left behind: a port that leads to the same place. */
  private async publishText(text: string, { protocol, hostPort }: PublishSpec): Promise<number> {
    try {
      return (await this.client.publish(text, { keep: false })).id;
    } catch (error) {
      if (!(error instanceof NetproxyError) || error.errno !== 'EADDRINUSE') throw error;
      for await (const port of this.client.ports({ protocol, port: hostPort }))
        if (port.spec === text && !this.gone.has(port.id)) return port.id;
      throw error;
    }
  }

  private async withdraw(id: number): Promise<void> {
    this.gone.delete(id);
    await this.client.unpublish(id);
  }

  /** The control API opens no connections into guests; it publishes a socket in a folder that is ours alone. */
  private async throughSocket(ip: string, port: number): Promise<Duplex> {
    const key = `${ip}:${port}`;
    let made = this.sockets.get(key);
    if (made === undefined) {
      this.folder ??= mkdtempSync(path.join(tmpdir(), 'netproxy-docker-'));
      const file = path.join(this.folder, `${this.sockets.size}-${port}.sock`);
      const spec = { protocol: 'tcp', hostIp: '', hostPort: 0, hostPath: file } as const;
      made = this.publish({ ...spec, guestIp: ip, guestPort: port }, () => this.sockets.delete(key)).then(
        () => file,
      );
      this.sockets.set(key, made);
      made.catch(() => this.sockets.delete(key));
    }
    return opened(connect({ path: await made, allowHalfOpen: true }));
  }

  /** Hears of ports that go, and of a netproxy that comes back without any. */
  private async follow(): Promise<void> {
    const { signal } = this.stopped;
    let wasThere = false;
    while (!signal.aborted) {
      const opened = (): void => {
        if (wasThere) {
          this.gone.clear();
          this.sockets.clear();
          this.lost();
        }
        wasThere = true;
      };
      try {
        for await (const event of this.client.events({ types: ['unpublished'], opened, signal })) {
          if (event.event !== 'unpublished') continue;
          this.gone.get(event.port.id)?.();
          this.gone.delete(event.port.id);
        }
      } catch {
        // It is away; the next try tells when it is back.
      }
      await pause(RETRY, signal);
    }
  }
}
