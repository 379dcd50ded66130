/** A whole network for a test: fake host, virtual time, scripted guests. */
import type { Link, Scheduler } from '../core/index.js';
import {
  type AttachOptions,
  type Guest,
  type Network,
  type NetworkConfig,
  type NetworkDeps,
  createNetwork,
} from '../index.js';
import type { Faults } from '../link/index.js';
import { FakeHost } from './fake-host.js';
import { faultyLink, memoryLink } from './memory.js';
import { seededRandom } from './random.js';
import { ScriptedGuest, type ScriptedGuestOptions } from './scripted-guest.js';
import { VirtualClock } from './virtual-clock.js';

export interface TestNetworkOptions {
  /** Time to run on, e.g. `realScheduler`; default: a VirtualClock of its own. */
  readonly scheduler?: Scheduler | undefined;
  /** Seed of everything random; default 1. */
  readonly seed?: number | undefined;
  /** Faults of every guest's link. */
  readonly faults?: Faults | undefined;
  /** false: the first guest is not attached. */
  readonly guest?: TestGuestOptions | false | undefined;
  /** Replaces parts of what the network gets. */
  readonly deps?: NetworkDeps | undefined;
}

export interface TestGuestOptions extends AttachOptions, Pick<ScriptedGuestOptions, 'tcp'> {
  /** false: attached, but without asking for an address. */
  readonly lease?: boolean | undefined;
  readonly faults?: Faults | undefined;
}

/** What `testNetwork` makes. */
export class TestNetwork implements AsyncDisposable {
  readonly network: Network;
  readonly host: FakeHost;
  readonly scheduler: Scheduler;
  /** The guests in the order in which they were attached. */
  readonly guests: ScriptedGuest[] = [];
  private readonly options: TestNetworkOptions;
  private serial = 0;

  constructor(config: NetworkConfig, options: TestNetworkOptions) {
    this.options = options;
    this.scheduler = options.scheduler ?? new VirtualClock();
    this.host = new FakeHost(this.scheduler);
    const random = seededRandom(options.seed ?? 1);
    this.network = createNetwork(config, {
      scheduler: this.scheduler,
      random,
      ...this.host.deps,
      ...options.deps,
    });
  }

  /** The virtual clock. Throws TypeError when the network runs on another one. */
  get clock(): VirtualClock {
    if (this.scheduler instanceof VirtualClock) return this.scheduler;
    throw new TypeError('this test network does not run on a virtual clock');
  }

  /** The first guest. Throws TypeError when there is none. */
  get guest(): ScriptedGuest {
    const first = this.guests[0];
    if (first === undefined) throw new TypeError('this test network has no guest');
    return first;
  }

  /** The gateway's address. */
  get gateway(): string {
    return this.network.addresses.gateway;
  }

  /** Attaches one more guest and gets it an address. */
  async attach(options: TestGuestOptions = {}): Promise<ScriptedGuest> {
    const { guest } = await this.plug(options);
    return guest;
  }

  /** As `attach`; returns the network's view of the guest too. */
  async plug(options: TestGuestOptions = {}): Promise<{ guest: ScriptedGuest; attached: Guest }> {
    const { lease, faults = this.options.faults, tcp, ...attach } = options;
    const serial = ++this.serial;
    const link = memoryLink(this.scheduler);
    const seed = (this.options.seed ?? 1) * 1000 + serial;
    const outer: Link =
      faults === undefined
        ? link.network
        : faultyLink(link.network, faults, this.scheduler, seededRandom(seed));
    const attached = this.network.attach(outer, attach);
    const mac = attach.mac ?? `52:54:00:00:00:${serial.toString(16).padStart(2, '0')}`;
    const guest = new ScriptedGuest(link.guest, {
      scheduler: this.scheduler,
      random: seededRandom(seed),
      name: attached.name,
      mac,
      tcp,
    });
    this.guests.push(guest);
    if (lease !== false) await this.run(guest.dhcp());
    return { guest, attached };
  }

  /** Waits for the work, moving the virtual clock where there is one. */
  run<T>(work: Promise<T> | (() => Promise<T>), limit?: number): Promise<T> {
    const { scheduler } = this;
    if (scheduler instanceof VirtualClock) return scheduler.run(work, limit);
    return typeof work === 'function' ? work() : work;
  }

  /** Stops the network and pulls the guests' plugs. */
  async close(): Promise<void> {
    await this.run(this.network.stop());
    for (const guest of this.guests) guest.close();
    if (this.scheduler instanceof VirtualClock) await this.scheduler.settle();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Makes a network on a fake host, with one guest that has its lease already. No socket of the machine is opened, and
 * unless another scheduler is given, no real time passes.
 *
 * @example
 * await using lab = await testNetwork({ policy: { rules: ['deny tcp:*:25'] } });
 * lab.host.accept('198.51.100.1:80', (socket) => socket.end('hello'));
 * const socket = await lab.run(lab.guest.connect('198.51.100.1', 80));
 */
export async function testNetwork(
  config: NetworkConfig = {},
  options: TestNetworkOptions = {},
): Promise<TestNetwork> {
  const lab = new TestNetwork(config, options);
  await lab.run(lab.network.start());
  if (options.guest !== false) await lab.attach(options.guest);
  return lab;
}
