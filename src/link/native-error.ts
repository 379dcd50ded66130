/** Errors of native calls, which return -errno. */
import { constants } from 'node:os';
import { NetproxyError } from '../core/index.js';
import type { NetproxyErrorCode } from '../core/index.js';

const names = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]));
names.set(constants.errno.EAGAIN, 'EAGAIN');

const meanings: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EBUSY: 'it is in use by another process',
  ENOENT: 'it does not exist',
  ENODEV: 'the kernel has no such device',
  EADDRINUSE: 'address already in use',
  EAFNOSUPPORT: 'the kernel does not know this kind of address',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset by the peer',
  EPIPE: 'the peer closed the connection',
  EPROTO: 'the peer broke the framing (a frame under 14 or over 131072 bytes)',
  ETIMEDOUT: 'timed out',
  EINVAL: 'invalid argument',
  EMFILE: 'too many open files',
};

/** `what: meaning (ERRNO)` of a negative result. */
export function nativeError(
  code: NetproxyErrorCode,
  what: string,
  result: number,
  details: { readonly remedy?: string } = {},
): NetproxyError {
  const errno = names.get(-result) ?? `E${-result}`;
  const meaning = meanings[errno];
  const why = meaning === undefined ? errno : `${meaning} (${errno})`;
  return new NetproxyError(code, what === '' ? why : `${what}: ${why}`, { ...details, errno });
}
