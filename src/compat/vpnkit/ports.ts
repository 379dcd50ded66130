/**
 * vpnkit's port API: JSON over HTTP. `expose` and `unexpose` may be repeated; a refusal is `{"message":"…"}`.
 *
 * There is no agent in the guest: a port leads straight to an address of the virtual network. An `in_ip` outside of it (loopback,
 * a container's) means the first guest itself: port `in_port` of it, or, for a container, `out_port`, where Docker's own
 * rules in the guest lead on to the container.
 *
 * Limit: MAX_PORTS.
 */
import type { IncomingMessage } from 'node:http';
import { type Api, boundedServer, closeServers } from '../../api/index.js';
import { type Logger, cidrContains, parseCidr, parseIpv4 } from '../../core/index.js';
import type { PublishSpec } from '../../forwarder/index.js';
import type { Network, Published } from '../../index.js';
import { type BoundServer, bindServer, parseDoor } from '../../link/index.js';
import { bindError, outside } from '../bind-error.js';
import { type Fields, GoError, decodeObject } from '../go-values.js';
import { type Answer, DONE, reply, textOf } from '../http.js';

export const MAX_PORTS = 131_072;

/** A port as clients write it. */
export interface VpnkitPort {
  readonly proto: string;
  readonly out_ip?: string;
  readonly out_port?: number;
  readonly out_path?: string;
  readonly in_ip?: string;
  readonly in_port?: number;
  readonly in_path?: string;
  readonly annotation?: string;
}

interface Exposed {
  readonly port: VpnkitPort;
  /** Undefined while it is being opened. */
  published: Published | undefined;
}

/** What is the same port: where it is outside. */
function keyOf({ proto, out_ip, out_port, out_path }: VpnkitPort): string {
  return `${proto} ${out_path ?? `${out_ip ?? ''}:${out_port ?? 0}`}`;
}

function targetOf({ in_ip, in_port, in_path }: VpnkitPort): string {
  return JSON.stringify([in_ip, in_port, in_path]);
}

export class VpnkitPorts {
  readonly network: Network;
  private readonly exposed = new Map<string, Exposed>();

  constructor(network: Network) {
    this.network = network;
  }

  /** In the order in which they came, with the chosen ports. */
  list(): VpnkitPort[] {
    return [...this.exposed.values()].flatMap(({ port, published }) => {
      if (published === undefined) return [];
      return [port.out_path === undefined ? { ...port, out_port: published.port } : port];
    });
  }

  /** For people. */
  dump(): string {
    return this.network
      .ports()
      .map(({ spec, clients, counters }) => `${spec} clients=${clients} opened=${counters['opened'] ?? 0}\n`)
      .join('');
  }

  /** Rejects with GoError, whose message is for users. The same port again is no error. */
  async expose(port: VpnkitPort): Promise<void> {
    const key = keyOf(port);
    const known = this.exposed.get(key);
    const any = port.out_path === undefined && (port.out_port ?? 0) === 0;
    if (known !== undefined && !any) {
      if (targetOf(known.port) === targetOf(port)) return;
      throw new GoError(`Bind for ${outside(port)} failed: port is already allocated`);
    }
    if (this.exposed.size >= MAX_PORTS) throw new GoError(`${MAX_PORTS} ports are exposed`);
    const spec = this.specOf(port);
    const entry: Exposed = { port, published: undefined };
    if (!any) this.exposed.set(key, entry);
    try {
      const published = await this.network.publish(spec, { keep: false });
      entry.published = published;
      if (any) this.exposed.set(keyOf({ ...port, out_port: published.port }), entry);
    } catch (error) {
      if (!any) this.exposed.delete(key);
      throw bindError(port, error);
    }
  }

  unexpose(port: VpnkitPort): void {
    const key = keyOf(port);
    const entry = this.exposed.get(key);
    if (entry === undefined) return;
    this.exposed.delete(key);
    entry.published?.close();
  }

  private specOf(port: VpnkitPort): PublishSpec {
    const { proto, out_path, in_path } = port;
    if (proto !== 'tcp' && proto !== 'udp' && proto !== 'unix') throw new GoError(`unknown proto ${proto}`);
    if (in_path !== undefined)
      throw new GoError('in_path needs an agent in the guest, which netproxy does not have; give in_port');
    const guestPort = this.guestPort(port);
    const guest = this.isInside(port.in_ip) ? { guestIp: port.in_ip } : {};
    if (proto === 'unix') {
      if (out_path?.startsWith('/') !== true) throw new GoError('out_path must be an absolute path');
      return { protocol: 'tcp', hostIp: '', hostPort: 0, hostPath: out_path, guestPort, ...guest };
    }
    const hostIp = port.out_ip ?? '0.0.0.0';
    if (parseIpv4(hostIp) === undefined && !/^[\da-fA-F:.]*:[\da-fA-F:.]*$/.test(hostIp))
      throw new GoError(`out_ip ${JSON.stringify(hostIp)} is no IP address`);
    return { protocol: proto, hostIp, hostPort: port.out_port ?? 0, guestPort, ...guest };
  }

