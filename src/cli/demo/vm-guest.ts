/**
 * A QEMU guest: Debian's kernel and a small initramfs, emulated (KVM is never assumed to work), on the `qemu` link. The
 * image comes from the source checkout (test/vm/build-guest.mjs), or by --kernel and --initrd.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { NetproxyError } from '../../core/index.js';
import type { Network } from '../../index.js';
import { hostFacts } from '../host-facts.js';
import { packageFile } from '../package-files.js';
import type { DemoGuest, Transfer } from './guest.js';
import { QemuAgent } from './qemu-agent.js';
import { type Scratch, makeScratch } from './scratch.js';
import {
  type Shell,
  check,
  shellDownload,
  shellPing,
  shellRefused,
  shellResolve,
  shellUpload,
} from './shell.js';

const BUILD_SCRIPT = packageFile('test/vm/build-guest.mjs');
const BOOT_TIMEOUT = 120_000;
const PROGRAM = 'qemu-system-x86_64';
/** MiB of the guest without what is transferred. */
const MEMORY = 512;
/** Largest transfer: it lies in the guest's memory. */
export const VM_SIZE_LIMIT = 2_000_000_000;

const KERNEL_ARGS =
  'console=ttyS0 quiet panic=-1 tsc=reliable mitigations=off random.trust_cpu=on nokaslr no_timer_check ' +
  'noreplace-smp 8250.nr_uarts=1 pci=noaer cryptomgr.notests guest.modules=virtio_net';

export interface VmImage {
  readonly kernel: string;
  readonly initrd: string;
}

/** What --kernel and --initrd say. */
export interface GivenImage {
  readonly kernel?: string | undefined;
  readonly initrd?: string | undefined;
}

/** Why a QEMU guest is not possible here; undefined when it is. */
export function vmObstacle(image: GivenImage): NetproxyError | undefined {
  if (hostFacts.which(PROGRAM) === undefined) {
    return new NetproxyError('ERR_NETPROXY_UNSUPPORTED', `there is no ${PROGRAM}`, {
      remedy: 'Debian: apt-get install qemu-system-x86; or leave --vm out.',
    });
  }
  if (image.kernel !== undefined && image.initrd !== undefined) return undefined;
  if (existsSync(BUILD_SCRIPT)) return undefined;
  return new NetproxyError(
    'ERR_NETPROXY_UNSUPPORTED',
    'there is no image of a QEMU guest: the npm package has none',
    {
      remedy:
        'Run it in the source checkout, or give --kernel and --initrd as test/vm/build-guest.mjs makes them.',
    },
  );
}

/** Builds the image, or finds it built. Rejects with ERR_NETPROXY_UNSUPPORTED and the builder's reason. */
export async function vmImage(given: GivenImage): Promise<VmImage> {
  const { kernel, initrd } = given;
  if (kernel !== undefined && initrd !== undefined) return { kernel, initrd };
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [BUILD_SCRIPT], { timeout: 600_000 });
    return JSON.parse(stdout) as VmImage;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    const why = stderr?.trim().split('\n').at(-1) ?? message;
    throw new NetproxyError(
      'ERR_NETPROXY_UNSUPPORTED',
      `cannot build the QEMU guest: ${why === '' ? message : why}`,
      {
        cause: error,
        remedy: 'node scripts/guest-packages.mjs --check tells what is missing.',
      },
    );
  }
}

export class VmDemoGuest implements DemoGuest {
  readonly kind = 'vm';
  readonly description: string;
  private readonly qemu: ChildProcess;
  private readonly agent: QemuAgent;
  private readonly scratch: Scratch;
  private readonly ended: Promise<void>;

  private constructor(
    qemu: ChildProcess,
    agent: QemuAgent,
    scratch: Scratch,
    ended: Promise<void>,
    bootMs: number,
  ) {
    this.qemu = qemu;
    this.agent = agent;
    this.scratch = scratch;
    this.ended = ended;
    this.description = `a QEMU guest (emulated) with Debian's kernel, booted in ${(bootMs / 1000).toFixed(1)} s`;
  }

