/** One process at a time writes a state file: `FILE.lock` names it. A lock of a process that has ended is nobody's. */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { NetproxyError } from '../core/index.js';
import { errnoOf } from './errno.js';

/** How often a lock that is stale is taken from its dead owner before we believe that it comes back. */
const TRIES = 3;

/**
 * Makes the folder when there is none, takes the lock and returns what gives it back. Throws ERR_NETPROXY_STATE when another process, or another network of
 * this one, has it. Where no lock can be written (a read-only file system) there is none, and nothing can be written
 * beside it either.
 */
export function lockState(path: string): () => void {
  const file = `${path}.lock`;
  const mark = `${process.pid} ${startOf(process.pid) ?? ''}\n`;
  for (let n = 0; n < TRIES; n++) {
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      put(file, mark);
      return () => {
        if (markIn(file) === mark) rmSync(file, { force: true });
      };
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') return () => undefined;
    }
    const holder = markIn(file);
    const pid = Number.parseInt(holder ?? '', 10);
    if (holder !== undefined && isAlive(pid, holder.trimEnd().split(' ')[1])) {
      throw new NetproxyError('ERR_NETPROXY_STATE', `process ${pid} writes the state file ${path} already`, {
        remedy: `Give each network a state file of its own. When no netproxy runs, delete ${file}.`,
      });
    }
    if (holder !== undefined) discard(file, holder);
  }
  throw new NetproxyError(
    'ERR_NETPROXY_STATE',
    `cannot lock the state file ${path}: ${file} keeps coming back`,
  );
}

/** Makes the lock with its mark in it: nobody ever sees an empty one. Throws EEXIST. */
function put(file: string, mark: string): void {
  const draft = `${file}.${process.pid}`;
  rmSync(draft, { force: true });
  writeFileSync(draft, mark, { flag: 'wx', mode: 0o600 });
  try {
    linkSync(draft, file);
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Takes a dead owner's lock away; one that somebody else made in its place meanwhile is put back. */
function discard(file: string, stale: string): void {
  const aside = `${file}.stale-${process.pid}`;
  try {
    renameSync(file, aside);
    if (markIn(aside) !== stale) linkSync(aside, file);
  } catch {
    // Somebody was faster: the next try sees what he did.
  }
  rmSync(aside, { force: true });
}

function markIn(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/** Whether the process that started then is there still; ids are used again. */
function isAlive(pid: number, started: string | undefined): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  const now = startOf(pid);
  if (now !== undefined) return now === started;
  if (process.platform === 'linux') return false;
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}

/** When a process started, in ticks since boot; undefined when it has ended (zombies have), or without /proc. */
function startOf(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // proc(5): the name in parentheses may hold anything; state is field 3, starttime field 22.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}
