/** Watches TCP and UDP packets on an interface of a namespace, by tcpdump. */
import { until } from '../support/deadline.js';
import { type Exit, Proc } from '../support/process.js';

export interface Packet {
  /** Seconds since 1970, by the kernel's clock. */
  readonly time: number;
  readonly src: string;
  readonly sport: number;
  readonly dst: string;
  readonly dport: number;
  readonly proto: 'tcp' | 'udp' | 'icmp' | 'other';
  /** tcpdump's letters: S F R P . and so on; empty unless TCP. */
  readonly flags: string;
  readonly seq: number | undefined;
  readonly length: number;
  /** tcpdump's whole line. */
  readonly line: string;
}

const LINE =
  /^(\d+\.\d+) (?:\S+ +(?:In|Out|B|M|P) +)?IP (\d+\.\d+\.\d+\.\d+)(?:\.(\d+))? > (\d+\.\d+\.\d+\.\d+)(?:\.(\d+))?: (.*)$/;

/** A tcpdump line (`-tt -n -S`) as a packet; undefined for what is not IPv4. */
export function parsePacket(line: string): Packet | undefined {
  const match = LINE.exec(line);
  if (match === null) return undefined;
  const [, time, src = '', sport, dst = '', dport, rest = ''] = match;
  const flags = /^Flags \[([^\]]*)\]/.exec(rest)?.[1];
  const seq = /\bseq (\d+)/.exec(rest)?.[1];
  const proto =
    flags !== undefined ? 'tcp' : rest.startsWith('ICMP') ? 'icmp' : sport !== undefined ? 'udp' : 'other';
  return {
    time: Number(time),
    src,
    sport: Number(sport ?? 0),
    dst,
    dport: Number(dport ?? 0),
    proto,
    flags: flags === undefined || flags === 'none' ? '' : flags,
    seq: seq === undefined ? undefined : Number(seq),
    length: Number(/\blength (\d+)/.exec(rest)?.[1] ?? 0),
    line,
  };
}

export const isSyn = (packet: Packet): boolean => packet.flags === 'S';
export const isRst = (packet: Packet): boolean => packet.flags.includes('R');
export const isFin = (packet: Packet): boolean => packet.flags.includes('F');

export class Capture {
  /** What it saw so far, in order. */
  readonly packets: Packet[] = [];
  readonly #proc: Proc;

  private constructor(proc: Proc) {
    this.#proc = proc;
    proc.onLine('stdout', (line) => {
      const packet = parsePacket(line);
      if (packet !== undefined) this.packets.push(packet);
    });
  }

  /** Starts watching; returns once the capture runs. The filter is tcpdump's. */
  static async start(netns: string, interfaceName: string, filter: string): Promise<Capture> {
    const options = [
      '-i',
      interfaceName,
      '-n',
      '-tt',
      '-S',
      '-l',
      '--immediate-mode',
      '-Z',
      'root',
      '-s',
      '128',
      '-B',
      '8192',
    ];
    const proc = new Proc(['tcpdump', ...options, filter], { netns, stdin: 'ignore' });
    const capture = new Capture(proc);
    await proc.waitFor(/listening on/, 15_000, 'stderr');
    return capture;
  }

  /** The first packet, past or to come, that fits; fails after `timeoutMs`. */
  async packet(what: string, fits: (packet: Packet) => boolean, timeoutMs = 10_000): Promise<Packet> {
    return until(timeoutMs, `packet: ${what}`, () => this.packets.find(fits));
  }

  /** Ends the capture; `packets` is then complete. */
  async stop(): Promise<Exit> {
    return this.#proc.kill('SIGTERM');
  }
}
