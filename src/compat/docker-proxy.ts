/**
 * What dockerd starts for each published port (`--userland-proxy-path`): it asks for the port at vpnkit's port API, tells
 * dockerd the outcome on descriptor 3, and withdraws the port when it is told to end.
 */
import { request } from 'node:http';
import { NetproxyError } from '../core/index.js';
import { parseDoor } from '../link/index.js';
import { parseGoFlags } from './go-flags.js';

export const DOCKER_PROXY_FLAGS = {
  proto: { kind: 'string', help: 'tcp or udp (default tcp)' },
  'host-ip': { kind: 'string', help: 'Address of the host' },
  'host-port': { kind: 'int', help: 'Port of the host' },
  'container-ip': { kind: 'string', help: 'Address of the container' },
  'container-port': { kind: 'int', help: 'Port of the container' },
  'control-pipe': {
    kind: 'string',
    help: 'Port API: unix:PATH or a path (default: $NETPROXY_PORT_API, else /run/netproxy/ports.sock)',
  },
  'use-listen-fd': {
    kind: 'bool',
    help: 'dockerd holds the port of the guest by a descriptor of this process; it stays open',
  },
} as const;

/** For the API to answer, ms. */
const TIMEOUT = 120_000;

export interface DockerProxy {
  /** Rejects with an Error whose message dockerd shall show. */
  expose(): Promise<void>;
  unexpose(): Promise<void>;
}

/** Undefined: tell the help. Throws ERR_NETPROXY_CONFIG. */
export function dockerProxy(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): DockerProxy | undefined {
  const { values, help } = parseGoFlags(DOCKER_PROXY_FLAGS, argv);
  if (help) return undefined;
  const where = values['control-pipe'] ?? env['NETPROXY_PORT_API'] ?? '/run/netproxy/ports.sock';
  const address = parseDoor(where);
  if (address.transport !== 'unix')
    throw new NetproxyError('ERR_NETPROXY_CONFIG', `the port API cannot be at "${where}"`, {
      remedy: 'Allowed: unix:PATH, a path.',
    });
  const port = {
    proto: values.proto ?? 'tcp',
    out_ip: values['host-ip'] ?? '',
    out_port: values['host-port'] ?? 0,
    in_ip: values['container-ip'] ?? '',
    in_port: values['container-port'] ?? 0,
  };
  const body = JSON.stringify(port);
  return {
    expose: () => ask(address.path, 'PUT', '/forwards/expose/port', body),
    unexpose: () => ask(address.path, 'DELETE', '/forwards/unexpose/port', body),
  };
}

function ask(socketPath: string, method: string, path: string, body: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const sent = request({ socketPath, method, path, headers, timeout: TIMEOUT, agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        if (text.length < 65_536) text += chunk;
      });
      answer.once('error', reject).once('end', () => {
        if (answer.statusCode === 200) resolve();
        else reject(new Error(messageOf(text) ?? `${path} returned unexpected status: ${answer.statusCode}`));
      });
    });
    sent.once('timeout', () => sent.destroy(new Error(`the port API at ${socketPath} does not answer`)));
    sent.once('error', reject).end(body);
  });
}

function messageOf(text: string): string | undefined {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? message : undefined;
  } catch {
    return undefined;
  }
}