  /** Boots it on a `qemu` link of the network. */
  static async create(network: Network, image: VmImage, bytes: number): Promise<VmDemoGuest> {
    const scratch = makeScratch();
    const { dir } = scratch;
    const server = createServer();
    let qemu: ChildProcess | undefined;
    try {
      const link = path.join(dir, 'link');
      await network.listenLinks('qemu', `unix:${link}`);
      const connected = new Promise<QemuAgent>((resolve) => {
        server.once('connection', (socket) => {
          resolve(new QemuAgent(socket));
        });
      });
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject).listen(path.join(dir, 'agent'), resolve);
      });
      const started = performance.now();
      const child = spawnQemu(qemuArgs(image, dir, link, bytes));
      qemu = child;
      let said = '';
      child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-2000)));
      const ended = new Promise<void>((resolve) => {
        child.once('error', () => {
          resolve();
        });
        child.once('exit', () => {
          resolve();
        });
      });
      const agent = await booted(connected, ended, () => `${said}\n${consoleOf(dir)}`);
      return new VmDemoGuest(child, agent, scratch, ended, performance.now() - started);
    } catch (error) {
      qemu?.kill('SIGKILL');
      scratch.remove();
      throw error;
    } finally {
      server.close();
    }
  }

  private readonly shell: Shell = (script) => this.agent.run(script);

  async lease(): Promise<string> {
    const output = await check(
      this.shell,
      'udhcpc -i eth0 -n -q -t 5 -T 2 -O mtu >/tmp/udhcpc.log 2>&1 || { tail -n 1 /tmp/udhcpc.log; exit 1; }; cat /tmp/lease',
    );
    const ip = /^ip=(\S+)$/m.exec(output)?.[1];
    if (ip === undefined) throw new Error('udhcpc got no lease');
    return ip;
  }

  async ping(ip: string): Promise<number> {
    return shellPing(this.shell, 'ping', ip);
  }

  async resolve(name: string): Promise<string> {
    return shellResolve(this.shell, name);
  }

  async refused(ip: string, port: number): Promise<number> {
    return shellRefused(this.shell, `http://${ip}:${port}/`);
  }

  async download(ip: string, port: number, bytes: number): Promise<Transfer> {
    return shellDownload(this.shell, '/tmp/bytes', `http://${ip}:${port}/bytes/${bytes}`);
  }

  async upload(ip: string, port: number): Promise<Transfer> {
    return shellUpload(this.shell, '/tmp/bytes', `http://${ip}:${port}/upload`);
  }

  async udp(ip: string, port: number, count: number): Promise<number> {
    // One line per datagram; socat ends half a second after the last one.
    const send = `for n in $(seq ${count}); do echo datagram $n; sleep 0.02; done`;
    const output = await check(this.shell, `{ ${send}; sleep 0.5; } | socat -t 1 - UDP4:${ip}:${port}`);
    return new Set(output.split('\n').filter((line) => /^datagram \d+$/.test(line))).size;
  }

  async serve(port: number, text: string): Promise<void> {
    const answer = `HTTP/1.0 200 OK\\r\\nContent-Length: ${text.length}\\r\\n\\r\\n${text.replaceAll('\n', '\\n')}`;
    await check(
      this.shell,
      `printf '%b' '${answer}' >/tmp/answer; socat TCP-LISTEN:${port},fork,reuseaddr SYSTEM:'read line; cat /tmp/answer' >/dev/null 2>&1 & sleep 0.3`,
    );
  }

  async close(): Promise<void> {
    this.agent.fail(new Error('the demo is over'));
    this.qemu.kill('SIGKILL');
    await this.ended;
    this.scratch.remove();
  }
}

/** Starts QEMU so that it does not outlive us: by a death signal where setpriv is there, and by our exit handler. */
function spawnQemu(args: readonly string[]) {
  const setpriv = hostFacts.which('setpriv');
  const argv = setpriv === undefined ? [PROGRAM] : [setpriv, '--pdeathsig', 'KILL', '--', PROGRAM];
  const [program = PROGRAM, ...before] = argv;
  const child = spawn(program, [...before, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  return child;
}

/** The agent when it takes commands; rejects when QEMU ends or takes too long, with what it said. */
async function booted(
  connected: Promise<QemuAgent>,
  ended: Promise<void>,
  said: () => string,
): Promise<QemuAgent> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => {
      resolve('late');
    }, BOOT_TIMEOUT);
  });
  const ready = connected.then(async (agent) => {
    await agent.ready;
    return agent;
  });
  ready.catch(() => undefined);
  const outcome = await Promise.race([ready, ended.then(() => 'ended' as const), late]);
  clearTimeout(timer);
  if (outcome instanceof QemuAgent) return outcome;
  const why = outcome === 'late' ? `it was not up after ${BOOT_TIMEOUT / 1000} s` : 'QEMU ended';
  throw new Error(`the QEMU guest did not boot: ${why}\n${said().trim()}`);
}

function qemuArgs(image: VmImage, dir: string, link: string, bytes: number): string[] {
  const comma = (text: string): string => text.replaceAll(',', ',,');
  const memory = MEMORY + Math.ceil(bytes / (1 << 20));
  return [
    ...[
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      '-no-reboot',
      '-smp',
      '1',
      '-m',
      String(memory),
    ],
    ...['-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max'],
    ...['-kernel', image.kernel, '-initrd', image.initrd, '-append', KERNEL_ARGS],
    ...['-serial', `file:${path.join(dir, 'console')}`, '-device', 'virtio-serial-pci'],
    ...['-chardev', `socket,id=agent,path=${comma(path.join(dir, 'agent'))},server=off`],
    ...['-device', 'virtserialport,chardev=agent,name=netproxy.agent'],
    ...['-netdev', `stream,id=n0,server=off,addr.type=unix,addr.path=${comma(link)}`],
    ...['-device', 'virtio-net-pci,netdev=n0,mac=52:54:00:12:34:56,romfile='],
  ];
}

function consoleOf(dir: string): string {
  try {
    return readFileSync(path.join(dir, 'console'), 'utf8').slice(-1000);
  } catch {
    return '';
  }
}
