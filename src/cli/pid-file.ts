/** The file that holds our process id while we run. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { NetproxyError } from '../core/index.js';

/**
 * Writes the file, whole or not at all, and returns what removes it (also done when the process exits otherwise). A file
 * that another process has put there since stays. `end` stands behind the number. Throws ERR_NETPROXY_LISTEN when it cannot be written.
 */
export function writePidFile(file: string, pid = process.pid, end = '\n'): () => void {
  const text = `${pid}${end}`;
  const draft = `${file}.${pid}.tmp`;
  try {
    writeFileSync(draft, text, { flag: 'wx', mode: 0o644 });
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    const { code, message } = error as NodeJS.ErrnoException;
    throw new NetproxyError('ERR_NETPROXY_LISTEN', `cannot write the pid file ${file}: ${message}`, {
      cause: error,
      remedy: 'Choose a file that this user may write.',
      ...(code === undefined ? {} : { errno: code }),
    });
  }
  const remove = (): void => {
    process.off('exit', remove);
    try {
      if (readFileSync(file, 'utf8') === text) rmSync(file, { force: true });
    } catch {
      // It is gone already.
    }
  };
  process.on('exit', remove);
  return remove;
}
