/** squid: what an HTTP proxy in C++ takes that does nothing else. */
import fs from 'node:fs';
import { TARGET } from './lab.mjs';
import { Veth } from './peer.mjs';

/** No proxy of packets, and squid on the gateway, which keeps nothing. */
export class Squid extends Veth {
  static label = 'squid';
  static role = 'rival';
  static programs = ['squid'];
  static package = 'squid';
  static only = 'http';
  httpProxy = `${this.gateway}:3128`;

  async start() {
    await super.start();
    const { lab } = this;
    const file = lab.file('squid.conf');
    const lines = [
      `http_port ${this.httpProxy}`,
      'http_access allow all',
      'cache deny all',
      'pid_filename none',
      'access_log none',
      'cache_log /dev/null',
      'cache_effective_user nobody',
      `dns_nameservers ${TARGET}`,
      'pinger_enable off',
      'netdb_filename none',
      'shutdown_lifetime 0 seconds',
    ];
    fs.writeFileSync(file, `${lines.join('\n')}\n`);
    // Its shared memory has a fixed name: a /dev/shm of its own.
    const script = 'mount -t tmpfs tmpfs /dev/shm && exec squid -N -f "$1"';
    this.spawn(['unshare', '-m', 'sh', '-c', script, 'sh', file]);
    await lab.until(() => lab.listens(3128), 'squid');
  }
}
