/** A ping for namespaces without the program: the addon's unprivileged ICMP socket. */
import { ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, ICMP_HEADER, emitIcmp } from '../../icmp/index.js';
import { Hub, UDP_RX_STRIDE, UDP_TX_STRIDE, errnoName, loadNative } from '../../native/index.js';
import { parseIpv4 } from '../../core/index.js';

const TIMEOUT = 2000;
const SLOT = 2048;

/** Round trip in ms; rejects when no answer comes. */
export async function pingByHand(ip: string): Promise<number> {
  const { addon, reason } = loadNative();
  if (addon === undefined) throw new Error(`no ping program, and no addon: ${reason ?? 'unknown'}`);
  const hub = new Hub(addon);
  try {
    return await echo(hub, ip);
  } finally {
    hub.close();
  }
}

function echo(hub: Hub, ip: string): Promise<number> {
  const { poller } = hub;
  const handle = poller.pingOpen(false);
  if (handle < 0) throw new Error(`ping sockets are not allowed (${errnoName(handle)})`);
  const memory = hub.memory.allocate(SLOT);
  const meta = new Int32Array(Math.max(UDP_RX_STRIDE, UDP_TX_STRIDE));
  const metaId = poller.register(meta);
  // The kernel sets the id of the echo, and its own checksum.
  const request = emitIcmp({ type: ICMP_ECHO_REQUEST, code: 0, rest: 1, body: new Uint8Array(56) });
  memory.bytes.set(request);
  meta.set([memory.id, 0, request.length, 0, parseIpv4(ip)! | 0]);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`no answer from ${ip} within ${TIMEOUT} ms`));
    }, TIMEOUT);
    const started = performance.now();
    hub.watch(handle, () => {
      const count = poller.udpRecvBatch(handle, memory.id, 0, SLOT, SLOT, metaId);
      if (count <= 0 || meta[1]! < ICMP_HEADER || memory.bytes[meta[0]!] !== ICMP_ECHO_REPLY) return;
      clearTimeout(timer);
      resolve(performance.now() - started);
    });
    const sent = poller.udpSendBatch(handle, metaId, 0, 1);
    if (sent < 0) reject(new Error(`cannot ping ${ip} (${errnoName(sent)})`));
  });
}
