/** A network under attack (attacker.mjs), for tests: the victim is the lab's kernel guest, the attacker comes over a qemu link. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { count } from '../support/counts.js';
import { Lab } from './lab.js';
import { LibraryNetwork, type LibraryOptions, type Look } from './library.js';
import { GATEWAY, GUEST } from './scenario.js';
import type { Servers } from './servers.js';
import { download, upload } from './transfer.js';

const ATTACKER = join(dirname(fileURLToPath(import.meta.url)), 'attacker.mjs');
export const MIB = 1024 * 1024;
/** What the flows of the network may hold, and of a guest; what the process may grow by on top: heap that is not collected yet. */
const TOTAL = 64 * MIB;
const GUEST_MEMORY = 32 * MIB;
const SLACK = 192 * MIB;
/** How long an attack goes on at the least, s, so that the victim transfers beside it. */
const SECONDS = count(2, 20);
export const LONG = count(60_000, 900_000);

export interface Attack {
  /** A name of attacker.mjs. */
  readonly attack: string;
  /** Connections or segments, again and again. */
  readonly count: number;
  /** Bytes of memory beside the budget for each of `count`. */
  readonly each?: number;
  /** Connections that the attacker must have got. */
  readonly established?: number;
}

export class AttackedNetwork {
  readonly lab: Lab;
  readonly library: LibraryNetwork;
  readonly servers: Servers;

  private constructor(lab: Lab, library: LibraryNetwork, servers: Servers) {
    this.lab = lab;
    this.library = library;
    this.servers = servers;
  }

  /** `attach` brings the victim where it does not come by a TAP of netproxy's own. */
  static async start(attach?: (lab: Lab) => Promise<unknown>): Promise<AttackedNetwork> {
    const lab = await Lab.create();
    const taps: LibraryOptions['taps'] =
      attach === undefined ? [{ name: 'tap0', netns: `/run/netns/${lab.guest}` }] : [];
    try {
      const library = await LibraryNetwork.start(lab.host, {
        config: { limits: { totalMemory: TOTAL, guestMemory: GUEST_MEMORY } },
        taps,
        qemu: `unix:${lab.path('qemu.sock')}`,
      });
      await attach?.(lab);
      await lab.dhcp();
      const quiet = { quiet: true };
      const servers = await lab.serve({
        web: { kind: 'http', ...quiet },
        discard: { kind: 'tcp-discard', ...quiet },
      });
      return new AttackedNetwork(lab, library, servers);
    } catch (error) {
      await lab.destroy();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.library.stop();
    await this.lab.destroy();
  }

  /** The victim's work, byte-exact. */
  async transfer(mib: number): Promise<void> {
    await download(this.lab, this.servers, mib * MIB, LONG);
    await upload(this.lab, this.servers, mib * MIB, LONG);
  }

  /** Memory within its bounds, no exception. */
  check(before: Look, after: Look, beside = 0): void {
    expect(after.uncaught, this.library.proc.stderr).toBe(0);
    // What each flow may hold in any case comes on top of a full budget.
    expect(after.stats.budget.peak).toBeLessThan(TOTAL + beside);
    expect(after.memory.rss - before.memory.rss).toBeLessThan(TOTAL + SLACK + beside);
  }

  /** The victim transfers while a second guest attacks, and when all that the attack has left stands still. */
  async underAttack({ attack, count: n, each = 0, established = 0 }: Attack): Promise<void> {
    const { lab, library, servers } = this;
    await this.transfer(2);
    const before = await library.look();
    const request = {
      ...{ attack, count: n, secs: SECONDS, path: lab.path('qemu.sock') },
      ...{ guest: '192.168.127.99', victim: GUEST, gateway: GATEWAY, peer: lab.address() },
      ports: { web: servers.at('web').port, discard: servers.at('discard').port },
    };
    const attacker = lab.spawn(lab.host, [process.execPath, ATTACKER, JSON.stringify(request)], {
      label: attack,
    });
    await attacker.waitFor(/"begun"/, 20_000);
    const through = attacker.waitFor(/"done".*\n/, LONG);
    await this.transfer(5);
    await through;
    const told = JSON.parse(attacker.stdout.trimEnd().split('\n').at(-1) ?? '') as Record<string, number>;
    expect(told['sent']).toBeGreaterThanOrEqual(n);
    expect(told['established']).toBeGreaterThanOrEqual(established);
    await this.transfer(2);
    this.check(before, await library.look(), n * each);
    await attacker.kill('SIGKILL');
    const gone = await library.lookUntil('one guest', ({ stats }) => Object.keys(stats.guests).length === 1);
    expect(gone.stats.memory.tcpFlows).toBeLessThan(20);
  }
}
