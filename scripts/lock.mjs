/**
 * One process at a time, by a file that holds the owner's process id.
 */
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readText } from './tools.mjs';

/** True where a process with this id exists (of another user, too). */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Puts the lock of a dead owner aside; false where somebody else was quicker. */
function reclaim(file, owner) {
  const aside = `${file}.${process.pid}`;
  try {
    if (readText(file)?.trim() !== owner) return false;
    fs.renameSync(file, aside);
    fs.rmSync(aside);
    return true;
  } catch {
    return false;
  }
}

/** Creates the lock whole: a reader never sees it without its owner. */
function claim(file) {
  const draft = `${file}.draft.${process.pid}`;
  fs.writeFileSync(draft, `${process.pid}\n`);
  try {
    fs.linkSync(draft, file);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

/**
 * Runs `work` while this process holds the lock, waiting for a live owner and taking over from a dead one.
 *
 * @param {string} file
 * @param {() => Promise<T>} work
 * @param {(pid: number) => void} onWait called once where there is somebody to wait for
 * @returns {Promise<T>}
 * @template T
 */
export async function withLock(file, work, onWait) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  let told = false;
  while (!claim(file)) {
    const owner = readText(file)?.trim();
    if (owner === undefined) continue;
    if (!isAlive(Number(owner))) {
      reclaim(file, owner);
      continue;
    }
    if (!told) onWait(Number(owner));
    told = true;
    await sleep(200);
  }
  const release = () => fs.rmSync(file, { force: true });
  process.on('exit', release);
  try {
    return await work();
  } finally {
    process.off('exit', release);
    release();
  }
}
