/**
 * One peer between two network namespaces of its own: `host` with the peer's process and the servers that the guest
 * reaches at TARGET, `guest` with a real Linux stack on tap0. Neither leads anywhere else.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { BenchError, Child, cpuSeconds, sh, sleep } from './tools.mjs';

/** Address of the host namespace that guests connect to; a black hole as the route of peers that insist on one. */
export const TARGET = '10.99.1.1';
export const NOWHERE = '10.99.0.254';
/** Port of the host that peers forward to the same port of the guest. */
export const INBOUND = 5301;
/** Echo servers: this port and the seven behind it. */
export const ECHO = 5310;
export const ECHO_PORTS = 8;
export const BULK = 5302;
export const UDP = 5303;

const SETTINGS = [
  'net.ipv4.ip_forward=0',
  'net.ipv4.ip_local_port_range=10000 65000',
  'net.ipv4.tcp_tw_reuse=1',
  'net.ipv4.ping_group_range=0 2147483647',
  'net.ipv6.conf.all.disable_ipv6=1',
  'net.ipv6.conf.default.disable_ipv6=1',
];
const NAME = /^bench(\d+)-\d+(h|g\d*)$/;
const ETC = '/etc/netns';

export class Lab {
  static live = new Set();
  static count = 0;

  /**
   * @param {import('./peer.mjs').Peer} Peer its class
   * @param {object} setup
   * @param {Record<string, string>} setup.tools paths of the C programs
   * @param {number} setup.mtu
   * @param {string} setup.tree the checkout whose netproxy is measured
   */
  constructor(Peer, setup) {
    if (Lab.count === 0) {
      Lab.sweep();
      cleanAtExit();
    }
    const base = `bench${process.pid}-${Lab.count++}`;
    this.host = `${base}h`;
    this.guest = `${base}g`;
    this.tools = setup.tools;
    this.mtu = setup.mtu;
    this.tree = setup.tree;
    /** Namespaces of further guests. */
    this.more = [];
    /** The peer's own processes, helpers that stand for a virtual machine, servers. */
    this.peers = [];
    this.shims = [];
    this.servers = [];
    this.peer = new Peer(this, setup.peerOptions ?? {});
    Lab.live.add(this);
  }

