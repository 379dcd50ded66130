/** Errors that reach a user: what failed, on what, why, and what to do. */

export interface NetproxyErrorDetails {
  /** What to do about it; one sentence, shown on a line of its own. */
  readonly remedy?: string;
  readonly cause?: unknown;
  /** errno name such as `EADDRINUSE`, when the operating system said one. */
  readonly errno?: string;
}

/** Stable codes; a program branches on these, never on the message. */
export type NetproxyErrorCode =
  | 'ERR_NETPROXY_CONFIG'
  | 'ERR_NETPROXY_LINK'
  | 'ERR_NETPROXY_PROTOCOL'
  | 'ERR_NETPROXY_PUBLISH'
  | 'ERR_NETPROXY_LISTEN'
  | 'ERR_NETPROXY_DIAL'
  | 'ERR_NETPROXY_STATE'
  | 'ERR_NETPROXY_NATIVE'
  | 'ERR_NETPROXY_NAMESPACE'
  | 'ERR_NETPROXY_UNSUPPORTED'
  | 'ERR_NETPROXY_API';

export class NetproxyError extends Error {
  override readonly name = 'NetproxyError';
  readonly code: NetproxyErrorCode;
  readonly remedy: string | undefined;
  readonly errno: string | undefined;

  constructor(code: NetproxyErrorCode, message: string, details: NetproxyErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.remedy = details.remedy;
    this.errno = details.errno;
  }
}
