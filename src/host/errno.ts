/** errno names of Node's errors, and what they mean in words. */

/** The errno name of whatever an operation failed with. */
export function errnoOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return errnoOf(error.errors[0]);
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : 'EUNKNOWN';
}

const MEANING: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EADDRINUSE: 'address already in use',
  EADDRNOTAVAIL: 'the host does not have this address',
  EAFNOSUPPORT: 'the host does not speak this address family',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EDQUOT: 'disk quota exceeded',
  EFBIG: 'file too large',
  EHOSTUNREACH: 'no route to host',
  EIO: 'input or output error',
  EMFILE: 'too many open files',
  ENFILE: 'too many open files in the system',
  ENETUNREACH: 'network is unreachable',
  ENOENT: 'no such file or directory',
  ENOSPC: 'no space left on device',
  ENOTDIR: 'a part of the path is not a directory',
  EPERM: 'operation not permitted',
  EROFS: 'read-only file system',
  ETIMEDOUT: 'timed out',
};

/** What an errno means, as the C library words it. */
export function errnoText(errno: string): string {
  return MEANING[errno] ?? errno;
}
