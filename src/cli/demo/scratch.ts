/** A folder for the sockets of a demo, gone when the process is. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface Scratch {
  readonly dir: string;
  /** Deletes it. Idempotent. */
  remove(): void;
}

/** Makes one in the folder for such things, or in another one. */
export function makeScratch(base = tmpdir()): Scratch {
  const dir = mkdtempSync(path.join(base, 'np-demo-'));
  const remove = (): void => {
    process.off('exit', remove);
    rmSync(dir, { recursive: true, force: true });
  };
  process.on('exit', remove);
  return { dir, remove };
}
