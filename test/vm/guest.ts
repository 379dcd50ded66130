/**
 * A QEMU guest for tests: a Debian kernel with a small initramfs (build-guest.mjs), under TCG, so that it
 * runs where KVM is missing or broken. Its agent runs bash scripts for the test over a virtio-serial port.
 *
 * Nothing reaches the network but what `netdev` says; with `netns` QEMU itself runs inside a namespace.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type Server, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { within } from '../support/deadline.js';
import { Proc } from '../support/process.js';
import { AgentChannel, type GuestResult } from './agent.js';

export type { GuestResult } from './agent.js';

const BUILD_SCRIPT = join(dirname(fileURLToPath(import.meta.url)), 'build-guest.mjs');
const BOOT_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 5_000;
const DEFAULT_MAC = '52:54:00:12:34:56';

/** Each of these saves boot time under TCG (together 0.4 s of 2.6 s) or keeps the guest quiet. */
const KERNEL_ARGS = [
  ...[
    'console=ttyS0',
    'quiet',
    'panic=-1',
    'tsc=reliable',
    'mitigations=off',
    'random.trust_cpu=on',
    'nokaslr',
  ],
  ...['no_timer_check', 'noreplace-smp', '8250.nr_uarts=1', 'pci=noaer', 'cryptomgr.notests'],
];

export interface GuestOptions {
  /** A QEMU `-netdev` value with `id=n0`, e.g. {@link qemuStream}; none: the guest has no NIC. */
  readonly netdev?: string;
  /** More properties of the virtio NIC, e.g. `host_mtu=9000`. */
  readonly nic?: string;
  readonly mac?: string;
  /** MiB. Default 512, with netproxy inside 1024. */
  readonly mem?: number;
  /** The network namespace QEMU runs in. */
  readonly netns?: string;
  /** Kernel modules to load besides those of the devices, e.g. `['tun', 'vsock_loopback']`. */
  readonly modules?: readonly string[];
  /** Packs Node, dist/, the production dependencies and the crate: `netproxy` is then a command in the guest. */
  readonly withNetproxy?: boolean;
  /** More QEMU arguments. */
  readonly qemuArgs?: readonly string[];
  /** Milliseconds for the boot. Default 60,000: a boot takes 3 s, but the machine may be busy. */
  readonly bootTimeoutMs?: number;
}

export interface BootOptions extends GuestOptions {
  readonly script: string;
  /** Milliseconds for the script. Default 60,000. */
  readonly timeoutMs?: number;
}

export interface BootResult extends GuestResult {
  /** Milliseconds from the start of QEMU to the first command. */
  readonly bootMs: number;
  /** What the kernel and init wrote to the serial console. */
  readonly console: string;
}

/** A script that runs in the guest. */
export interface GuestJob {
  readonly done: Promise<GuestResult>;
  /** Ends the script and all that belongs to its session; `done` then has code 137. */
  kill(): void;
}

export interface GuestImage {
  readonly kernel: string;
  readonly initrd: string;
}

const images = new Map<boolean, Promise<GuestImage>>();

/** Builds the guest's kernel and initramfs, or finds them built. The first time takes some 10 s and a download. */
export function guestImage(withNetproxy = false): Promise<GuestImage> {
  let image = images.get(withNetproxy);
  if (image === undefined) {
    const args = [BUILD_SCRIPT, ...(withNetproxy ? ['--with-netproxy'] : [])];
    image = promisify(execFile)(process.execPath, args, { timeout: 300_000 }).then(
      ({ stdout }) => JSON.parse(stdout) as GuestImage,
      (error: unknown) => {
        const { stderr, message } = error as Error & { stderr?: string };
        throw new Error(stderr?.trim() || message);
      },
    );
    images.set(withNetproxy, image);
  }
  return image;
}

