/** What a state file needs of a disk: read it, put it aside, write it anew, add to it. Nothing here knows what is in it. */
import { readFileSync, renameSync, statSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { lockState } from './state-lock.js';

/** A file that is open for more. */
export interface StateTail {
  /** Adds bytes; resolves when they are on the disk. Rejects with an errno, ESTALE when the file is no longer there. */
  append(text: string): Promise<void>;
  close(): Promise<void>;
}

/** Everything rejects or throws with the errno of the operating system. */
export interface StateDisk {
  /** Keeps other processes away from a file and returns the way back. Throws ERR_NETPROXY_STATE when one has it. */
  lock(path: string): () => void;
  /** The whole file; undefined when there is none. Throws EISDIR for what is no file, EFBIG beyond `limit` bytes. */
  read(path: string, limit: number): Buffer | undefined;
  /** Renames a file. */
  move(from: string, to: string): void;
  /** Puts a new file in the place of `path`, whole or not at all; resolves when that is on the disk. */
  replace(path: string, text: string): Promise<StateTail>;
}

function failure(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code });
}

export const nodeDisk: StateDisk = {
  lock: lockState,
  read: (path, limit) => {
    const about = statSync(path, { throwIfNoEntry: false });
    if (about === undefined) return undefined;
    if (!about.isFile()) throw failure('EISDIR');
    if (about.size > limit) throw failure('EFBIG');
    return readFileSync(path);
  },
  move: (from, to) => {
    renameSync(from, to);
  },
  replace: async (path, text) => {
    const folder = dirname(path);
    const draft = `${path}.tmp`;
    // Always a new file of ours: not what somebody else put there, nor where a link leads.
    await rm(draft, { force: true });
    const file = await open(draft, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
      await rename(draft, path);
      await syncFolder(folder);
    } catch (error) {
      await file.close();
      throw error;
    }
    return new NodeTail(file);
  },
};

class NodeTail implements StateTail {
  private readonly file: FileHandle;

  constructor(file: FileHandle) {
    this.file = file;
  }

  async append(text: string): Promise<void> {
    await this.file.writeFile(text);
    await this.file.datasync();
    // Deleted, or another one put in its place: what was added is lost with the next start.
    if ((await this.file.stat()).nlink === 0) throw failure('ESTALE');
  }

  close(): Promise<void> {
    return this.file.close();
  }
}

/** A rename is on the disk when the folder is. Where folders cannot be opened (Windows), the system sees to it. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
