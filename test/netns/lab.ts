/**
 * Two network namespaces that lead nowhere else, for tests with real kernels:
 *
 * - `host`, where netproxy and the servers run: loopback with test addresses and **no default route**, so
 *   that nothing a test sends, not even a mutated frame, can reach another machine;
 * - `guest`, with only its loopback until a TAP arrives.
 *
 * Each has its own resolv.conf, hosts and nsswitch.conf. All of it goes with {@link Lab.destroy}, at this
 * process's exit, or, if it was killed, with the next lab that is made.
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from '../support/deadline.js';
import { type ExecOptions, type ExecResult, Proc, type SpawnOptions, exec } from '../support/process.js';
import { Capture } from './capture.js';
import type { ClientRequest, ClientResult } from './clients.js';
import { Netproxy, type NetproxyOptions } from './netproxy.js';
import { type ServerSpec, Servers } from './servers.js';

const here = dirname(fileURLToPath(import.meta.url));

/** Every address of this network is a black hole: its SYNs are sent and nothing ever answers. */
export const BLACK_HOLE = '198.19';
/** Host unreachable (EHOSTUNREACH) from the host side. */
export const HOST_UNREACHABLE = '192.0.2.1';
/** Prohibited by the host's routing table (EACCES). */
export const PROHIBITED = '198.51.100.1';
/** Without any route (ENETUNREACH). */
export const NET_UNREACHABLE = '203.0.113.1';

export interface LabOptions {
  /** How many addresses 198.18.0.1… the host side has. Default 4, at most 250. */
  readonly addresses?: number;
}

const NAME = /^np(\d+)-\d+[a-z]\d*$/;
const ETC_NETNS = '/etc/netns';
const live = new Set<Lab>();
let counter = 0;

/** A black-hole address by number, 0…65535. */
export function blackHole(n = 1): string {
  return `${BLACK_HOLE}.${(n >> 8) & 255}.${n & 255}`;
}

function writeEtc(name: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(join(ETC_NETNS, name), { recursive: true });
  for (const [file, text] of Object.entries(files)) writeFileSync(join(ETC_NETNS, name, file), text);
}

/** Ends what still runs in a namespace and deletes it. Synchronous, so that an exit handler can. */
function deleteNamespace(name: string): void {
  const ip = (...args: string[]) => {
    try {
      return execFileSync('ip', args, {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
        timeout: 10_000,
      });
    } catch {
      return ''; // it is gone already
    }
  };
  for (const pid of ip('netns', 'pids', name).split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // it has ended meanwhile
    }
  }
  ip('netns', 'del', name);
  rmSync(join(ETC_NETNS, name), { recursive: true, force: true });
}

export class Lab {
  /** The namespace of netproxy and the servers. */
  readonly host: string;
  /** The namespace that is the guest. */
  readonly guest: string;
  /** A folder for sockets, captures and configuration files. */
  readonly dir: string;
  /** The host side's addresses, all on its loopback. */
  readonly addresses: readonly string[];
  readonly #others: string[] = [];

  private constructor(addresses: number) {
    const base = `np${process.pid}-${counter++}`;
    this.host = `${base}h`;
    this.guest = `${base}g`;
    this.dir = mkdtempSync(join(tmpdir(), 'np-lab-'));
    this.addresses = Array.from({ length: addresses }, (_, index) => `198.18.0.${index + 1}`);
  }

