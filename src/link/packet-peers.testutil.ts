/**
 * The other side of the packet transports: a small client in Python, for Node has no unix datagram or seqpacket sockets. It
 * passes packets between its socket and its standard streams, there behind u32 lengths.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { StreamPeer } from './peers.testutil.js';

const CLIENT = `
import os, socket, struct, sys, threading
kind, path, own, hello, connect = sys.argv[1:6]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if kind == 'dgram' else socket.SOCK_SEQPACKET)
if own:
    s.bind('\\0' + own[1:] if own[0] == '@' else own)
to = None if connect else path
if connect:
    s.connect(path)
def send(packet):
    try:
        s.sendto(packet, to) if to else s.send(packet)
    except OSError:
        os._exit(0)
if hello:
    send(hello.encode())
def receive():
    while True:
        try:
            packet = s.recv(1 << 17)
        except OSError:
            os._exit(0)
        if not packet and kind != 'dgram':
            os._exit(0)
        sys.stdout.buffer.write(struct.pack('>I', len(packet)) + packet)
        sys.stdout.buffer.flush()
threading.Thread(target=receive, daemon=True).start()
while True:
    head = sys.stdin.buffer.read(4)
    if len(head) < 4:
        os._exit(0)
    send(sys.stdin.buffer.read(struct.unpack('>I', head)[0]))
`;

export interface PacketClient {
  /** The socket to talk to. */
  readonly path: string;
  /** Where its own socket is bound; a leading @: abstract. */
  readonly own?: string;
  /** Its first packet. */
  readonly hello?: string;
  /** Whether it connects (vfkit, libkrun), or says with each datagram where it goes (QEMU). */
  readonly connect?: boolean;
}

/** Whether there is a Python to run clients with. */
export function hasPython(): boolean {
  try {
    execFileSync('python3', ['-c', ''], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Starts a client; `exited` resolves when its process is gone. */
export function packetPeer(
  kind: 'dgram' | 'seqpacket',
  client: PacketClient,
): { readonly peer: StreamPeer; readonly exited: Promise<void>; readonly process: ChildProcess } {
  const { path, own = '', hello = '', connect = false } = client;
  const connects = connect || kind === 'seqpacket' ? '1' : '';
  const child = spawn('python3', ['-c', CLIENT, kind, path, own, hello, connects], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = new Promise<void>((resolve) => void child.once('exit', () => resolve()));
  const peer = new StreamPeer(child.stdout as unknown as Duplex, 'be32', child.stdin as unknown as Duplex);
  return { peer, exited, process: child };
}