/** The `-netdev` value for netproxy's qemu link on a unix socket. netproxy must listen first: QEMU 7.2 never tries again. */
export function qemuStream(path: string): string {
  return `stream,id=n0,server=off,addr.type=unix,addr.path=${path.replaceAll(',', ',,')}`;
}

function qemuCommand(image: GuestImage, dir: string, options: GuestOptions): string[] {
  const modules = [...(options.netdev === undefined ? [] : ['virtio_net']), ...(options.modules ?? [])];
  const append = KERNEL_ARGS.join(' ');
  const args = ['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'];
  args.push('-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '1');
  args.push('-m', String(options.mem ?? (options.withNetproxy === true ? 1024 : 512)));
  args.push('-kernel', image.kernel, '-initrd', image.initrd);
  args.push('-append', modules.length > 0 ? `${append} guest.modules=${modules.join(',')}` : append);
  args.push('-serial', `file:${join(dir, 'console')}`);
  args.push(
    '-device',
    'virtio-serial-pci',
    '-chardev',
    `socket,id=agent,path=${join(dir, 'agent')},server=off`,
  );
  args.push('-device', 'virtserialport,chardev=agent,name=netproxy.agent');
  if (options.netdev !== undefined) {
    const nic = `virtio-net-pci,netdev=n0,mac=${options.mac ?? DEFAULT_MAC},romfile=`;
    args.push(
      '-netdev',
      options.netdev,
      '-device',
      options.nic === undefined ? nic : `${nic},${options.nic}`,
    );
  }
  return ['qemu-system-x86_64', ...args, ...(options.qemuArgs ?? [])];
}

/** Takes the one connection QEMU makes to the agent's socket. */
function agentServer(path: string): { server: Server; channel: Promise<AgentChannel> } {
  const server = createServer();
  const channel = new Promise<AgentChannel>((resolve, reject) => {
    server.once('connection', (socket) => resolve(new AgentChannel(socket)));
    server.once('error', reject);
  });
  server.listen(path);
  return { server, channel };
}

/** A guest that has booted. End it with {@link stop}, {@link kill} or `await using`. */
export class Guest {
  /** Milliseconds from the start of QEMU to the first command. */
  readonly bootMs: number;
  readonly #qemu: Proc;
  readonly #channel: AgentChannel;
  readonly #dir: string;

  private constructor(qemu: Proc, channel: AgentChannel, dir: string, bootMs: number) {
    this.#qemu = qemu;
    this.#channel = channel;
    this.#dir = dir;
    this.bootMs = bootMs;
    void qemu.exited.then(() => {
      channel.fail(new Error(`the guest is gone: ${qemu.describe()}`));
      rmSync(dir, { recursive: true, force: true });
    });
  }

  /** Boots a guest and waits for its agent. Errors carry QEMU's messages and the end of the console. */
  static async boot(options: GuestOptions = {}): Promise<Guest> {
    const image = await guestImage(options.withNetproxy);
    const dir = mkdtempSync(join(tmpdir(), 'np-guest-'));
    const { server, channel } = agentServer(join(dir, 'agent'));
    const started = performance.now();
    const netns = options.netns === undefined ? {} : { netns: options.netns };
    const qemu = new Proc(qemuCommand(image, dir, options), { stdin: 'ignore', label: 'qemu', ...netns });
    const ended = qemu.exited.then(() => Promise.reject(new Error('QEMU ended')));
    ended.catch(() => undefined);
    try {
      const ready = channel.then(async (agent) => {
        await agent.ready;
        return agent;
      });
      const agent = await within(
        options.bootTimeoutMs ?? BOOT_TIMEOUT_MS,
        'boot',
        Promise.race([ready, ended]),
      );
      return new Guest(qemu, agent, dir, performance.now() - started);
    } catch (error) {
      await qemu.kill('SIGKILL');
      const text = `${(error as Error).message}\n${qemu.describe()}\n--- console ---\n${consoleOf(dir).slice(-3_000)}`;
      rmSync(dir, { recursive: true, force: true });
      throw new Error(`the guest did not boot: ${text}`);
    } finally {
      server.close();
    }
  }

  /** QEMU's own process id. */
  get pid(): number {
    return this.#qemu.pid;
  }

  /** What the serial console shows so far; empty once the guest has ended. */
  get console(): string {
    return consoleOf(this.#dir);
  }

  /** Starts a bash script in the guest. Many may run at once. */
  start(script: string): GuestJob {
    const { id, done } = this.#channel.run(script);
    done.catch(() => undefined);
    return { done, kill: () => this.#channel.interrupt(id) };
  }

  /**
   * Runs a bash script in the guest. An exit code other than 0 is a result, not an error.
   * @param timeoutMs then the script is killed and the call fails with what it had printed.
   */
  async run(script: string, timeoutMs = 30_000): Promise<GuestResult> {
    const job = this.start(script);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      job.kill();
    }, timeoutMs);
    try {
      const result = await within(timeoutMs + STOP_TIMEOUT_MS, () => `guest: ${script}`, job.done);
      if (late)
        throw new Error(`guest: ${script}: not done within ${timeoutMs} ms\n${result.output.slice(-3_000)}`);
      return result;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Like {@link run}, but an exit code other than 0 is an error. Returns the output without its last newline. */
  async check(script: string, timeoutMs = 30_000): Promise<string> {
    const { code, output } = await this.run(script, timeoutMs);
    if (code !== 0) throw new Error(`guest: ${script}: exit code ${code}\n${output.slice(-3_000)}`);
    return output.trimEnd();
  }

  /** Writes a file in the guest, its folders included. */
  async writeFile(path: string, data: string | Buffer): Promise<void> {
    await within(60_000, `guest: writing ${path}`, this.#channel.put(path, Buffer.from(data)));
  }

  /** Reads a file of up to 16 MiB from the guest. */
  async readFile(path: string): Promise<Buffer> {
    const { code, raw } = await this.run(`exec cat -- '${path.replaceAll("'", `'\\''`)}'`, 60_000);
    if (code !== 0) throw new Error(`guest: ${raw.toString()}`);
    return raw;
  }

  /**
   * Asks for a lease with busybox udhcpc and applies it (address, MTU, routes, resolv.conf).
   * @returns what the server said, by udhcpc's names: ip, mask, router, dns, mtu, lease, serverid, domain, …
   */
  async dhcp(interfaceName = 'eth0', timeoutMs = 20_000): Promise<Record<string, string>> {
    const udhcpc = `udhcpc -i ${interfaceName} -n -q -t 5 -T 2 -O mtu -O search >/tmp/udhcpc.log 2>&1`;
    const lines = await this.check(
      `${udhcpc} || { cat /tmp/udhcpc.log; exit 1; }; cat /tmp/lease`,
      timeoutMs,
    );
    return Object.fromEntries(
      lines.split('\n').map((line) => [line.split('=')[0], line.slice(line.indexOf('=') + 1)]),
    );
  }

  /** Powers off; QEMU is killed when that takes over 5 s. */
  async stop(): Promise<void> {
    this.#channel.powerOff();
    const timer = setTimeout(() => void this.kill(), STOP_TIMEOUT_MS);
    await this.#qemu.exited;
    clearTimeout(timer);
  }

  /** Ends QEMU with SIGKILL, as a crash would. */
  async kill(): Promise<void> {
    await this.#qemu.kill('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

function consoleOf(dir: string): string {
  const file = join(dir, 'console');
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

/** Boots a guest, runs one script in it and powers it off. */
export async function bootGuest(options: BootOptions): Promise<BootResult> {
  const guest = await Guest.boot(options);
  try {
    const result = await guest.run(options.script, options.timeoutMs ?? 60_000);
    return { ...result, bootMs: guest.bootMs, console: guest.console };
  } finally {
    await guest.stop();
  }
}