  /** Makes the namespaces. Needs root. */
  static async create(options: LabOptions = {}): Promise<Lab> {
    if (counter === 0) {
      Lab.sweep();
      process.on('exit', () => live.forEach((lab) => lab.#remove()));
    }
    const lab = new Lab(options.addresses ?? 4);
    live.add(lab);
    try {
      await lab.#setUp();
    } catch (error) {
      await lab.destroy();
      throw error;
    }
    return lab;
  }

  /** Deletes namespaces whose test process was killed before it could. */
  static sweep(): void {
    const folders = ['/run/netns', ETC_NETNS].filter((folder) => existsSync(folder));
    const names = new Set(folders.flatMap((folder) => readdirSync(folder)));
    for (const name of names) {
      const pid = NAME.exec(name)?.[1];
      if (pid !== undefined && !existsSync(`/proc/${pid}`)) deleteNamespace(name);
    }
  }

  /**
   * One more namespace, with loopback only, which goes with the lab. It forwards what comes, so that it can be a router.
   * @param suffix a letter and a number, such as `r1`
   */
  async namespace(suffix: string): Promise<string> {
    const name = `${this.host.slice(0, -1)}${suffix}`;
    this.#others.push(name);
    await exec(['ip', 'netns', 'add', name], { check: true });
    const set = 'echo 1 > /proc/sys/net/ipv4/ip_forward; ip link set lo up';
    await exec(['sh', '-c', set], { netns: name, check: true });
    return name;
  }

  /** The n-th address of the host side, from 0. */
  address(n = 0): string {
    const address = this.addresses[n];
    if (address === undefined) throw new Error(`the lab has ${this.addresses.length} addresses`);
    return address;
  }

  /** A path in the lab's folder. */
  path(name: string): string {
    return join(this.dir, name);
  }

  /** Runs a program in a namespace to its end. */
  exec(netns: string, argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return exec(argv, { ...options, netns });
  }

  /** Runs a program in a namespace; its standard output if its exit code is 0, otherwise an error. */
  async check(netns: string, argv: readonly string[], options: ExecOptions = {}): Promise<string> {
    return (await exec(argv, { ...options, netns, check: true })).stdout;
  }

  /** Starts a program in a namespace. */
  spawn(netns: string, argv: readonly string[], options: SpawnOptions = {}): Proc {
    return new Proc(argv, { ...options, netns });
  }

  /** Starts the built netproxy on the host side and waits until it is ready (Netproxy.start). */
  startNetproxy(args: readonly string[], options: NetproxyOptions = {}): Promise<Netproxy> {
    return Netproxy.start(args, { netns: this.host, ...options });
  }

  /** Starts servers in a namespace, by default on the host side at its first address. */
  serve(specs: Readonly<Record<string, ServerSpec>>, netns = this.host): Promise<Servers> {
    const placed = Object.entries(specs).map(
      ([name, spec]) => [name, { address: this.address(), ...spec }] as const,
    );
    return Servers.start(netns, Object.fromEntries(placed));
  }

  /** Starts client.mjs in a namespace, by default in the guest; {@link clientResult} reads its result. */
  startClient(request: ClientRequest, netns = this.guest): Proc {
    return this.spawn(netns, [process.execPath, join(here, 'client.mjs'), JSON.stringify(request)], {
      stdin: 'ignore',
      label: `client ${request.mode}`,
    });
  }

  /** Waits for a client's end and result. */
  async clientResult(client: Proc, timeoutMs = 60_000): Promise<ClientResult> {
    await client.waitExit(timeoutMs);
    const line = client.stdout.trimEnd().split('\n').at(-1) ?? '';
    if (!line.startsWith('{')) throw new Error(client.describe());
    return JSON.parse(line) as ClientResult;
  }

  /** Runs client.mjs in a namespace, by default in the guest. */
  async client(request: ClientRequest, timeoutMs = 60_000, netns = this.guest): Promise<ClientResult> {
    const client = this.startClient(request, netns);
    try {
      return await this.clientResult(client, timeoutMs);
    } finally {
      await client.kill('SIGKILL');
    }
  }

  /** Watches packets; the filter is tcpdump's. */
  capture(netns: string, interfaceName = 'lo', filter = 'tcp'): Promise<Capture> {
    return Capture.start(netns, interfaceName, filter);
  }

  /**
   * Starts dnsmasq on 127.0.0.1:53 of the host side, where its resolv.conf points: authoritative for
   * lab.test (NXDOMAIN for what it lacks), REFUSED for all else.
   * @param args dnsmasq's, e.g. `--host-record=www.lab.test,198.18.0.2`, `--txt-record=…`
   */
  async dns(args: readonly string[] = []): Promise<Proc> {
    const fixed = ['-k', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--listen-address=127.0.0.1'];
    fixed.push('--bind-interfaces', '--user=root', '--pid-file=', '--log-facility=-', '--local=/lab.test/');
    const proc = this.spawn(this.host, ['dnsmasq', ...fixed, ...args], { stdin: 'ignore' });
    await proc.waitFor(/started, version/, 10_000, 'stderr');
    return proc;
  }

  /** Waits until the namespace has the interface and sets it up. */
  async linkUp(interfaceName = 'tap0', netns = this.guest, timeoutMs = 10_000): Promise<void> {
    const ip = (...args: string[]) => exec(['ip', '-n', netns, ...args]);
    await until(
      timeoutMs,
      `interface ${interfaceName}`,
      async () => (await ip('link', 'show', interfaceName)).code === 0,
    );
    await exec(['ip', '-n', netns, 'link', 'set', interfaceName, 'up'], { check: true });
  }

  /**
   * Gets a lease in the guest namespace with a real client and applies it: address, MTU, route, resolv.conf.
   * @returns what the server said, by udhcpc's names: ip, mask, router, dns, mtu, lease, serverid, domain, search
   */
  async dhcp(
    interfaceName = 'tap0',
    options: { client?: 'udhcpc' | 'dhclient'; args?: readonly string[]; timeoutMs?: number } = {},
  ): Promise<Record<string, string>> {
    const lease = this.path(`lease.${interfaceName}`);
    const script = join(here, 'dhcp-script');
    rmSync(lease, { force: true });
    this.#endDhclient();
    await this.linkUp(interfaceName);
    const udhcpc = ['udhcpc', '-i', interfaceName, '-n', '-q', '-t', '5', '-T', '1', '-s', script];
    udhcpc.push('-O', 'mtu', '-O', 'search');
    const files = [
      '-lf',
      this.path('dhclient.leases'),
      '-pf',
      this.path('dhclient.pid'),
      '-cf',
      this.path('dhclient.conf'),
    ];
    const dhclient = ['dhclient', '-1', '-v', '-sf', script, '-e', `LEASE_FILE=${lease}`, ...files];
    const own = options.args ?? [];
    const argv = options.client === 'dhclient' ? [...dhclient, ...own, interfaceName] : [...udhcpc, ...own];
    await this.check(this.guest, argv, {
      env: { LEASE_FILE: lease },
      timeoutMs: options.timeoutMs ?? 20_000,
    });
    const lines = readFileSync(lease, 'utf8').trim().split('\n');
    return Object.fromEntries(lines.map((line) => [line.split('=')[0], line.slice(line.indexOf('=') + 1)]));
  }

  /** Points the resolv.conf of a namespace, by default the guest's, at a server. */
  setResolver(address: string, netns = this.guest): void {
    writeFileSync(
      join(ETC_NETNS, netns, 'resolv.conf'),
      `nameserver ${address}\noptions timeout:2 attempts:2\n`,
    );
  }

  /** Ends everything in the namespaces and deletes them and the folder. */
  async destroy(): Promise<void> {
    this.#remove();
    await Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.destroy();
  }

  /** dhclient stays to renew its lease; a second one would refuse to start beside it. */
  #endDhclient(): void {
    const file = this.path('dhclient.pid');
    if (!existsSync(file)) return;
    const pid = Number(readFileSync(file, 'utf8'));
    rmSync(file);
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it has ended by itself
    }
  }

  #remove(): void {
    if (!live.delete(this)) return;
    deleteNamespace(this.guest);
    deleteNamespace(this.host);
    this.#others.forEach(deleteNamespace);
    rmSync(this.dir, { recursive: true, force: true });
  }

