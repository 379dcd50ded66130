/**
 * An engine that speaks as much of the Docker API (v1.41) as docker needs for run, ps, exec, attach, logs, build, and as much
 * rubbish as a test asks for. Nothing is run: a container that starts is a record with ports.
 */
import { createHash } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, createServer as createHttpServer } from 'node:http';
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net';
import { takeHead } from '../peek.js';

interface PortBinding {
  HostIp?: string;
  HostPort?: string;
}
type Bindings = Record<string, PortBinding[] | null>;

export interface MockContainer {
  readonly id: string;
  readonly name: string;
  running: boolean;
  readonly bindings: Bindings;
  ports: Bindings;
  readonly body: Record<string, unknown>;
  /** Who waits for its end. */
  readonly waiting: (() => void)[];
  /** Who waits for its start. */
  readonly beginning: (() => void)[];
}

/** What `echo` containers and execs do with their standard input. */
export type Stdin = (socket: Socket) => void;

const ID = (n: number): string => createHash('sha256').update(`container ${n}`).digest('hex');
const HIJACK = /^POST (?:\/v[\d.]+)?\/(?:containers\/[^/]+\/attach|exec\/[^/]+\/start)[? ]/;
const RAW = 'application/vnd.docker.raw-stream';

export class MockEngine {
  readonly containers = new Map<string, MockContainer>();
  /** Method and path of every request, without the version. */
  readonly requests: string[] = [];
  /** Bytes and digests of what `/build` and `/images/load` got. */
  readonly uploads: { readonly size: number; readonly digest: string }[] = [];
  /** Answers in place of the engine's own: true when it did. */
  override: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  /** The next start is refused with this message. */
  refuseStart: string | undefined;
  /** What a hijacked connection does. */
  stdin: Stdin = (socket) => void socket.pipe(socket);
  logs: readonly string[] = [];
  /** Attach and exec are answered without 101, as engines before 1.6 did. */
  oldHijack = false;
  events = new Set<ServerResponse>();
  private readonly sockets = new Set<Socket>();
  private readonly execs = new Map<string, { tty: boolean }>();
  private server: Server | undefined;
  private made = 0;
  private random = 32_768;

