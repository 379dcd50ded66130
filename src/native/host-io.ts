/** HostIo whose descriptors the crate owns: flows, listeners and UDP sockets in one epoll set. */
import { constants } from 'node:os';
import {
  type HostIo,
  type HostListener,
  type HostStream,
  type HostStreamHandler,
  type HostTarget,
  type HostUdpServer,
  type HostUdpServerHandler,
  parseIpv4,
} from '../core/index.js';
import { listenError, nodeIo } from '../host/index.js';
import { bindByHelper } from './bind-client.js';
import { ACCEPT_INTS, EAGAIN, READ, errnoName } from './constants.js';
import type { Hub } from './hub.js';
import { nativePing } from './ping.js';
import { NativeStream, StreamScratch } from './stream.js';
import { UdpScratch, nativeUdp, nativeUdpServer } from './udp.js';

const BACKLOG = 4096;
/** Connections taken per wake-up of one listener. */
const ACCEPT_BURST = 32;
/** Pause of a listener when the process has no descriptors left, ms. */
const ACCEPT_PAUSE = 100;

const { EACCES, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM } = constants.errno;
/** What a bind ends with that is not ours to do. */
const DENIED: ReadonlySet<number> = new Set([-EACCES, -EPERM]);
/** Results of accept() that pass by themselves. */
const WEATHER: ReadonlySet<number> = new Set([-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM]);

/** `helper`: the socket of a bind helper, for ports that this process may not bind. */
export function nativeIo(hub: Hub, helper?: string): HostIo {
  const streams = new StreamScratch(hub);
  const udp = new UdpScratch(hub);
  const peer = new Int32Array(ACCEPT_INTS);
  const peerId = hub.poller.register(peer);

  const dial = (target: HostTarget, handler: HostStreamHandler): HostStream => {
    // A unix connect is decided at once or blocks: rare enough for Node's own sockets.
    if (target.kind === 'unix') return nodeIo.dial(target, handler);
    const ip = target.ip ?? parseIpv4(target.host);
    const handle =
      ip === undefined
        ? hub.poller.tcpConnect(target.host, target.port, null)
        : hub.poller.tcpConnect4(ip, target.port, target.receiveBuffer);
    if (handle < 0) return stillborn(handle, handler);
    const stream = new NativeStream(hub, streams, handle, target.port);
    stream.attach(handler);
    return stream;
  };

  const listen = async (
    host: string,
    port: number,
    onStream: (stream: HostStream) => HostStreamHandler,
    onTrouble?: (errno: string) => void,
  ): Promise<HostListener> => {
    let listener = hub.poller.tcpListen(host, port, BACKLOG, true);
    if (helper !== undefined && DENIED.has(listener))
      listener = await bindByHelper(hub, helper, { protocol: 'tcp', host, port });
    if (listener < 0) throw await listenError('tcp', host, port, errnoName(listener), undefined);
    const bound = hub.poller.address(listener, false);
    let resume: NodeJS.Timeout | undefined;
    hub.watch(listener, () => {
      for (let i = 0; i < ACCEPT_BURST; i++) {
        const handle = hub.poller.accept(listener, peerId);
        if (WEATHER.has(handle)) {
          // Weather: the clients wait in the backlog until descriptors or memory are back.
          hub.poller.interest(listener, 0);
          onTrouble?.(errnoName(handle));
          resume = setTimeout(() => hub.poller.interest(listener, READ), ACCEPT_PAUSE).unref();
          return;
        }
        if (handle === EAGAIN) return;
        if (handle < 0) continue;
        const from = hub.poller.address(handle, true);
        const stream = new NativeStream(
          hub,
          streams,
          handle,
          0,
          from === null ? undefined : { host: from.address, port: from.port },
        );
        stream.attach(onStream(stream));
      }
    });
    return {
      host: bound?.address ?? host,
      port: bound?.port ?? port,
      close: () => {
        clearTimeout(resume);
        hub.unwatch(listener);
        hub.poller.closeHandle(listener);
      },
    };
  };

  const bindUdp = async (
    host: string,
    port: number,
    handler: HostUdpServerHandler,
  ): Promise<HostUdpServer> => {
    let handle = hub.poller.udpOpen(host, port, host.includes(':'));
    if (helper !== undefined && DENIED.has(handle))
      handle = await bindByHelper(hub, helper, { protocol: 'udp', host, port });
    if (handle < 0) throw await listenError('udp', host, port, errnoName(handle), undefined);
    return nativeUdpServer(hub, udp, handle, handler);
  };

  return {
    dial,
    listen,
    udp: (handler) => nativeUdp(hub, udp, handler),
    ping: (handler) => nativePing(hub, udp, handler),
    bindUdp,
    get counters() {
      return { udpDropped: udp.queue.dropped };
    },
  };
}

/** A dial that failed before it began; told after the caller's call. */
function stillborn(result: number, handler: HostStreamHandler): HostStream {
  let told = false;
  queueMicrotask(() => {
    if (!told) handler.failed(errnoName(result));
  });
  const forget = (): void => {
    told = true;
  };
  return { send: () => 0, receive: () => 0, shutdown: () => undefined, reset: forget, close: forget };
}
