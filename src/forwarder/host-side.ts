/**
 * The host's side of a published port: one or two listeners. `localhost` and `*` stand for both families; of these the second
 * one (IPv6) may be missing where the host has no IPv6.
 */
import {
  type Errno,
  type HostIo,
  type HostListener,
  type HostStream,
  type HostStreamHandler,
  type HostUdpServer,
  type HostUdpServerHandler,
  NetproxyError,
} from '../core/index.js';
import type { PublishSpec } from './publish-spec.js';

/** Addresses that a word stands for; the first one must work. */
const FAMILIES: Readonly<Record<string, readonly [string, string]>> = {
  localhost: ['127.0.0.1', '::1'],
  '*': ['0.0.0.0', '::'],
};
/** Without IPv6 these are what listening on it ends with. */
const NO_IPV6: ReadonlySet<string> = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL']);
/** How often a port that the host chose for one family may be taken in the other. */
const CHOICES = 16;

export interface HostSideHandlers {
  stream(stream: HostStream): HostStreamHandler;
  /** No connection can be taken for the moment. */
  trouble(errno: Errno): void;
  readonly udp: HostUdpServerHandler;
}

/** What listens. */
export interface HostSide {
  /** The bound address; the word or `unix:/PATH` where that was asked for. */
  readonly host: string;
  /** The chosen one; 0 for a unix socket. */
  readonly port: number;
  /** The UDP socket that a client of this address talks to. */
  udpFor(client: string): HostUdpServer | undefined;
  close(): void;
}

type Bound = HostListener | HostUdpServer;
type Bind = (host: string, port: number) => Promise<Bound>;

/** Starts listening; rejects with ERR_NETPROXY_PUBLISH, ERR_NETPROXY_LISTEN or ERR_NETPROXY_UNSUPPORTED. */
export async function openHostSide(
  io: HostIo,
  spec: PublishSpec,
  handlers: HostSideHandlers,
): Promise<HostSide> {
  const onStream = (stream: HostStream): HostStreamHandler => handlers.stream(stream);
  if (spec.hostPath !== undefined) {
    if (io.listenUnix === undefined)
      throw new NetproxyError('ERR_NETPROXY_UNSUPPORTED', `cannot publish at unix:${spec.hostPath} here`);
    const listener = await io.listenUnix(spec.hostPath, onStream);
    return sideOf(`unix:${spec.hostPath}`, [listener]);
  }
  const bind: Bind =
    spec.protocol === 'tcp'
      ? (host, port) => io.listen(host, port, onStream, (errno) => handlers.trouble(errno))
      : (host, port) => io.bindUdp(host, port, handlers.udp);
  const both = FAMILIES[spec.hostIp];
  if (both !== undefined) return sideOf(spec.hostIp, await bindBoth(bind, both, spec.hostPort));
  const bound = await bind(spec.hostIp, spec.hostPort);
  return sideOf(bound.host, [bound]);
}

async function bindBoth(bind: Bind, [first, second]: readonly [string, string], wanted: number) {
  for (let choice = 1; ; choice++) {
    const bound = await bind(first, wanted);
    try {
      return [bound, await bind(second, bound.port)];
    } catch (error) {
      const errno = error instanceof NetproxyError ? error.errno : undefined;
      if (errno !== undefined && NO_IPV6.has(errno)) return [bound];
      bound.close();
      if (wanted !== 0 || errno !== 'EADDRINUSE' || choice === CHOICES) throw error;
    }
  }
}

function isUdp(one: Bound): one is HostUdpServer {
  return 'send' in one;
}

function sideOf(host: string, all: readonly Bound[]): HostSide {
  const [first] = all;
  return {
    host,
    port: first?.port ?? 0,
    udpFor: (client) => {
      const found = all.find((one) => one.host.includes(':') === client.includes(':')) ?? first;
      return found !== undefined && isUdp(found) ? found : undefined;
    },
    close: () => {
      for (const one of all) one.close();
    },
  };
}
