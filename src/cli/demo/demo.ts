/**
 * The demo: picks a guest, starts the servers and a network, runs the steps, tells how it went.
 *
 * Theory of operation. As root everything happens in a network namespace without routes (isolate.ts), where the guest talks to
 * servers at a test address. Without root the servers listen on loopback, the guest reaches them by the host alias, and the
 * policy denies everything else. The servers are a process of their own, so that what is measured is not their work.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { get as httpGet } from 'node:http';
import { constants } from 'node:os';
import pc from 'picocolors';
import { NetproxyError } from '../../core/index.js';
import { type Network, type NetworkConfig, createNetwork } from '../../index.js';
import { loadNative } from '../../native/index.js';
import { formatDuration } from '../../observe/index.js';
import { EXIT, usageError } from '../exit.js';
import { hostFacts } from '../host-facts.js';
import { packageFile } from '../package-files.js';
import { RUN_MTU } from '../run.js';
import type { Terminal } from '../terminal.js';
import type { DemoGuest } from './guest.js';
import { INSIDE, SERVER_ADDRESS, canIsolate, runIsolated } from './isolate.js';
import { NetnsDemoGuest } from './netns-guest.js';
import { ScriptedDemoGuest } from './scripted-guest.js';
import type { DemoServers } from './servers.js';
import { STEPS, type Scene } from './steps.js';
import { VM_SIZE_LIMIT, VmDemoGuest, type VmImage, vmImage, vmObstacle } from './vm-guest.js';

export interface DemoOptions {
  readonly netns?: boolean | undefined;
  readonly vm?: boolean | undefined;
  readonly scripted?: boolean | undefined;
  readonly size: string;
  readonly kernel?: string | undefined;
  readonly initrd?: string | undefined;
  readonly json?: boolean | undefined;
}

type Kind = DemoGuest['kind'];

const SERVERS = packageFile('dist/cli/demo/servers.js');
/** The longest that a step may take, ms: the emulated guest is slow. */
const STEP_TIMEOUT = 300_000;
const SERVER_TIMEOUT = 15_000;
/** How long clearing away may take after an interruption, ms. */
const INTERRUPT_GRACE = 1000;
const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  KI: 1 << 10,
  MI: 1 << 20,
  GI: 1 << 30,
};

/** Bytes of `100MB`, `1GiB`, `500K`; throws ERR_NETPROXY_CONFIG. */
export function parseSize(text: string): number {
  const match = /^(\d{1,6})\s*([KMG]?I?)B?$/.exec(text.toUpperCase());
  const unit = UNITS[match?.[2] ?? 'none'];
  const bytes = match === null || unit === undefined ? 0 : Number(match[1]) * unit;
  if (bytes >= 1 && bytes <= 1e12) return bytes;
  throw usageError(`--size: "${text}" is not allowed`, 'Allowed: a size such as 20MB, 1GB or 512KiB.');
}

/** Runs the demo; returns the exit code: 0 when every step passed. */
export async function demo(options: DemoOptions, terminal: Terminal): Promise<number> {
  const bytes = parseSize(options.size);
  if ((options.kernel === undefined) !== (options.initrd === undefined))
    throw usageError('--kernel and --initrd belong together');
  const kinds = candidates(options);
  if (kinds[0] === 'vm' && bytes > VM_SIZE_LIMIT)
    throw usageError(`--size: a QEMU guest keeps the bytes in memory: at most ${VM_SIZE_LIMIT / 1e9} GB`);
  if (process.env[INSIDE] === '1') return new Demo(options, bytes, SERVER_ADDRESS, terminal).run(kinds);
  // The image may have to be downloaded: before the move, after which there is no network.
  const image = kinds[0] === 'vm' ? await vmImage(options) : options;
  if (canIsolate())
    return runIsolated(argumentsFor({ ...options, kernel: image.kernel, initrd: image.initrd }, kinds[0]));
  return new Demo({ ...options, kernel: image.kernel, initrd: image.initrd }, bytes, undefined, terminal).run(
    kinds,
  );
}

