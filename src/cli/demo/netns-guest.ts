/**
 * The guest that most hosts can have: a network namespace with a TAP, and this kernel's TCP/IP in it. An agent in the
 * namespace does the work, with real clients where they are installed (busybox udhcpc, ping, dig, curl), else by itself.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { type Server, type Socket, createServer } from 'node:net';
import path from 'node:path';
import type { Network } from '../../index.js';
import { hostFacts } from '../host-facts.js';
import { packageFile } from '../package-files.js';
import { type NamespaceChild, spawnNamespace } from '../run.js';
import { type AgentCalls, type AgentReply, type AgentVerb, byLine } from './agent-messages.js';
import type { DemoGuest, Transfer } from './guest.js';
import { type Scratch, makeScratch } from './scratch.js';
import { type Shell, check, shellDownload, shellPing, shellResolve, shellUpload } from './shell.js';

const AGENT = packageFile('dist/cli/demo/agent.js');
const AGENT_TIMEOUT = 15_000;
const SHM = '/dev/shm';
/** What fits into memory as a file, bytes; beyond it the agent moves the bytes itself. */
const FILE_LIMIT = 1_000_000_000;

/** What busybox udhcpc calls with a lease. */
const UDHCPC_SCRIPT = `#!/bin/sh
case $1 in
deconfig) busybox ip addr flush dev $interface; busybox ip link set $interface up ;;
bound)
  busybox ip addr flush dev $interface
  busybox ip addr add $ip/$mask dev $interface
  for one in $router; do busybox ip route add default via $one dev $interface; done
  echo "lease $ip" ;;
esac
`;

export class NetnsDemoGuest implements DemoGuest {
  readonly kind = 'netns';
  readonly description: string;
  private readonly network: Network;
  private readonly child: NamespaceChild;
  private readonly scratch: Scratch;
  /** Where the bytes are kept: in memory where there is such a place. */
  private readonly memory = makeScratch(existsSync(SHM) ? SHM : undefined);
  private readonly agent: AgentConnection;
  private readonly tools: Tools;

  private constructor(
    network: Network,
    child: NamespaceChild,
    scratch: Scratch,
    agent: AgentConnection,
    tools: Tools,
  ) {
    this.network = network;
    this.child = child;
    this.scratch = scratch;
    this.agent = agent;
    this.tools = tools;
    const used = [
      tools.udhcpc ? 'udhcpc' : undefined,
      tools.ping?.split(' ').at(-1),
      tools.dig ? 'dig' : undefined,
      tools.curl ? 'curl' : undefined,
    ];
    const named = used.filter((name) => name !== undefined).join(', ');
    this.description = `a network namespace with a TAP, this kernel's TCP/IP${named === '' ? '' : ` and ${named}`}`;
  }

  /** Makes the namespace and its agent. Rejects with ERR_NETPROXY_NATIVE or ERR_NETPROXY_NAMESPACE where that is not possible. */
  static async create(network: Network): Promise<NetnsDemoGuest> {
    const scratch = makeScratch();
    const tools = findTools();
    const door = createServer();
    let child: NamespaceChild | undefined;
    try {
      const socket = path.join(scratch.dir, 'agent');
      const entering = enter(door, socket);
      child = spawnNamespace(network, {
        command: [process.execPath, AGENT, socket],
        dns: true,
        mapRoot: true,
        configured: !tools.udhcpc,
      });
      const failed = child.go();
      if (failed !== undefined) throw new Error(`cannot run node in the namespace (${failed})`);
      return new NetnsDemoGuest(network, child, scratch, new AgentConnection(await entering), tools);
    } catch (error) {
      child?.kill('SIGKILL');
      scratch.remove();
      throw error;
    } finally {
      door.close();
    }
  }

  private readonly shell: Shell = (script) => this.agent.call('exec', { script });

  async lease(): Promise<string> {
    if (!this.tools.udhcpc)
      return (await this.agent.call('lease', { gateway: this.network.addresses.gateway })).ip;
    const script = path.join(this.scratch.dir, 'udhcpc.sh');
    writeFileSync(script, UDHCPC_SCRIPT, { mode: 0o755 });
    const output = await check(this.shell, `busybox udhcpc -i tap0 -n -q -f -t 5 -T 1 -s ${script}`);
    const ip = /^lease (\S+)$/m.exec(output)?.[1];
    if (ip === undefined) throw new Error('udhcpc got no lease');
    return ip;
  }

