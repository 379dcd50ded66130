/** The bearer token of doors that anybody may knock at (RFC 6750). */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import * as fs from 'node:fs';
import { NetproxyError } from '../core/index.js';

const TOKEN = /^[\w.~+/-]{16,256}=*$/;

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** Whether an `Authorization` header carries the token; the time taken tells nothing about it. */
export function bearerMatches(header: string | undefined, token: string): boolean {
  const given = /^Bearer +(\S+) *$/i.exec(header ?? '')?.[1] ?? '';
  return timingSafeEqual(digest(given), digest(token)) && given !== '';
}

/**
 * The token in a file. A server (`create`) makes the file with mode 0600 and a token of 256 random bits where there is none.
 * Throws ERR_NETPROXY_CONFIG: it cannot be read, others may read it, or there is no token in it.
 */
export function readToken(file: string, create = false): string {
  if (create) createToken(file);
  let fd: number;
  try {
    fd = fs.openSync(file, 'r');
  } catch (error) {
    throw bad(file, (error as Error).message, 'Name the file that netproxy serve wrote.', error);
  }
  try {
    const { mode, size, uid } = fs.fstatSync(fd);
    if (uid !== (process.geteuid?.() ?? uid))
      throw bad(file, 'it belongs to another user', 'Make a file of your own.');
    if ((mode & 0o077) !== 0)
      throw bad(file, 'other users may read or write it', `chmod 600 ${file}, and change the token.`);
    const text = size > 1024 ? '' : fs.readFileSync(fd, 'utf8').trim();
    if (!TOKEN.test(text))
      throw bad(file, 'there is no token in it', 'Allowed: 16 to 256 of A-Za-z0-9-._~+/.');
    return text;
  } finally {
    fs.closeSync(fd);
  }
}

function createToken(file: string): void {
  try {
    fs.writeFileSync(file, `${randomBytes(32).toString('base64url')}\n`, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
    throw bad(file, (error as Error).message, 'Choose a file that this user may write.', error);
  }
}

function bad(file: string, why: string, remedy: string, cause?: unknown): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', `the token file ${file}: ${why}`, { remedy, cause });
}
