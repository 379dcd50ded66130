/**
 * A unix socket at a path that is ours while we live. The socket is bound under a hidden name beside the path, gets mode
 * 0600, and is then linked to the path: nobody can connect before the mode is right, no file of somebody else is ever
 * replaced, and what libuv deletes when it closes the socket is the hidden name and not what another process has put
 * at the path since.
 *
 * A path that is taken: no socket, or not ours: an error. A socket that answers: an error that names the process. A socket
 * of ours that refuses (its process died): reclaimed.
 */
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { connect } from 'node:net';
import { constants } from 'node:os';
import type { Server } from 'node:net';
import path from 'node:path';
import { NetproxyError } from '../core/index.js';
import { nativeError } from './native-error.js';
import { describeHolder, unixHolder } from './holder.js';
import { checkPath, UNIX_PATH_MAX } from './spec.js';

/** A bound path. `release` deletes it when it is still the same file. */
export interface BoundPath {
  readonly path: string;
  release(): void;
}

/** Waiting connections that the kernel keeps. */
const BACKLOG = 128;
/** How often a path may be taken by somebody else between looking and linking. */
const ATTEMPTS = 3;
const EADDRINUSE = -constants.errno.EADDRINUSE;

/** Makes the server listen at the path. Rejects with ERR_NETPROXY_LISTEN; then nothing is left behind. */
export async function listenUnix(server: Server, socketPath: string): Promise<BoundPath> {
  checkPath(socketPath);
  const file = path.resolve(socketPath);
  const directory = path.dirname(file);
  const random = randomBytes(3).toString('hex');
  let hidden = path.join(directory, `.${path.basename(file)}.${random}`);
  // A path that has no room for the longer name is reached through its directory's descriptor (Linux only).
  const tooLong = Buffer.byteLength(hidden) > UNIX_PATH_MAX;
  if (tooLong) hidden = path.join(directory, `.${random}`);
  let descriptor: number | undefined;
  try {
    // libuv calls a missing directory EACCES; this one says ENOENT.
    descriptor = fs.openSync(directory, fs.constants.O_DIRECTORY);
    await bindHidden(server, tooLong ? `/proc/self/fd/${descriptor}/.${random}` : hidden);
    fs.chmodSync(hidden, 0o600);
    await publishPath(hidden, file);
    return ours(file);
  } catch (error) {
    if (server.listening) server.close();
    throw error instanceof NetproxyError ? error : cannotListen(socketPath, error);
  } finally {
    fs.rmSync(hidden, { force: true });
    if (descriptor !== undefined) fs.closeSync(descriptor);
  }
}

/** The file that stands there now. */
function ours(file: string): BoundPath {
  const { dev, ino, birthtimeMs } = fs.lstatSync(file);
  return {
    path: file,
    release: () => {
      const now = fs.lstatSync(file, { throwIfNoEntry: false });
      if (now?.dev === dev && now.ino === ino && now.birthtimeMs === birthtimeMs) fs.rmSync(file);
    },
  };
}

/**
 * The same for a socket of the native layer, which is bound to the path itself (its peers see that name as the sender) and
 * has its mode from the beginning. `bind` returns a handle, or -errno. Rejects with ERR_NETPROXY_LISTEN.
 */
export async function bindUnix(
  socketPath: string,
  bind: (file: string) => number,
): Promise<{ readonly handle: number; readonly bound: BoundPath }> {
  checkPath(socketPath);
  const file = path.resolve(socketPath);
  checkPath(file);
  for (let attempt = 1; ; attempt++) {
    const handle = bind(file);
    if (handle >= 0) return { handle, bound: ours(file) };
    if (handle !== EADDRINUSE || attempt === ATTEMPTS) {
      throw nativeError('ERR_NETPROXY_LISTEN', `cannot listen on unix:${file}`, handle, {
        remedy: 'Choose another path, in a directory that exists and that this user may write to.',
      });
    }
    await reclaim(file, '');
  }
}

