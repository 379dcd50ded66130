/** What all peers have in common, and the one without a proxy. */
import { TARGET } from './lab.mjs';
import { packageVersion } from './machine.mjs';
import { which } from './tools.mjs';

export class Peer {
  static label = '?';
  /** `floor`: no proxy, or hardly one; `ours`; `rival`. */
  static role = 'rival';
  static programs = [];
  static package = undefined;
  /** Refuses to start without a default route; it leads nowhere. */
  static wantsRoute = false;
  static mtus = undefined;
  /** Only TCP, and only out of the guest. */
  static tcpOnly = false;
  /** The one group of metrics that it is there for; undefined: all. */
  static only = undefined;
  /** It answers DHCP. */
  static dhcp = false;
  guest = '10.0.2.15';
  gateway = '10.0.2.2';
  /** Its own DNS forwarder. */
  dns = undefined;
  dnsPort = 53;
  /** Its HTTP proxy, HOST:PORT. */
  httpProxy = undefined;
  inboundHost = TARGET;

  constructor(lab, options) {
    this.lab = lab;
    this.options = options;
  }

  /** What has to be installed before it can be measured; undefined: it can. */
  static missing() {
    const lacking = this.programs.find((program) => which(program) === undefined);
    return lacking === undefined
      ? undefined
      : `${lacking} is missing: apt-get install ${this.package ?? lacking}`;
  }

  static version() {
    return this.package === undefined ? undefined : packageVersion(this.package);
  }

  spawn(argv, options) {
    const child = this.lab.run(this.lab.host, argv, options);
    this.lab.peers.push(child);
    return child;
  }

  /** A helper in the place of a virtual machine. */
  shim(...argv) {
    const child = this.lab.onHost(this.lab.tools.shim, ...argv);
    this.lab.shims.push(child);
    return child;
  }

  addressGuest() {
    const { lab } = this;
    lab.ipGuest('link', 'set', 'tap0', 'mtu', String(lab.mtu), 'up');
    lab.ipGuest('addr', 'replace', `${this.guest}/24`, 'dev', 'tap0');
    lab.ipGuest('route', 'replace', 'default', 'via', this.gateway);
  }

  makeTap(...flags) {
    this.lab.ipGuest('tuntap', 'add', 'tap0', 'mode', 'tap', ...flags);
  }

  async hasTap() {
    await this.lab.until(() => this.lab.ipGuest('link', 'show', 'tap0') !== '', 'tap0');
  }

  /** Starts it as far as it takes to answer DHCP, without waiting: the clock runs. Returns its first process. */
  launch() {
    throw new Error(`${this.constructor.label} cannot be launched`);
  }

  async start() {
    this.launch();
    await this.hasTap();
    this.addressGuest();
  }

  /** Publishes INBOUND where that is not a matter of its command line. */
  async publish() {}
}

/** No proxy: what two kernels and the tools do on this machine. */
export class Veth extends Peer {
  static label = 'veth';
  static role = 'floor';
  guest = '10.98.0.2';
  gateway = '10.98.0.1';
  dns = TARGET;
  inboundHost = '10.98.0.2';

  async start() {
    const { lab } = this;
    lab.ipHost(
      'link',
      'add',
      'vh0',
      'mtu',
      String(lab.mtu),
      'type',
      'veth',
      'peer',
      'name',
      'tap0',
      'netns',
      lab.guest,
    );
    lab.ipHost('link', 'set', 'vh0', 'up');
    lab.ipHost('addr', 'add', `${this.gateway}/24`, 'dev', 'vh0');
    this.addressGuest();
  }
}
