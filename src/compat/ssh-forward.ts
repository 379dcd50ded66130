/**
 * A unix socket of the host that leads to one of a guest, by ssh.
 *
 * Theory of operation. Clients are accepted at once. The first one starts the system's ssh, which logs into the guest through a
 * port of loopback that leads there, and forwards a socket in a folder of ours (mode 0700); each client is joined with a
 * connection to that one. When ssh ends, the next client starts it anew; while clients wait it is tried again every RETRY, for
 * PATIENCE. ssh uses the given key and no other, no agent, and no configuration. The guest's host key is what it was
 * when this process saw it first, or what stands in `knownHosts`.
 *
 * Limit: MAX_CLIENTS at once; the next ones wait in the backlog.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { type Server, type Socket, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Logger, NetproxyError, parseIpv4 } from '../core/index.js';
import type { Network, Published } from '../index.js';
import { type BoundPath, type SshForwardSpec, checkSshWords, listenUnix } from '../link/index.js';
import { splice } from './splice.js';

export const MAX_CLIENTS = 1024;
/** How long a client waits for the guest's ssh, and between two attempts, ms. */
const PATIENCE = 60_000;
const RETRY = 1000;
/** Between two looks whether the forward stands, ms. */
const LOOK = 50;

/** Throws ERR_NETPROXY_CONFIG where ssh could take it for something else, or the key is not there. */
export function checkSshForward(spec: SshForwardSpec): void {
  checkSshWords(spec);
  const { identity } = spec;
  try {
    statSync(identity);
  } catch (error) {
    throw new NetproxyError(
      'ERR_NETPROXY_CONFIG',
      `identity file "${identity}" can't be loaded: ${(error as Error).message}`,
    );
  }
}

export class SshForward {
  private readonly spec: SshForwardSpec;
  private readonly network: Network;
  private readonly logger: Logger;
  private readonly clients = new Set<Socket>();
  private readonly folder: string;
  private server: Server | undefined;
  private bound: BoundPath | undefined;
  private published: Published | undefined;
  private child: ChildProcess | undefined;
  private standing: Promise<void> | undefined;
  private closed = false;

  private constructor(network: Network, spec: SshForwardSpec, logger: Logger) {
    this.network = network;
    this.spec = spec;
    this.logger = logger;
    this.folder = mkdtempSync(path.join(tmpdir(), 'netproxy-ssh-'));
  }

  /** Listens. Rejects with ERR_NETPROXY_CONFIG, ERR_NETPROXY_LISTEN, ERR_NETPROXY_PUBLISH. */
  static async open(network: Network, spec: SshForwardSpec, logger: Logger): Promise<SshForward> {
    checkSshForward(spec);
    const forward = new SshForward(network, spec, logger);
    try {
      await forward.listen();
      return forward;
    } catch (error) {
      forward.close();
      throw error;
    }
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.bound?.release();
    this.server?.close();
    this.published?.close();
    this.child?.kill();
    for (const client of this.clients) client.destroy();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async listen(): Promise<void> {
    const { guest, port, socket } = this.spec;
    const at = parseIpv4(guest) === undefined ? { guest } : { guestIp: guest };
    const inner = { protocol: 'tcp', hostIp: '127.0.0.1', hostPort: 0, ...at, guestPort: port } as const;
    this.published = await this.network.publish(inner, { keep: false });
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
      void this.serve(client);
    });
    server.maxConnections = MAX_CLIENTS;
    this.server = server;
    this.bound = await listenUnix(server, socket);
    server.on('error', (error) => this.logger.warn(`${socket}: ${error.message}`));
    server.unref();
  }

  private async serve(client: Socket): Promise<void> {
    this.clients.add(client);
    client.once('close', () => this.clients.delete(client)).on('error', () => undefined);
    const end = Date.now() + PATIENCE;
    for (;;) {
      try {
        this.standing ??= this.start();
        await this.standing;
        break;
      } catch (error) {
        this.standing = undefined;
        if (this.closed || client.destroyed) return;
        this.logger.debug(`${this.spec.socket}: ${(error as Error).message}`);
        if (Date.now() + RETRY > end) {
          this.logger.warn(`${this.spec.socket}: ${(error as Error).message}`);
          client.destroy();
          return;
        }
        await pause(RETRY);
      }
    }
    if (!client.destroyed) splice(client, connect({ path: this.inner, allowHalfOpen: true }), '');
  }

  /** The socket that ssh forwards. */
  private get inner(): string {
    return path.join(this.folder, 'socket');
  }

  /** Starts ssh; resolves when it forwards, rejects with what it said when it ended. */
  private async start(): Promise<void> {
    rmSync(this.inner, { force: true });
    const child = spawn('ssh', sshArguments(this.spec, this.folder, this.inner, this.published?.port ?? 0), {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.child = child;
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-2000);
    });
    let ended: string | undefined;
    child.once('error', (error) => (ended = `cannot start ssh: ${error.message}`));
    child.once('exit', (code, signal) => {
      ended ??= `ssh ended (${signal ?? `code ${code}`}): ${said.trim()}`;
      if (this.child === child) this.standing = undefined;
    });
    // The socket is there once ssh has logged in.
    while (statSync(this.inner, { throwIfNoEntry: false }) === undefined) {
      if (this.closed) throw new Error('closed');
      if (ended !== undefined) throw new Error(ended);
      await pause(LOOK);
    }
    this.logger.info(`${this.spec.socket} leads to ${this.spec.dest} of ${this.spec.guest}`);
  }
}

/** % begins a token in ssh's paths, a colon ends one of a forward. */
const plain = (text: string): string => text.replaceAll('%', '%%');
const forwarded = (text: string): string => plain(text).replaceAll(/[\\:]/g, '\\$&');

export function sshArguments(spec: SshForwardSpec, folder: string, inner: string, port: number): string[] {
  const { knownHosts } = spec;
  const options = [
    'BatchMode=yes',
    'IdentitiesOnly=yes',
    'IdentityAgent=none',
    'ForwardAgent=no',
    'ControlMaster=no',
    'ControlPath=none',
    'ExitOnForwardFailure=yes',
    'ConnectTimeout=10',
    'ServerAliveInterval=15',
    'GlobalKnownHostsFile=none',
    `HostKeyAlias=${spec.guest}`,
    `UserKnownHostsFile="${plain(knownHosts ?? path.join(folder, 'known_hosts'))}"`,
    `StrictHostKeyChecking=${knownHosts === undefined ? 'accept-new' : 'yes'}`,
  ];
  return [
    ...['-F', 'none', '-N', '-T'],
    ...options.flatMap((option) => ['-o', option]),
    ...['-i', plain(spec.identity), '-l', spec.user, '-p', String(port)],
    ...['-L', `${forwarded(inner)}:${forwarded(spec.dest)}`, '127.0.0.1'],
  ];
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref());
}
