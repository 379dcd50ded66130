/** Who listens on a unix socket, as far as /proc tells: for the message of an error, never for a decision. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import path from 'node:path';

export interface Holder {
  readonly pid: number;
  /** Command name. */
  readonly name: string;
}

/** __SO_ACCEPTCON of /proc/net/unix: the socket listens. */
const LISTENS = 0x10000;
/** SOCK_DGRAM there: a bound one takes datagrams. */
const DATAGRAM = '0002';

/**
 * The process that listens at `socketPath`, undefined when /proc does not tell. A socket of netproxy is bound under a
 * hidden name (see unix-path.ts); `own` is the caller's, which does not count.
 */
export async function unixHolder(socketPath: string, own = ''): Promise<Holder | undefined> {
  try {
    const inodes = listeningInodes(await readFile('/proc/net/unix', 'latin1'), socketPath, own);
    return inodes.size === 0 ? undefined : await findOwner(inodes);
  } catch {
    return undefined;
  }
}

/** ` (qemu, pid 812)`, or nothing when it is not known. */
export function describeHolder(holder: Holder | undefined): string {
  return holder === undefined ? '' : ` (${holder.name}, pid ${holder.pid})`;
}

/** Inodes of the listening and datagram sockets with that name in the text of /proc/net/unix; not the one named `own`. */
export function listeningInodes(text: string, socketPath: string, own = ''): Set<string> {
  const hidden = path.join(path.dirname(socketPath), `.${path.basename(socketPath)}.`);
  const inodes = new Set<string>();
  for (const line of text.split('\n').slice(1)) {
    const match = /^\S+ \S+ \S+ (\S+) (\S+) \S+ +(\d+) (.+)$/.exec(line);
    if (match === null) continue;
    const [, flags = '', type, inode = '', name = ''] = match;
    const takes = (Number.parseInt(flags, 16) & LISTENS) !== 0 || type === DATAGRAM;
    if (!takes || name === own) continue;
    const isHidden = name.startsWith(hidden) && /^[0-9a-f]{6}$/.test(name.slice(hidden.length));
    if (name === socketPath || isHidden) inodes.add(inode);
  }
  return inodes;
}

async function findOwner(inodes: ReadonlySet<string>): Promise<Holder | undefined> {
  const wanted = new Set([...inodes].map((inode) => `socket:[${inode}]`));
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || !(await holds(pid, wanted))) continue;
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => 'unknown');
    return { pid: Number(pid), name: name.trim() };
  }
  return undefined;
}

async function holds(pid: string, wanted: ReadonlySet<string>): Promise<boolean> {
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const descriptor of descriptors) {
    const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '');
    if (wanted.has(target)) return true;
  }
  return false;
}