  async #setUp(): Promise<void> {
    const nsswitch = 'passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n';
    const hosts = '127.0.0.1 localhost\n::1 localhost ip6-localhost\n';
    const resolver = 'nameserver 127.0.0.1\noptions timeout:1 attempts:2\n';
    writeEtc(this.host, { 'resolv.conf': resolver, 'nsswitch.conf': nsswitch, hosts });
    writeEtc(this.guest, { 'resolv.conf': '', 'nsswitch.conf': nsswitch, hosts });
    writeFileSync(
      this.path('dhclient.conf'),
      'timeout 15;\nrequest subnet-mask, routers, domain-name, domain-name-servers, domain-search, interface-mtu;\n',
    );
    for (const name of [this.host, this.guest]) {
      await exec(['ip', 'netns', 'add', name], { check: true });
      const open = 'echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range; ip link set lo up';
      await exec(['sh', '-c', open], { netns: name, check: true });
    }
    // The dead end: a TAP that nobody reads. No ARP there, so a SYN is sent and lost instead of failing.
    const source = this.address();
    const batch = [
      ...this.addresses.map((address) => `addr add ${address}/32 dev lo`),
      'tuntap add mode tap name deadend',
      'link set deadend arp off',
      'link set deadend up',
      `route add ${BLACK_HOLE}.0.0/16 dev deadend src ${source}`,
      `route add unreachable ${HOST_UNREACHABLE}/32`,
      `route add prohibit ${PROHIBITED}/32`,
    ];
    await exec(['ip', '-n', this.host, '-batch', '-'], { input: `${batch.join('\n')}\n`, check: true });
  }
}