/** The guests to try, best first. One that was asked for is the only one; throws where it is not possible. */
function candidates(options: DemoOptions): [Kind, ...Kind[]] {
  if (options.scripted === true) return ['scripted'];
  if (options.netns === true) return ['netns'];
  const obstacle = vmObstacle(options);
  if (options.vm === true) {
    if (obstacle !== undefined) throw obstacle;
    return ['vm'];
  }
  if (netnsObstacle() === undefined) return ['netns', 'scripted'];
  return obstacle === undefined ? ['vm', 'scripted'] : ['scripted'];
}

/** Why a namespace with a TAP is not possible here, as far as that shows without trying. */
function netnsObstacle(): string | undefined {
  const { addon, reason } = loadNative();
  if (addon === undefined) return `the native addon: ${reason ?? 'it is missing'}`;
  const { tun, userns } = addon.capabilities();
  if (tun !== 0) return '/dev/net/tun';
  return hostFacts.isRoot || userns === 0 ? undefined : 'user namespaces, or root';
}

function argumentsFor(options: DemoOptions, kind: Kind): string[] {
  const { size, kernel, initrd, json } = options;
  const image = kernel === undefined || initrd === undefined ? [] : ['--kernel', kernel, '--initrd', initrd];
  // Without a choice the first candidate was chosen; inside it may still fall back to the scripted guest.
  const chosen = options.netns === true || kind !== 'netns' ? [`--${kind}`] : [];
  return [...chosen, '--size', size, ...image, ...(json === true ? ['--json'] : [])];
}

class Demo {
  private readonly options: DemoOptions;
  private readonly bytes: number;
  /** Where the servers listen inside; undefined: on loopback, by the host alias. */
  private readonly inside: string | undefined;
  private readonly terminal: Terminal;
  private readonly paint: ReturnType<typeof pc.createColors>;

  constructor(options: DemoOptions, bytes: number, inside: string | undefined, terminal: Terminal) {
    this.options = options;
    this.bytes = bytes;
    this.inside = inside;
    this.terminal = terminal;
    this.paint = pc.createColors(terminal.color.out);
  }

  async run(kinds: readonly Kind[]): Promise<number> {
    const interrupted = interruption();
    const play = this.play(kinds, interrupted.signal);
    try {
      return await Promise.race([play, interrupted.signal]);
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      // What can be cleared away in order is; the exit handlers see to the rest.
      await within(INTERRUPT_GRACE, play).catch(() => undefined);
      this.terminal.err('netproxy: interrupted.\n');
      return EXIT.signalled + constants.signals.SIGINT;
    } finally {
      interrupted.stop();
    }
  }

  private async play(kinds: readonly Kind[], interrupted: Promise<never>): Promise<number> {
    const started = performance.now();
    const { servers, child } = await startServers(this.inside ?? '127.0.0.1');
    try {
      for (const [index, kind] of kinds.entries()) {
        const network = createNetwork(this.config(kind), { native: kind !== 'scripted' });
        await network.start();
        try {
          const guest = await this.guest(kind, network, index < kinds.length - 1);
          if (guest === undefined) continue;
          const target = this.target(network);
          const scene = { network, guest, servers, target, bytes: this.bytes, get: httpText };
          return await this.show(scene, interrupted, started);
        } finally {
          await network.stop(100);
        }
      }
      return EXIT.failure;
    } finally {
      child.stdin?.end();
      child.kill();
    }
  }

  /** Default settings, but for the guests that may reach nothing else than the servers. */
  private config(kind: Kind): NetworkConfig {
    const fenced =
      this.inside === undefined ? { policy: { default: 'deny', rules: ['allow host'] } as const } : {};
    return { ...(kind === 'netns' ? { mtu: RUN_MTU } : {}), ...fenced };
  }

  private target(network: Network): string {
    return this.inside ?? network.addresses.hostAlias ?? '';
  }

  /** Makes the guest; undefined when it is not possible and there is another one to try. */
  private async guest(kind: Kind, network: Network, another: boolean): Promise<DemoGuest | undefined> {
    try {
      if (kind === 'scripted') return new ScriptedDemoGuest(network);
      if (kind === 'netns') return await NetnsDemoGuest.create(network);
      return await VmDemoGuest.create(network, this.image(), this.bytes);
    } catch (error) {
      if (!another) throw error;
      this.note(
        `no ${kind === 'vm' ? 'QEMU' : 'namespace'} guest: ${error instanceof Error ? error.message : String(error)}`,
      );
      return undefined;
    }
  }

