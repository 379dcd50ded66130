/** The DHCP clients of distributions: obtain, renew, rebind, release, decline, and a NAK that moves a guest. */
import { existsSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../support/deadline.js';
import type { Proc } from '../support/process.js';
import { Lab } from './lab.js';
import type { Netproxy } from './netproxy.js';
import { GATEWAY, GUEST, scenarioReady } from './scenario.js';

const ready = scenarioReady('DHCP clients', 'dhclient', 'tcpdump', 'unshare');
const NETWORKD = '/lib/systemd/systemd-networkd';
const networkd = ready && existsSync(NETWORKD);
/** Leases that are renewed after 2 s, and by broadcast after 5 s. */
const QUICK = { leaseSeconds: 60, renewalSeconds: 2, rebindingSeconds: 5 };
const here = fileURLToPath(new URL('.', import.meta.url));

interface LeaseEvent {
  readonly event: string;
  readonly kind: string;
  readonly ip: string;
}

/** A netproxy whose guests are real clients in the lab's guest namespace. */
class Bench {
  readonly lab: Lab;
  netproxy!: Netproxy;
  /** Where the client runs. */
  device = 'tap0';

  constructor(lab: Lab) {
    this.lab = lab;
  }

  static async create(): Promise<Bench> {
    const bench = new Bench(await Lab.create());
    // Made here, so that it stays when netproxy goes, as a cable stays when a router does.
    await bench.ip('tuntap', 'add', 'mode', 'tap', 'name', 'tap0');
    await bench.start();
    await bench.ip('link', 'set', 'tap0', 'up');
    return bench;
  }

  /** Starts netproxy (again), on the same state file. */
  async start(config: object = {}): Promise<void> {
    const file = this.lab.path('netproxy.json');
    writeFileSync(file, JSON.stringify({ version: 1, dhcp: QUICK, ...config }));
    const args = ['--netns', this.lab.guest, '--tap', 'tap0', '--state-file', this.lab.path('state')];
    this.netproxy = await this.lab.startNetproxy(['serve', ...args, '--config', file, '--json']);
  }

  ip(...args: string[]): Promise<string> {
    return this.lab.check(this.lab.guest, ['ip', ...args]);
  }

  events(): LeaseEvent[] {
    const lines = this.netproxy.proc.stdout.split('\n').filter((line) => line.startsWith('{'));
    return lines.map((line) => JSON.parse(line) as LeaseEvent).filter(({ event }) => event === 'lease');
  }

  /** Waits for one more lease event of a kind than there are now; returns its address. */
  async next(kind: string, ms = 30_000): Promise<string> {
    const before = this.events().filter((event) => event.kind === kind).length;
    return this.nth(kind, before, ms);
  }

  nth(kind: string, n: number, ms = 30_000): Promise<string> {
    return until(
      ms,
      `lease event ${kind}`,
      () => this.events().filter((event) => event.kind === kind)[n]?.ip,
    );
  }

  /** Unicast to the gateway is lost from now on; only a client that broadcasts is heard. */
  async deafen(): Promise<void> {
    await this.ip(
      'neigh',
      'replace',
      GATEWAY,
      'lladdr',
      '02:00:00:00:00:99',
      'dev',
      'tap0',
      'nud',
      'permanent',
    );
  }

  async hear(): Promise<void> {
    // A client's script may have taken the entry away with the address. A release does not wait for ARP.
    await this.lab.exec(this.lab.guest, ['ip', 'neigh', 'del', GATEWAY, 'dev', 'tap0']);
    await this.lab.exec(this.lab.guest, ['ping', '-c', '1', '-W', '5', GATEWAY]);
  }

  /**
   * A bridge behind the TAP, with a machine beside the client that has by hand what the client will be offered, and says
   * nothing. (Behind a port of its own netproxy would not let it answer for a leased address.)
   */
  async squat(): Promise<void> {
    const quiet = ['net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1'];
    for (const name of [this.lab.guest, this.lab.host])
      await this.lab.check(name, ['sysctl', '-q', ...quiet]);
    await this.ip('link', 'add', 'br0', 'address', '52:54:00:88:88:88', 'type', 'bridge');
    await this.ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1', 'netns', this.lab.host);
    for (const port of ['tap0', 'v0']) await this.ip('link', 'set', port, 'master', 'br0');
    for (const name of ['v0', 'br0']) await this.ip('link', 'set', name, 'up');
    await this.lab.check(this.lab.host, ['ip', 'addr', 'add', `${GUEST}/32`, 'dev', 'v1']);
    await this.lab.check(this.lab.host, ['ip', 'link', 'set', 'v1', 'up']);
    this.device = 'br0';
  }

  udhcpc(...args: string[]): Proc {
    const env = { LEASE_FILE: this.lab.path('lease.udhcpc') };
    const fixed = ['-f', '-i', this.device, '-s', `${here}dhcp-script`, '-t', '5', '-T', '1', '-A', '1'];
    return this.lab.spawn(this.lab.guest, ['udhcpc', ...fixed, ...args], {
      env,
      stdin: 'ignore',
    });
  }

  dhclient(script = `${here}dhcp-script`): Proc {
    const files = ['-lf', this.lab.path('dhclient.leases'), '-pf', this.lab.path('dhclient.pid')];
    const conf = this.lab.path('dhclient.conf');
    const lease = `LEASE_FILE=${this.lab.path('lease.dhclient')}`;
    writeFileSync(conf, 'retry 1; initial-interval 1; backoff-cutoff 2;\n');
    const argv = ['dhclient', '-d', '-v', '-cf', conf, '-sf', script, '-e', lease, ...files, this.device];
    return this.lab.spawn(this.lab.guest, argv, { stdin: 'ignore' });
  }

  /** systemd-networkd without systemd: a /run/systemd of its own, and a read-only /sys, as in a container without udev. */
  networkd(...settings: string[]): Proc {
    const unit = this.lab.path('tap0.network');
    const dhcp = ['ClientIdentifier=mac', 'SendRelease=yes', ...settings].join('\n');
    const network = 'DHCP=ipv4\nLinkLocalAddressing=no\nKeepConfiguration=no';
    writeFileSync(unit, `[Match]\nName=${this.device}\n[Network]\n${network}\n[DHCPv4]\n${dhcp}\n`);
    const script = [
      'mount --make-rprivate / && mount -o remount,ro /sys && mkdir -p /run/systemd && mount -t tmpfs none /run/systemd',
      'cd /run/systemd && mkdir -p netif/links netif/leases netif/lldp network && chown -R systemd-network netif',
      `cp ${unit} network/ && chmod 644 network/* && exec env SYSTEMD_LOG_LEVEL=debug ${NETWORKD}`,
    ].join(' && ');
    return this.lab.spawn(this.lab.guest, ['unshare', '-m', 'sh', '-c', script], {
      stdin: 'ignore',
    });
  }
}

describe.runIf(ready)('DHCP clients', () => {
  let bench: Bench;
  afterEach(async () => {
    await bench?.lab.destroy();
  });

  describe('udhcpc', () => {
    it('obtains, renews, rebinds, releases', async () => {
      bench = await Bench.create();
      const capture = await bench.lab.capture(bench.lab.guest, 'tap0', 'udp port 67');
      const client = bench.udhcpc();
      expect(await bench.nth('bound', 0)).toBe(GUEST);
      await client.waitFor(/lease of 192\.168\.127\.2 obtained/, 20_000, 'stderr');
      client.child.kill('SIGUSR1');
      await capture.packet('renewal', ({ src, dst }) => src === GUEST && dst === GATEWAY, 20_000);
      expect(await bench.nth('renewed', 0)).toBe(GUEST);
      await bench.deafen();
      const renewed = bench.next('renewed');
      // Told twice while unicast goes unanswered, it broadcasts.
      const again = setInterval(() => client.child.kill('SIGUSR1'), 1000);
      expect(await renewed.finally(() => clearInterval(again))).toBe(GUEST);
      await bench.hear();
      const released = bench.next('released');
      client.child.kill('SIGUSR2');
      expect(await released).toBe(GUEST);
      await client.kill();
      await capture.stop();
    });

    it('declines an address that a silent machine has, and gets another', async () => {
      bench = await Bench.create();
      await bench.squat();
      const client = bench.udhcpc('-a');
      expect(await bench.nth('declined', 0)).toBe(GUEST);
      await until(30_000, 'another address', () => bench.events().some(({ ip }) => ip === '192.168.127.3'));
      await client.kill();
    });
  });

  describe('dhclient', () => {
    it('obtains, renews, rebinds', async () => {
      bench = await Bench.create();
      const client = bench.dhclient();
      expect(await bench.nth('bound', 0)).toBe(GUEST);
      await client.waitFor(/DHCPREQUEST for 192\.168\.127\.2 on tap0 to 192\.168\.127\.1 /, 20_000, 'stderr');
      expect(await bench.nth('renewed', 0)).toBe(GUEST);
      await bench.deafen();
      const renewed = bench.next('renewed');
      await client.waitFor(
        /DHCPREQUEST for 192\.168\.127\.2 on tap0 to 255\.255\.255\.255 /,
        30_000,
        'stderr',
      );
      expect(await renewed).toBe(GUEST);
      await client.kill('SIGKILL');
    });

    it('declines when its script says so, and gets another address', async () => {
      bench = await Bench.create();
      const script = bench.lab.path('decline');
      const refuse = `[ "$reason" = BOUND ] && [ "$new_ip_address" = ${GUEST} ] && exit 1`;
      writeFileSync(script, `#!/bin/sh\n${refuse}\nexec ${here}dhcp-script\n`, { mode: 0o755 });
      const client = bench.dhclient(script);
      expect(await bench.nth('declined', 0)).toBe(GUEST);
      await until(30_000, 'another address', () => bench.events().some(({ ip }) => ip === '192.168.127.3'));
      await client.kill('SIGKILL');
    });
  });

  it('dhclient finds its lease after a restart, and a NAK moves it to another subnet', async () => {
    bench = await Bench.create();
    let client = bench.dhclient();
    expect(await bench.nth('bound', 0)).toBe(GUEST);
    await client.kill('SIGKILL');
    await bench.netproxy.proc.kill('SIGKILL');
    await bench.start();
    client = bench.dhclient();
    // INIT-REBOOT with a lease that is in the state file: a renewal, no new lease.
    await client.waitFor(/DHCPREQUEST for 192\.168\.127\.2[^]*bound to 192\.168\.127\.2/, 30_000, 'stderr');
    expect(bench.events().every(({ kind, ip }) => kind === 'renewed' && ip === GUEST)).toBe(true);
    await client.kill('SIGKILL');
    await bench.netproxy.proc.kill('SIGKILL');
    await bench.start({ subnet: '10.9.8.0/24' });
    client = bench.dhclient();
    await client.waitFor(/DHCPNAK from 10\.9\.8\.1/, 30_000, 'stderr');
    expect(await bench.nth('bound', 0)).toBe('10.9.8.2');
    await client.kill('SIGKILL');
  });

  describe.runIf(networkd)('systemd-networkd', () => {
    it('obtains, renews, rebinds, releases', async () => {
      bench = await Bench.create();
      const client = bench.networkd();
      expect(await bench.nth('bound', 0)).toBe(GUEST);
      expect(await bench.nth('renewed', 0)).toBe(GUEST);
      await client.waitFor(/REQUEST \(renewing\)/, 20_000, 'stderr');
      await bench.deafen();
      const renewed = bench.next('renewed');
      await client.waitFor(/REQUEST \(rebinding\)/, 30_000, 'stderr');
      expect(await renewed).toBe(GUEST);
      await bench.hear();
      const released = bench.next('released');
      await client.kill('SIGTERM');
      expect(await released).toBe(GUEST);
    });

    it('declines an address that a silent machine has, and gets another', async () => {
      bench = await Bench.create();
      await bench.squat();
      // It sends its DECLINE from the address that it does not take, which Linux allows only where that is another interface's.
      await bench.ip('addr', 'add', `${GUEST}/32`, 'dev', 'lo');
      await bench.ip('link', 'set', 'lo', 'up');
      const route = ['[Route]', `Destination=${GATEWAY}/32`, 'Scope=link'];
      const client = bench.networkd('SendDecline=yes', ...route);
      expect(await bench.nth('declined', 0)).toBe(GUEST);
      await until(30_000, 'another address', () => bench.events().some(({ ip }) => ip === '192.168.127.3'));
      await client.kill('SIGKILL');
    });

    it('is moved by a NAK when the network changes behind its interface', async () => {
      bench = await Bench.create();
      const client = bench.networkd();
      expect(await bench.nth('bound', 0)).toBe(GUEST);
      await bench.netproxy.proc.kill('SIGKILL');
      await bench.start({ subnet: '10.9.8.0/24' });
      await client.waitFor(/DHCPv4 client: NAK/, 40_000, 'stderr');
      expect(await bench.nth('bound', 0)).toBe('10.9.8.2');
      await client.kill('SIGKILL');
    });
  });

  it('a machine that is made anew with another MAC address on its TAP gets the address of its place', async () => {
    bench = await Bench.create();
    const first = bench.udhcpc();
    expect(await bench.nth('bound', 0)).toBe(GUEST);
    await first.kill('SIGKILL');
    await bench.ip('addr', 'flush', 'dev', 'tap0');
    await bench.ip('link', 'set', 'tap0', 'address', '52:54:00:77:77:77');
    const second = bench.udhcpc();
    // Nobody answers for the address: the one before is gone.
    expect(await bench.nth('released', 0)).toBe(GUEST);
    expect(await bench.nth('bound', 1)).toBe(GUEST);
    await second.kill('SIGKILL');
  });
});