/** Binds with a umask that lets nobody else in; Node binds before `listen` returns. Worker threads have no umask. */
async function bindHidden(server: Server, name: string): Promise<void> {
  const listening = new Promise<void>((resolve, reject) => {
    server.once('listening', resolve);
    server.once('error', reject);
  });
  const old = setUmask(0o177);
  try {
    server.listen({ path: name, backlog: BACKLOG });
  } finally {
    if (old !== undefined) setUmask(old);
  }
  await listening;
}

function setUmask(mask: number): number | undefined {
  try {
    return process.umask(mask);
  } catch {
    return undefined;
  }
}

/** Gives the socket its public name; takes the name over from a dead process. */
async function publishPath(hidden: string, file: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      linkOrRename(hidden, file);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt === ATTEMPTS) throw error;
    }
    await reclaim(file, hidden);
  }
}

/** `link` fails where the name is taken. File systems without links get a rename, after a look. */
function linkOrRename(from: string, to: string): void {
  try {
    fs.linkSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw error;
    if (fs.lstatSync(to, { throwIfNoEntry: false }) !== undefined) {
      throw Object.assign(new Error(`file already exists: ${to}`), { code: 'EEXIST' });
    }
    fs.renameSync(from, to);
  }
}

/** Deletes a dead socket of ours, or rejects saying who is in the way. `own`: the name of the socket that wants the place. */
async function reclaim(file: string, own: string): Promise<void> {
  const before = fs.lstatSync(file, { throwIfNoEntry: false });
  if (before === undefined) return;
  if (!before.isSocket()) {
    throw taken(file, 'it exists and is not a socket', 'Choose another path, or delete the file yourself.');
  }
  const answer = await probe(file);
  if (answer === 'ENOENT') return;
  if (answer !== 'ECONNREFUSED') {
    const holder = describeHolder(await unixHolder(file, own));
    throw taken(
      file,
      `a live process listens there${holder}`,
      'Stop it, or choose another path.',
      'EADDRINUSE',
    );
  }
  const uid = process.geteuid?.();
  if (uid !== undefined && before.uid !== uid) {
    const why = `it is a dead socket that belongs to user ${before.uid}`;
    throw taken(file, why, 'Delete it as that user, or choose another path.');
  }
  const now = fs.lstatSync(file, { throwIfNoEntry: false });
  if (now?.ino === before.ino && now.dev === before.dev) fs.rmSync(file);
}

/** Connects once; returns the errno name, or 'connected'. */
function probe(file: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ path: file });
    socket.once('connect', () => {
      socket.destroy();
      resolve('connected');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'));
  });
}

function taken(file: string, why: string, remedy: string, errno = 'EEXIST'): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_LISTEN', `cannot listen on unix:${file}: ${why}.`, {
    remedy,
    errno,
  });
}

/** The error of a failed bind, with what to do about it; `holder` as in `nginx, pid 812`. */
export function cannotListen(where: string, error: unknown, holder?: string): NetproxyError {
  const { code = 'unknown', message } = error as NodeJS.ErrnoException;
  const why = `${reasons[code] ?? message}${holder === undefined ? '' : ` (${holder})`}`;
  return new NetproxyError('ERR_NETPROXY_LISTEN', `cannot listen on ${where}: ${why}.`, {
    cause: error,
    errno: code,
    remedy: remedies[code] ?? 'Choose another address.',
  });
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  ENOENT: 'its directory does not exist',
  ENOTDIR: 'its directory is not a directory',
  EADDRINUSE: 'address already in use',
  EADDRNOTAVAIL: 'this host does not have that address',
  EROFS: 'the file system is read-only',
};

const remedies: Readonly<Record<string, string>> = {
  EACCES: 'Choose a place that this user may write to, or a port from 1024 up.',
  ENOENT: 'Create the directory first.',
  EADDRINUSE: 'Stop the process that holds it, or choose another one.',
  EADDRNOTAVAIL: 'Use an address of this host, for example 127.0.0.1.',
};
