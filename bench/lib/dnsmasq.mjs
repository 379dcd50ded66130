/** dnsmasq as a forwarder: what a program in C that does nothing else takes. */
import { TARGET } from './lab.mjs';
import { Veth } from './peer.mjs';

/** No proxy but dnsmasq, which passes queries on to the server (and keeps no answers). */
export class Dnsmasq extends Veth {
  static label = 'dnsmasq';
  static role = 'rival';
  static programs = ['dnsmasq'];
  static package = 'dnsmasq-base';
  /** Nothing else of it is worth measuring. */
  static only = 'dns';
  dns = this.gateway;
  // The lab's own server has 53.
  dnsPort = 5300;

  async start() {
    await super.start();
    this.spawn([
      'dnsmasq',
      '--keep-in-foreground',
      '--conf-file=/dev/null',
      '--pid-file=',
      '--user=root',
      '--no-resolv',
      '--no-hosts',
      '--cache-size=0',
      '--dns-forward-max=4096',
      `--server=${TARGET}`,
      '--bind-interfaces',
      `--listen-address=${this.gateway}`,
      `--port=${this.dnsPort}`,
    ]);
  }
}