  /** Makes the namespaces and servers. */
  async prepare() {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'np-bench-'));
    fs.chmodSync(this.dir, 0o755);
    for (const name of [this.host, this.guest]) this.makeNamespace(name);
    fs.mkdirSync(path.join(ETC, this.host), { recursive: true });
    fs.writeFileSync(path.join(ETC, this.host, 'resolv.conf'), `nameserver ${TARGET}\n`);
    fs.writeFileSync(path.join(ETC, this.host, 'nsswitch.conf'), 'hosts: files dns\n');
    // Both ends of the cable are here; the address is on one, so nobody answers for anything behind it.
    this.ipHost('link', 'add', 'out0', 'type', 'veth', 'peer', 'name', 'out1');
    for (const end of ['out0', 'out1']) this.ipHost('link', 'set', end, 'up');
    this.ipHost('addr', 'add', '10.99.0.1/24', 'dev', 'out0');
    this.ipHost('addr', 'add', `${TARGET}/32`, 'dev', 'out0');
    if (this.peer.constructor.wantsRoute) this.ipHost('route', 'add', 'default', 'via', NOWHERE);
    this.servers.push(this.onHost(this.tools.nettool, 'server', String(ECHO), String(ECHO_PORTS)));
    this.servers.push(this.onHost(this.tools.nettool, 'dns', '53'));
    for (const server of this.servers) await server.event('listening');
  }

  makeNamespace(name) {
    sh('ip', 'netns', 'add', name);
    sh('ip', 'netns', 'exec', name, 'sysctl', '-q', ...SETTINGS);
    this.congestion(name);
    sh('ip', '-n', name, 'link', 'set', 'lo', 'up');
  }

  /** A namespace for one more guest; its name. */
  addGuest() {
    const name = `${this.guest}${this.more.length + 2}`;
    this.more.push(name);
    this.makeNamespace(name);
    return name;
  }

  /** Starts the peer and waits until the guest reaches the servers through it. */
  async up() {
    await this.prepare();
    await this.peer.start();
    await this.until(async () => {
      const probe = this.onGuest(this.tools.nettool, 'rr', TARGET, String(ECHO), '0.02');
      return (await probe.result(8)).n > 0;
    }, `${this.peer.constructor.label} to carry TCP`);
  }

  /** What a namespace may use depends on the machine; cubic is what most distributions have. */
  congestion(name) {
    for (const choice of ['cubic', 'reno']) {
      try {
        sh('ip', 'netns', 'exec', name, 'sysctl', '-q', `net.ipv4.tcp_congestion_control=${choice}`);
        return;
      } catch {
        // the next one, which every kernel has
      }
    }
  }

  ipHost(...args) {
    return sh('ip', '-n', this.host, ...args);
  }

  ipGuest(...args) {
    return sh('ip', '-n', this.guest, ...args);
  }

  static path(name) {
    return `/run/netns/${name}`;
  }

  file(name) {
    return path.join(this.dir, name);
  }

  run(netns, argv, options) {
    return new Child(['ip', 'netns', 'exec', netns, ...argv], options);
  }

  onHost(...argv) {
    return this.run(this.host, argv);
  }

  onGuest(...argv) {
    return this.run(this.guest, argv);
  }

  /** Waits until `ready` holds; what it throws counts as no. */
  async until(ready, what, seconds = 10) {
    let last = '';
    for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(50)) {
      try {
        if (await ready()) return;
      } catch (error) {
        last = `: ${error.message}`;
      }
      const dead = [...this.peers, ...this.shims].find((child) => child.over);
      if (dead !== undefined)
        throw new BenchError(
          `${dead.name} ended: ${dead.complaints.trim().split('\n').slice(-3).join(' | ')}`,
        );
    }
    throw new BenchError(`gave up waiting for ${what}${last}`);
  }

  /** Whether something listens on this port of the host, TCP. */
  listens(port) {
    return sh('ip', 'netns', 'exec', this.host, 'ss', '-Hltn', `sport = :${port}`).trim() !== '';
  }

  /** CPU seconds of the peer, of the shims. */
  cpu() {
    const sum = (children) => children.reduce((total, child) => total + cpuSeconds(child.pid), 0);
    return { peer: sum(this.peers), shim: sum(this.shims) };
  }

  /** Frames that crossed the guest's interface so far. */
  frames() {
    const [{ stats64 }] = JSON.parse(this.ipGuest('-s', '-j', 'link', 'show', 'tap0'));
    return stats64.rx.packets + stats64.tx.packets;
  }

  async down() {
    const children = [...this.shims, ...this.peers, ...this.servers];
    await Promise.all(children.map((child) => child.kill()));
    this.remove();
  }

  /** For exit handlers too. */
  remove() {
    Lab.live.delete(this);
    for (const name of [this.host, this.guest, ...this.more]) removeNamespace(name);
    if (this.dir !== undefined) fs.rmSync(this.dir, { recursive: true, force: true });
  }

  /** Takes away what a bench left behind that was killed. */
  static sweep() {
    const there = fs.existsSync('/run/netns') ? fs.readdirSync('/run/netns') : [];
    for (const name of there) {
      const pid = NAME.exec(name)?.[1];
      if (pid !== undefined && !fs.existsSync(`/proc/${pid}`)) removeNamespace(name);
    }
  }
}

function removeNamespace(name) {
  if (fs.existsSync(Lab.path(name))) {
    try {
      for (const pid of sh('ip', 'netns', 'pids', name).split('\n').filter(Boolean))
        process.kill(Number(pid), 'SIGKILL');
    } catch {
      // they have ended meanwhile
    }
    try {
      sh('ip', 'netns', 'del', name);
    } catch {
      // somebody else deleted it
    }
  }
  fs.rmSync(path.join(ETC, name), { recursive: true, force: true });
}

/** Whatever ends this process, nothing of a lab stays. */
function cleanAtExit() {
  process.on('exit', () => {
    Child.killAll();
    for (const lab of Lab.live) lab.remove();
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));
}
