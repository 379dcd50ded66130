/** netproxy on a TAP without offloads, as a virtual machine's would be: each frame is one of the wire. */
import { Lab } from './lab.mjs';
import { PEERS } from './peers.mjs';

/** The guest's queue of frames that nobody has read yet; 1,000 is the kernel's own. */
export function plainTap(lab, frames) {
  lab.ipGuest('link', 'set', 'tap0', 'txqueuelen', String(frames));
}

/** The shim opens the TAP and hands it down. `options.serve`: more arguments of `netproxy serve`. */
export class NetproxyPlain extends PEERS.get('netproxy-tap') {
  static label = 'netproxy';

  launch() {
    const { lab, options } = this;
    options.wrap = [lab.tools.shim, 'exec', Lab.path(lab.guest), 'tap0', '9'];
    this.makeTap();
    return this.serve('--tap-fd', '9', ...(options.serve ?? []));
  }

  async start() {
    await super.start();
    plainTap(this.lab, 1000);
  }
}