  private guestPort({ in_ip, in_port, out_port }: VpnkitPort): number {
    const ip = in_ip === undefined ? undefined : parseIpv4(in_ip);
    if (in_ip !== undefined && ip === undefined)
      throw new GoError(`in_ip ${JSON.stringify(in_ip)} is no IPv4 address`);
    const own = ip === undefined || ip === 0 || ip >>> 24 === 127 || this.isInside(in_ip);
    const port = own ? in_port : (out_port ?? in_port);
    if (port === undefined || port === 0) throw new GoError('in_port is missing');
    return port;
  }

  private isInside(ip: string | undefined): boolean {
    const subnet = parseCidr(this.network.addresses.subnet);
    const address = ip === undefined ? undefined : parseIpv4(ip);
    return subnet !== undefined && address !== undefined && cidrContains(subnet, address);
  }
}

const PATH = /^\/forwards\/(?:(expose|unexpose)\/(?:port|pipe)|(list|dump))$/;
const METHODS = {
  expose: ['PUT', 'POST'],
  unexpose: ['DELETE', 'POST'],
  list: ['GET'],
  dump: ['GET'],
} as const;

/** The API at sockets of its own. */
export class VpnkitApi implements Pick<Api, 'close'> {
  private readonly ports: VpnkitPorts;
  private readonly http;
  private bound: BoundServer | undefined;

  constructor(ports: VpnkitPorts, logger: Logger) {
    this.ports = ports;
    this.http = boundedServer((request, response) => {
      void reply(response, () => this.respond(request), refusal, logger);
    });
  }

  /** Resolves with the address. Rejects with ERR_NETPROXY_LISTEN, ERR_NETPROXY_CONFIG. */
  async listen(text: string): Promise<string> {
    this.bound = await bindServer(this.http, parseDoor(text));
    return this.bound.address;
  }

  close(): void {
    this.bound?.release();
    this.http.close();
    closeServers([this.http]);
  }

  private async respond(request: IncomingMessage): Promise<Answer> {
    if (request.headers.origin !== undefined) return { status: 403, json: { message: 'not for browsers' } };
    const [path = ''] = (request.url ?? '').split('?');
    if (path === '/http_proxy.json') return this.proxy(request);
    const [, change, look] = PATH.exec(path) ?? [];
    const what = (change ?? look) as keyof typeof METHODS | undefined;
    const allowed: readonly string[] = what === undefined ? [] : METHODS[what];
    if (what === undefined || !allowed.includes(request.method ?? '')) {
      request.resume();
      return what === undefined
        ? { status: 404, json: { message: 'Not Found' } }
        : { status: 405, json: { message: 'Method Not Allowed' } };
    }
    if (what === 'list') return { json: this.ports.list() };
    if (what === 'dump') return { status: 200, text: this.ports.dump().trimEnd() };
    const port = decodePort(decodeObject(await textOf(request), 'Port'));
    if (what === 'expose') await this.ports.expose(port);
    else this.ports.unexpose(port);
    return DONE;
  }

  /** Sets and shows the HTTP proxy's upstreams. */
  private async proxy(request: IncomingMessage): Promise<Answer> {
    const { network } = this.ports;
    if (request.method === 'GET') {
      request.resume();
      return { json: await proxyShown(network) };
    }
    if (request.method !== 'POST') {
      request.resume();
      return { status: 405, json: { message: 'Method Not Allowed' } };
    }
    network.proxy.setFile(await textOf(request));
    return DONE;
  }
}

/** What is set now, without credentials, in the words of http_proxy.json. */
async function proxyShown(network: Network): Promise<object> {
  const { http, https, noProxy } = await network.proxy.status();
  return {
    ...(http[0] === undefined ? {} : { http: http[0] }),
    ...(https[0] === undefined ? {} : { https: https[0] }),
    ...(noProxy.length === 0 ? {} : { exclude: noProxy.join(',') }),
  };
}

function refusal(error: Error): Answer {
  return { status: 400, json: { message: error.message } };
}

function decodePort(fields: Fields): VpnkitPort {
  const text = (name: 'out_ip' | 'out_path' | 'in_ip' | 'in_path' | 'annotation') => {
    const value = fields.text(name);
    return value === '' ? {} : { [name]: value };
  };
  const number = (name: 'out_port' | 'in_port') => {
    const value = fields.whole(name, 65_535, 'uint16');
    return value === undefined ? {} : { [name]: value };
  };
  return {
    proto: fields.text('proto') || 'tcp',
    ...text('out_ip'),
    ...number('out_port'),
    ...text('out_path'),
    ...text('in_ip'),
    ...number('in_port'),
    ...text('in_path'),
    ...text('annotation'),
  };
}
