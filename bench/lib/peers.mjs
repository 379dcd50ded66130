/**
 * Who is measured. A peer's `start` leaves the guest with tap0, up, with lab.mtu, addressed, with a default route, and
 * puts its own processes into lab.peers (their CPU and memory count) and those that stand for a VM into lab.shims.
 */
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { INBOUND, Lab, TARGET } from './lab.mjs';
import { packageVersion } from './machine.mjs';
import { Dnsmasq } from './dnsmasq.mjs';
import { Peer, Veth } from './peer.mjs';
import { Squid } from './squid.mjs';

/** A netproxy that is not bundled. */
const MODULES = path.join(import.meta.dirname, 'modules.mjs');

/** A C loop that copies frames between two TAPs. */
class TapCopy extends Veth {
  static label = 'tapcopy';
  mode = 'plain';

  async start() {
    const { lab } = this;
    const flags = this.mode === 'offload' ? ['vnet_hdr'] : [];
    this.makeTap(...flags);
    lab.ipHost('tuntap', 'add', 'tap1', 'mode', 'tap', ...flags);
    this.spawn([lab.tools.relay, 'copy', Lab.path(lab.guest), 'tap0', Lab.path(lab.host), 'tap1', this.mode]);
    lab.ipHost('link', 'set', 'tap1', 'mtu', String(lab.mtu), 'up');
    lab.ipHost('addr', 'add', `${this.gateway}/24`, 'dev', 'tap1');
    this.addressGuest();
  }
}

class TapCopyOffload extends TapCopy {
  static label = 'tapcopy-offload';
  mode = 'offload';
}

/** A C program that ends the guest's TCP and passes it on through sockets, with the least that can. */
class Relay extends Peer {
  static label = 'relay';
  static role = 'floor';
  static tcpOnly = true;
  mode = 'plain';

  async start() {
    const { lab } = this;
    this.makeTap(...(this.mode === 'offload' ? ['vnet_hdr'] : []));
    this.spawn([lab.tools.relay, 'socket', Lab.path(lab.guest), 'tap0', String(lab.mtu), this.mode]);
    this.addressGuest();
  }
}

class RelayOffload extends Relay {
  static label = 'relay-offload';
  mode = 'offload';
}

class Pasta extends Peer {
  static label = 'pasta';
  static programs = ['pasta'];
  static package = 'passt';
  static wantsRoute = true;
  static dhcp = true;
  dns = '10.0.2.3';

  common() {
    const { lab } = this;
    return [
      '-f',
      '-4',
      '-m',
      String(lab.mtu),
      '-a',
      this.guest,
      '-n',
      '24',
      '-g',
      this.gateway,
      '--dns-forward',
      this.dns,
    ].concat(['-t', `${TARGET}/${INBOUND}`, '-u', 'none', '--runas', '0']);
  }

  launch() {
    const { lab } = this;
    const way = ['-T', 'none', '-U', 'none', '--config-net', '-I', 'tap0', '--netns', Lab.path(lab.guest)];
    return this.spawn(['pasta', ...this.common(), ...way]);
  }

  async start() {
    this.launch();
    await this.lab.until(() => this.lab.ipGuest('route', 'show', 'default').trim() !== '', 'pasta');
    this.addressGuest();
  }
}

/** passt on its QEMU socket; the shim stands for QEMU. */
class Passt extends Pasta {
  static label = 'passt';
  static programs = ['passt'];

  launch() {
    const { lab } = this;
    const socket = lab.file('passt.sock');
    this.makeTap();
    const child = this.spawn(['passt', ...this.common(), '-s', socket]);
    this.shim('stream', Lab.path(lab.guest), 'tap0', socket);
    return child;
  }

  start = Peer.prototype.start;
}

class Slirp4netns extends Peer {
  static label = 'slirp4netns';
  static programs = ['slirp4netns'];
  static package = 'slirp4netns';
  static dhcp = true;
  guest = '10.0.2.100';
  dns = '10.0.2.3';

  launch() {
    const { lab } = this;
    this.api = lab.file('slirp.api');
    return this.spawn(
      [
        'slirp4netns',
        '--configure',
        `--mtu=${lab.mtu}`,
        '--netns-type=path',
        `--api-socket=${this.api}`,
      ].concat([Lab.path(lab.guest), 'tap0']),
    );
  }

  async start() {
    this.launch();
    const { lab, api } = this;
    await lab.until(
      () => fs.existsSync(api) && lab.ipGuest('route', 'show', 'default').trim() !== '',
      'slirp4netns',
    );
    const [{ mtu }] = JSON.parse(lab.ipGuest('-j', 'link', 'show', 'tap0'));
    if (mtu !== lab.mtu) throw new Error(`slirp4netns set an MTU of ${mtu}`);
    await this.publish();
  }