  async ping(ip: string): Promise<number> {
    const { ping } = this.tools;
    return ping === undefined ? (await this.agent.call('ping', { ip })).ms : shellPing(this.shell, ping, ip);
  }

  async resolve(name: string): Promise<string> {
    return this.tools.dig ? shellResolve(this.shell, name) : (await this.agent.call('resolve', { name })).ip;
  }

  async refused(ip: string, port: number): Promise<number> {
    return (await this.agent.call('refused', { ip, port })).ms;
  }

  async download(ip: string, port: number, bytes: number): Promise<Transfer> {
    if (!this.byCurl(bytes)) return this.agent.call('download', { ip, port, bytes });
    return shellDownload(this.shell, this.file, `http://${ip}:${port}/bytes/${bytes}`);
  }

  async upload(ip: string, port: number, bytes: number): Promise<Transfer> {
    if (!this.byCurl(bytes)) return this.agent.call('upload', { ip, port, bytes });
    return shellUpload(this.shell, this.file, `http://${ip}:${port}/upload`);
  }

  async udp(ip: string, port: number, count: number): Promise<number> {
    return (await this.agent.call('udp', { ip, port, count })).back;
  }

  async serve(port: number, text: string): Promise<void> {
    await this.agent.call('serve', { port, text });
  }

  async close(): Promise<void> {
    this.agent.end();
    this.child.kill('SIGKILL');
    await this.child.exited;
    this.scratch.remove();
    this.memory.remove();
  }

  private byCurl(bytes: number): boolean {
    return this.tools.curl && bytes <= FILE_LIMIT;
  }

  private get file(): string {
    return path.join(this.memory.dir, 'bytes');
  }
}

interface Tools {
  readonly udhcpc: boolean;
  readonly ping: string | undefined;
  readonly dig: boolean;
  readonly curl: boolean;
}

function findTools(): Tools {
  const applets = busyboxApplets();
  const has = (program: string): boolean => hostFacts.which(program) !== undefined;
  return {
    udhcpc: applets.has('udhcpc') && applets.has('ip'),
    ping: has('ping') ? 'ping' : applets.has('ping') ? 'busybox ping' : undefined,
    dig: has('dig'),
    curl: has('curl') && has('sha256sum'),
  };
}

function busyboxApplets(): Set<string> {
  try {
    const list = execFileSync('busybox', ['--list'], {
      encoding: 'utf8',
      timeout: 5000,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return new Set(list.split('\n'));
  } catch {
    return new Set();
  }
}

/** The agent's connection to our socket. */
function enter(door: Server, socket: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`the namespace's agent said nothing within ${AGENT_TIMEOUT} ms`));
    }, AGENT_TIMEOUT);
    timer.unref();
    door.once('connection', (connection) => {
      clearTimeout(timer);
      resolve(connection);
    });
    door.once('error', reject);
    door.listen(socket);
  });
}

/** Asks the agent and matches its answers. */
class AgentConnection {
  private readonly socket: Socket;
  private readonly waiting = new Map<
    number,
    { resolve: (answer: never) => void; reject: (error: Error) => void }
  >();
  private nextId = 1;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on(
      'data',
      byLine((line) => {
        const reply = JSON.parse(line) as AgentReply;
        const entry = this.waiting.get(reply.id);
        this.waiting.delete(reply.id);
        if ('error' in reply) entry?.reject(new Error(reply.error));
        else entry?.resolve(reply.answer as never);
      }),
    );
    socket.on('error', () => undefined);
    socket.on('close', () => {
      for (const { reject } of this.waiting.values()) reject(new Error("the namespace's agent is gone"));
      this.waiting.clear();
    });
  }

  call<V extends AgentVerb>(verb: V, ask: AgentCalls[V]['ask']): Promise<AgentCalls[V]['answer']> {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.socket.write(`${JSON.stringify({ id, verb, ask })}\n`);
    });
  }

  end(): void {
    this.socket.destroy();
  }
}