  async listen(where: string | { port: number; host: string }): Promise<number> {
    const http = createHttpServer({ requestTimeout: 0 }, (request, response) => {
      void this.handle(request, response);
    });
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket)).on('error', () => undefined);
      // docker opens a connection of its own for what the engine takes over.
      takeHead(socket, 'POST ', (head) => {
        if (head !== undefined && HIJACK.test(head)) {
          void this.hijack(socket, head);
          return;
        }
        if (head !== undefined) socket.unshift(Buffer.from(`${head}\r\n\r\n`, 'latin1'));
        http.emit('connection', socket);
      });
    });
    this.server = server;
    await new Promise<void>((resolve) => server.listen(where, resolve));
    return typeof where === 'string' ? 0 : (server.address() as AddressInfo).port;
  }

  /** Ends at once, as a machine that is switched off; containers stay what they are. */
  async close(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    for (const socket of this.sockets) socket.destroy();
    this.events.clear();
    if (server !== undefined) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  create(name: string, bindings: Bindings, body: Record<string, unknown> = {}): MockContainer {
    const id = ID(this.made++);
    const container = { id, name, running: false, bindings, ports: {}, body, waiting: [], beginning: [] };
    this.containers.set(id, container);
    this.tell('create', container);
    return container;
  }

  start(container: MockContainer): void {
    if (container.running) return;
    container.running = true;
    container.ports = Object.fromEntries(
      Object.entries(container.bindings).map(([port, list]) => [
        port,
        (list ?? []).flatMap(({ HostIp = '', HostPort = '' }) => {
          const number = /^[1-9]\d*$/.test(HostPort) ? HostPort : String(this.random++);
          const addresses = HostIp === '' ? ['0.0.0.0', '::'] : [HostIp];
          return addresses.map((one) => ({ HostIp: one, HostPort: number }));
        }),
      ]),
    );
    this.tell('start', container);
    for (const begin of container.beginning.splice(0)) begin();
  }

  die(container: MockContainer): void {
    if (!container.running) return;
    container.running = false;
    container.ports = {};
    this.tell('die', container);
    for (const told of container.waiting.splice(0)) told();
  }

  remove(container: MockContainer): void {
    this.die(container);
    this.containers.delete(container.id);
    this.tell('destroy', container);
  }

  find(name: string): MockContainer | undefined {
    const all = [...this.containers.values()];
    return all.find((one) => one.name === name) ?? all.find(({ id }) => id.startsWith(name));
  }

  inspect({ id, name, running, bindings, ports, body }: MockContainer) {
    return {
      Id: id,
      Name: `/${name}`,
      Created: '2026-01-01T00:00:00Z',
      State: { Status: running ? 'running' : 'created', Running: running, ExitCode: 0, Pid: 1 },
      Config: { Image: 'image', Tty: false, OpenStdin: true, AttachStdin: true, ...body },
      HostConfig: { PortBindings: bindings, NetworkMode: 'default', LogConfig: { Type: 'json-file' } },
      NetworkSettings: { Ports: ports },
    };
  }

  private tell(action: string, { id, name }: MockContainer): void {
    const event = {
      status: action,
      id,
      Type: 'container',
      Action: action,
      Actor: { ID: id, Attributes: { name } },
      time: 1,
    };
    for (const response of this.events) response.write(`${JSON.stringify(event)}\n`);
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL((request.url ?? '').replace(/^\/v[\d.]+/, ''), 'http://engine');
    const line = `${request.method} ${url.pathname}`;
    this.requests.push(line);
    if (this.override?.(request, response) === true) return;
    response
      .setHeader('Api-Version', '1.41')
      .setHeader('Ostype', 'linux')
      .setHeader('Server', 'Docker/20.10');
    if (line === 'GET /events') {
      response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
      this.events.add(response);
      response.once('close', () => this.events.delete(response));
      return;
    }
    if (line === 'POST /build' || line === 'POST /images/load') {
      const hash = createHash('sha256');
      let size = 0;
      for await (const chunk of request as AsyncIterable<Buffer>) {
        size += chunk.length;
        hash.update(chunk);
      }
      this.uploads.push({ size, digest: hash.digest('hex') });
      response.setHeader('content-type', 'application/json');
      response.end('{"stream":"Successfully built 0123456789ab\\n"}\n');
      return;
    }
    const body = await bodyOf(request);
    const answer = this.answer(line, url, body, response);
    if (answer === undefined) return;
    response.statusCode = answer.status ?? 200;
    response.setHeader('content-type', 'application/json');
    response.end(answer.json === undefined ? '' : `${JSON.stringify(answer.json)}\n`);
  }

  private answer(
    line: string,
    url: URL,
    body: string,
    response: ServerResponse,
  ): { status?: number; json?: unknown } | undefined {
    const [, method = '', kind, name = '', action] =
      /^(\w+) \/([^/]+)(?:\/([^/]+))?(?:\/(.*))?$/.exec(line) ?? [];
    if (kind === '_ping') {
      response.setHeader('Builder-Version', '1').end(method === 'HEAD' ? undefined : 'OK');
      return undefined;
    }
    if (kind === 'version')
      return { json: { Version: '20.10.24', ApiVersion: '1.41', MinAPIVersion: '1.12', Os: 'linux' } };
    if (kind === 'info')
      return { json: { OSType: 'linux', Name: 'mock', IndexServerAddress: 'https://index.docker.io/v1/' } };
    if (line === 'POST /containers/create') {
      const { HostConfig = {}, ...rest } = JSON.parse(body) as {
        HostConfig?: { PortBindings?: Bindings };
      } & Record<string, unknown>;
      const wanted = url.searchParams.get('name') ?? `container${this.made}`;
      const { id } = this.create(wanted, HostConfig.PortBindings ?? {}, rest);
      return { status: 201, json: { Id: id, Warnings: [] } };
    }
    if (line === 'GET /containers/json')
      return {
        json: [...this.containers.values()]
          .filter(({ running }) => running || url.searchParams.get('all') === '1')
          .map((one) => listed(one)),
      };
    if (kind === 'exec') return { json: { Running: false, ExitCode: 0, ID: name } };
    const container = this.find(decodeURIComponent(name));
    if (container === undefined) return { status: 404, json: { message: `No such container: ${name}` } };
    return this.onContainer(`${method} ${action}`, container, response);
  }

  private onContainer(what: string, container: MockContainer, response: ServerResponse) {
    switch (what) {
      case 'GET json':
        return { json: this.inspect(container) };
      case 'POST start':
        if (this.refuseStart !== undefined) {
          const message = this.refuseStart;
          this.refuseStart = undefined;
          return { status: 500, json: { message } };
        }
        if (container.running) return { status: 304 };
        this.start(container);
        return { status: 204 };
      case 'POST restart':
        this.die(container);
        this.start(container);
        return { status: 204 };
      case 'POST stop':
      case 'POST kill':
        this.die(container);
        return { status: 204 };
      case 'POST wait':
        response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
        container.waiting.push(() => response.end('{"StatusCode":0}\n'));
        return undefined;
      case 'POST exec': {
        const id = `exec${this.execs.size}`;
        this.execs.set(id, { tty: false });
        return { status: 201, json: { Id: id } };
      }
      case 'GET logs':
        response.writeHead(200, { 'content-type': RAW });
        for (const text of this.logs) response.write(framed(1, Buffer.from(text)));
        response.end();
        return undefined;
      case 'DELETE undefined':
        this.remove(container);
        return { status: 204 };
      default:
        return { status: 404, json: { message: `mock: ${what}` } };
    }
  }

  /** The body of such a request stands in the connection, unread. */
  private async hijack(socket: Socket, head: string): Promise<void> {
    this.requests.push(head.split(' HTTP/', 1)[0]?.replace(/\/v[\d.]+|\?.*/g, '') ?? '');
    await skip(socket, Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0));
    const upgrade = /^upgrade:/im.test(head) && !this.oldHijack;
    const line = upgrade ? '101 UPGRADED' : '200 OK';
    const fields = upgrade ? 'Connection: Upgrade\r\nUpgrade: tcp\r\n' : '';
    socket.write(`HTTP/1.1 ${line}\r\nContent-Type: ${RAW}\r\n${fields}\r\n`);
    const name = /^POST \S*\/containers\/([^/]+)\/attach/.exec(head)?.[1];
    const container = name === undefined ? undefined : this.find(name);
    if (container === undefined) {
      this.stdin(socket);
      return;
    }
    // What runs in it ends with its standard input, which nobody reads before it runs.
    const begin = (): void => {
      socket.once('close', () => {
        this.die(container);
      });
      this.stdin(socket);
    };
    if (container.running) begin();
    else container.beginning.push(begin);
  }
}

function listed({ id, name, running, ports }: MockContainer) {
  return {
    Id: id,
    Names: [`/${name}`],
    Image: 'image',
    ImageID: 'sha256:0',
    Command: 'cat',
    Created: 1,
    State: running ? 'running' : 'created',
    Status: running ? 'Up 1 second' : 'Created',
    Ports: Object.entries(ports).flatMap(([port, list]) =>
      (list ?? []).map(({ HostIp, HostPort }) => ({
        IP: HostIp,
        PrivatePort: Number.parseInt(port, 10),
        PublicPort: Number(HostPort),
        Type: port.split('/')[1] ?? 'tcp',
      })),
    ),
  };
}

/** A piece of a stream without a terminal: its number, its length, and it. */
export function framed(stream: 1 | 2, bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(8);
  head[0] = stream;
  head.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([head, bytes]);
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk as string;
  return text;
}

async function skip(socket: Socket, length: number): Promise<void> {
  let left = length;
  while (left > 0) {
    const chunk = socket.read(Math.min(left, socket.readableLength)) as Buffer | null;
    if (chunk === null) await new Promise((resolve) => socket.once('readable', resolve));
    else left -= chunk.length;
  }
}
