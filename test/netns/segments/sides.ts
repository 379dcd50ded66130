/** The two sides that answer a script: Linux in a namespace, and our stack in memory. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  BlockPool,
  type Ipv4,
  parseCidr,
  parseIpv4,
  parseMac,
  plainMemory,
  silentLogger,
} from '../../../src/core/index.js';
import { tapLink } from '../../../src/link/index.js';
import { Hub, loadNative } from '../../../src/native/index.js';
import { Stack, type TcpApplication, type TcpEndpoint, type TcpSyn } from '../../../src/stack/index.js';
import { memoryLink, seededRandom, VirtualClock } from '../../../src/testing/index.js';
import { until } from '../../support/deadline.js';
import type { Proc } from '../../support/process.js';
import type { Lab } from '../lab.js';
import { SegmentPeer } from './peer.js';

/** Where the sides listen: with the usual buffers, and with small ones that are soon full. */
export const PORT = 7000;
export const SMALL_PORT = 7001;
/** How long after each step answers are waited for, ms: longer than a delayed ACK, shorter than a retransmission timer. */
const QUIET = 75;

/** What the application of a connection can do. */
export type AppCommand = 'write' | 'end' | 'close' | 'abort' | 'read' | 'connect';

export interface Side {
  readonly name: 'linux' | 'ours';
  readonly peer: SegmentPeer;
  /** Waits until what was done is answered. */
  settle(ms?: number): Promise<void>;
  /** The application of the connection with this port of the peer does something; `n`: bytes, or our own port. */
  app(peerPort: number, command: AppCommand, n: number): Promise<void>;
  close(): Promise<void>;
}

function address(text: string): Ipv4 {
  return parseIpv4(text)!;
}

/** A kernel that listens on a TAP in the lab's guest namespace. */
export async function linuxSide(lab: Lab): Promise<Side> {
  const { addon, reason } = loadNative();
  if (addon === undefined) throw new Error(reason);
  const hub = new Hub(addon);
  const deps = { pool: new BlockPool(hub.memory), logger: silentLogger, native: hub };
  const link = tapLink({ name: 'tap0', netns: lab.guest }, deps);
  // Each answer of a script counts: no limit on challenge ACKs, no metrics kept from an earlier script.
  for (const setting of [
    'ipv6/conf/all/disable_ipv6=1',
    'ipv4/tcp_invalid_ratelimit=0',
    'ipv4/tcp_no_metrics_save=1',
  ]) {
    const [file, value] = setting.split('=');
    await lab.check(lab.guest, ['sh', '-c', `echo ${value} > /proc/sys/net/${file}`]);
  }
  await lab.check(lab.guest, ['ip', 'addr', 'add', '192.168.77.2/24', 'dev', 'tap0']);
  await lab.linkUp('tap0');
  const mac = parseMac((await lab.check(lab.guest, ['cat', '/sys/class/net/tap0/address'])).trim())!;
  const peer = new SegmentPeer(link, address('192.168.77.1'), address('192.168.77.2'), mac);
  const script = new URL('./listener.mjs', import.meta.url).pathname;
  const proc = lab.spawn(lab.guest, [
    process.execPath,
    script,
    String(PORT),
    String(SMALL_PORT),
    '192.168.77.1',
  ]);
  await proc.waitFor(/ready/, 10_000);
  peer.announce();
  let serial = 0;
  return {
    name: 'linux',
    peer,
    settle: (ms = QUIET) => sleep(ms),
    app: (peerPort, command, n) => tell(proc, `${++serial} ${peerPort} ${command} ${n}`),
    close: async () => {
      await proc.kill('SIGKILL');
      link.close();
      hub.close();
    },
  };
}

async function tell(proc: Proc, line: string): Promise<void> {
  proc.write(`${line}\n`);
  const done = `done ${line.split(' ', 1)[0]}\n`;
  await until(5000, `the listener: ${line}`, () => proc.stdout.includes(done), 1);
}

/** The application of one connection on our stack. */
class App implements TcpApplication {
  endpoint!: TcpEndpoint;
  private reading = false;

  established(): void {
    // Nothing: the script says what follows.
  }

  received(): void {
    if (!this.reading) return;
    const { received } = this.endpoint.connection;
    const n = received.bytes;
    received.consume(n);
    this.endpoint.consumed(n);
  }

  receivedFin(): void {
    // As `established`.
  }

  acknowledged(): void {
    // As `established`.
  }

  gone(): void {
    // As `established`.
  }

  do(command: AppCommand, n: number, now: number): void {
    const { endpoint } = this;
    if (command === 'read') {
      this.reading = true;
      this.received();
    } else if (command === 'write') {
      endpoint.connection.ring.write(new Uint8Array(n));
      endpoint.wrote();
    } else if (command === 'abort') endpoint.abort();
    else {
      if (command === 'close') endpoint.connection.discard(now);
      if (!endpoint.ended) endpoint.close();
    }
  }
}

/** Our stack, on a link in memory and on virtual time. */
export function ownSide(): Side {
  const clock = new VirtualClock();
  const link = memoryLink(clock);
  const gatewayIp = address('192.168.77.2');
  const gatewayMac = parseMac('5a:94:ef:e4:0c:dd')!;
  const apps = new Map<number, App>();
  const accept = (syn: TcpSyn): void => {
    if (syn.destinationPort !== PORT && syn.destinationPort !== SMALL_PORT) {
      syn.reject();
      return;
    }
    const app = new App();
    apps.set(syn.sourcePort, app);
    app.endpoint = syn.hold(app, syn.destinationPort === SMALL_PORT ? { receiveWindow: 16384 } : {});
    app.endpoint.accept();
  };
  const stack = new Stack(
    {
      subnet: parseCidr('192.168.77.0/24')!,
      gatewayIp,
      gatewayMac,
      hostAlias: undefined,
      mtu: 1500,
    },
    {
      scheduler: clock,
      random: seededRandom(1),
      memory: plainMemory,
      pool: new BlockPool(plainMemory),
      logger: silentLogger,
    },
    { tcp: accept, udp: () => undefined, echo: () => undefined, portClosed: () => undefined },
  );
  const port = stack.addPort(link.network.output);
  link.network.start({
    frames: (batch) => {
      stack.input(port, batch);
    },
    writable: () => {
      stack.writable(port);
    },
    closed: () => undefined,
  });
  const peer = new SegmentPeer(link.guest, address('192.168.77.1'), gatewayIp, gatewayMac);
  const connect = (peerPort: number, ownPort: number): void => {
    const app = new App();
    apps.set(peerPort, app);
    const neighbour = stack.findNeighbour(peer.ip)!;
    app.endpoint = stack.connect(neighbour, gatewayIp, ownPort, peerPort, app)!;
  };
  peer.announce();
  return {
    name: 'ours',
    peer,
    settle: (ms = QUIET) => clock.advance(ms),
    app: (peerPort, command, n) => {
      if (command === 'connect') connect(peerPort, n);
      else apps.get(peerPort)!.do(command, n, stack.now());
      return Promise.resolve();
    },
    close: async () => {
      stack.stop();
      link.guest.close();
      await clock.settle();
    },
  };
}