  private image(): VmImage {
    const { kernel, initrd } = this.options;
    if (kernel === undefined || initrd === undefined)
      throw new NetproxyError('ERR_NETPROXY_STATE', 'the QEMU guest has no image');
    return { kernel, initrd };
  }

  private async show(scene: Scene, interrupted: Promise<never>, started: number): Promise<number> {
    const { guest, network } = scene;
    const { subnet, gateway } = network.addresses;
    this.note(`guest: ${guest.description}`);
    if (guest.kind === 'scripted') {
      this.note(
        'this is not a real guest: it runs on the TCP/IP of netproxy itself. For a real one: the addon (npm run build:native, needs cargo)',
      );
      this.note(
        `with /dev/net/tun and ${hostFacts.isRoot ? 'root' : 'user namespaces or root'}, or QEMU; netproxy doctor tells what is missing`,
      );
    }
    this.note(
      `network: ${subnet}, gateway ${gateway}, ${this.inside === undefined ? 'servers on loopback' : 'in a namespace without routes'}`,
    );
    let passed = 0;
    try {
      for (const step of STEPS) {
        const ok = await this.step(step.name, step.title, Promise.race([step.run(scene), interrupted]));
        if (ok) passed++;
        // Without an address nothing else can work.
        else if (step.name === 'lease') break;
      }
    } finally {
      await guest.close();
    }
    const ms = performance.now() - started;
    if (this.options.json === true)
      this.terminal.out(
        `${JSON.stringify({ summary: true, guest: guest.kind, passed, total: STEPS.length, ms: Math.round(ms) })}\n`,
      );
    else this.terminal.out(`${passed} of ${STEPS.length} passed in ${formatDuration(ms)}\n`);
    return passed === STEPS.length ? EXIT.ok : EXIT.failure;
  }

  private async step(name: string, title: string, work: Promise<string>): Promise<boolean> {
    const started = performance.now();
    let text: string;
    let ok = true;
    try {
      text = await within(STEP_TIMEOUT, work);
    } catch (error) {
      if (error instanceof Interrupted) throw error;
      ok = false;
      text = `${title}: ${error instanceof Error ? error.message : String(error)}`;
    }
    const ms = performance.now() - started;
    if (this.options.json === true)
      this.terminal.out(`${JSON.stringify({ step: name, ok, text, ms: Math.round(ms * 10) / 10 })}\n`);
    else this.terminal.out(`${ok ? this.paint.green('✓') : this.paint.red('✗')} ${text}\n`);
    return ok;
  }

  private note(text: string): void {
    if (this.options.json === true) this.terminal.err(`netproxy: ${text}\n`);
    else this.terminal.out(`${this.paint.dim(`· ${text}`)}\n`);
  }
}

class Interrupted extends Error {}

/** A promise that rejects when somebody wants the demo to end, so that the guest is still cleared away. */
function interruption(): { readonly signal: Promise<never>; stop(): void } {
  let reject: (error: Error) => void = () => undefined;
  const signal = new Promise<never>((_, fail) => (reject = fail));
  signal.catch(() => undefined);
  const end = (): void => {
    reject(new Interrupted('interrupted'));
  };
  process.on('SIGINT', end).on('SIGTERM', end);
  return {
    signal,
    stop: () => {
      process.off('SIGINT', end).off('SIGTERM', end);
    },
  };
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`not done within ${ms / 1000} s`));
    }, ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Starts the servers as a process and waits for their ports. */
async function startServers(address: string): Promise<{ servers: DemoServers; child: ChildProcess }> {
  const child = spawn(process.execPath, [SERVERS, address], { stdio: ['pipe', 'pipe', 'inherit'] });
  const line = new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (chunk: Buffer) => {
      resolve(chunk.toString());
    });
    child.once('error', reject);
    child.once('exit', () => {
      reject(new Error("the demo's servers did not start"));
    });
  });
  return { servers: JSON.parse(await within(SERVER_TIMEOUT, line)) as DemoServers, child };
}

/** GET; the text of a 200. */
function httpText(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = httpGet(url, { agent: false, timeout: 60_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`${url}: status ${response.statusCode ?? 0}`));
      });
    });
    request.once('timeout', () => request.destroy(new Error(`${url}: no answer`)));
    request.once('error', reject);
  });
}