  publish() {
    const forward = { proto: 'tcp', host_addr: TARGET, host_port: INBOUND, guest_port: INBOUND };
    const request = JSON.stringify({ execute: 'add_hostfwd', arguments: forward });
    return new Promise((resolve, reject) => {
      const socket = net.connect(this.api, () => socket.end(request));
      let answer = '';
      socket.on('data', (chunk) => (answer += chunk)).on('error', reject);
      socket.on('close', () => (answer.includes('error') ? reject(new Error(answer)) : resolve()));
    });
  }
}

/** libslirp as QEMU has it, on a TAP through QEMU's hub, without a virtual machine. */
class Libslirp extends Peer {
  static label = 'libslirp';
  static programs = ['qemu-system-x86_64'];
  static package = 'qemu-system-x86';
  static mtus = [1500];
  static dhcp = true;
  dns = '10.0.2.3';

  static version() {
    const library = packageVersion('libslirp0');
    return `${super.version()}${library === undefined ? '' : `, libslirp0 ${library}`}`;
  }

  launch() {
    const { lab } = this;
    const forward = `hostfwd=tcp:${TARGET}:${INBOUND}-${this.guest}:${INBOUND}`;
    this.makeTap();
    const hub = ['hubport,id=a,hubid=0,netdev=u', 'tap,id=t,fd=9', 'hubport,id=b,hubid=0,netdev=t'];
    return this.spawn(
      [lab.tools.shim, 'exec', Lab.path(lab.guest), 'tap0', '9', 'qemu-system-x86_64', '-machine', 'none']
        .concat(['-nodefaults', '-display', 'none', '-netdev', `user,id=u,ipv6=off,${forward}`])
        .concat(hub.flatMap((netdev) => ['-netdev', netdev])),
    );
  }
}

/** netproxy from the tree that is measured. */
class Netproxy extends Peer {
  static role = 'ours';
  static dhcp = true;
  static needsAddon = true;
  guest = '192.168.127.2';
  gateway = '192.168.127.1';
  dns = '192.168.127.1';
  httpProxy = `${this.gateway}:3128`;
  env = {};

  serve(...link) {
    const { lab, options } = this;
    const { node = [], wrap = [], modules = false } = options;
    const main = modules ? MODULES : path.join(lab.tree, 'dist', 'cli', 'main.js');
    // The soft limit of descriptors is often 1,024; Node raises it by itself.
    const command = [...wrap, process.execPath, ...node, main, 'serve', ...link, '--mtu', String(lab.mtu)];
    const more = [
      '--subnet',
      '192.168.127.0/24',
      '--publish',
      `${TARGET}:${INBOUND}:${INBOUND}`,
      '--log-level',
      'warn',
    ];
    const env = { NETPROXY_NO_VSOCK: '1', NETPROXY_BENCH_TREE: lab.tree, ...this.env, ...options.env };
    return this.spawn([...command, ...more, '--ready-fd', '3'], { env, ready: true });
  }
}

/** On a TAP of its own in the guest's namespace, with offloads. */
class NetproxyTap extends Netproxy {
  static label = 'netproxy-tap';

  launch() {
    return this.serve('--netns', Lab.path(this.lab.guest), '--tap', 'tap0');
  }

  async start() {
    const child = this.launch();
    await this.lab.until(() => child.readyLine.then((line) => line !== undefined), 'netproxy');
    await this.hasTap();
    this.addressGuest();
  }
}

/** On a unix stream with QEMU's framing; the shim stands for QEMU. */
class NetproxyStream extends Netproxy {
  static label = 'netproxy-stream';

  launch() {
    const { lab } = this;
    const socket = lab.file('netproxy.sock');
    this.makeTap();
    const child = this.serve('--qemu', `unix:${socket}`);
    this.shim('stream', Lab.path(lab.guest), 'tap0', socket);
    return child;
  }
}

/** The same without the addon. */
class NetproxyNoAddon extends NetproxyStream {
  static label = 'netproxy-noaddon';
  env = { NETPROXY_NO_ADDON: '1' };
}

const ALL = [
  Veth,
  TapCopy,
  TapCopyOffload,
  Relay,
  RelayOffload,
  NetproxyTap,
  NetproxyStream,
  NetproxyNoAddon,
].concat([Pasta, Passt, Slirp4netns, Libslirp, Dnsmasq, Squid]);

/** Peers by name, in the order of tables. */
export const PEERS = new Map(ALL.map((peer) => [peer.label, peer]));

/** Why netproxy of this tree cannot be measured; undefined: it can. */
export function missingBuild(tree) {
  return fs.existsSync(path.join(tree, 'dist', 'cli', 'main.js'))
    ? undefined
    : `${tree}/dist/cli/main.js is missing: npm run build`;
}
