/** What a request is refused with: problem details (RFC 9457) with netproxy's code, remedy and errno beside the standard members. */
import { NetproxyError, type NetproxyErrorCode } from '../core/index.js';

export const PROBLEM_TYPE = 'application/problem+json';

/** The body of a refusal. */
export interface ProblemBody {
  readonly type: 'about:blank';
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: NetproxyErrorCode;
  readonly remedy?: string | undefined;
  readonly errno?: string | undefined;
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
};

export interface ProblemDetails {
  readonly code?: NetproxyErrorCode;
  readonly remedy?: string | undefined;
  readonly errno?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** Thrown where a request cannot be answered as it was asked. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  private readonly details: ProblemDetails;

  constructor(status: number, detail: string, details: ProblemDetails = {}) {
    super(detail, details.cause === undefined ? undefined : { cause: details.cause });
    this.status = status;
    this.headers = details.headers ?? {};
    this.details = details;
  }

  get body(): ProblemBody {
    const { code = 'ERR_NETPROXY_API', remedy, errno } = this.details;
    const { status, message } = this;
    const title = TITLES[status] ?? 'Error';
    return { type: 'about:blank', title, status, detail: message, code, remedy, errno };
  }
}

/** What an error means to a client. What nobody expected is told without its details: they go to the log. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (!(error instanceof NetproxyError)) return new Problem(500, 'an internal error', { cause: error });
  const { code, remedy, errno, message } = error;
  return new Problem(statusOf(error), message, { code, remedy, errno, cause: error });
}

function statusOf({ code, errno }: NetproxyError): number {
  switch (code) {
    case 'ERR_NETPROXY_CONFIG':
      return 400;
    case 'ERR_NETPROXY_PUBLISH':
    case 'ERR_NETPROXY_LISTEN':
      return errno === 'EACCES' || errno === 'EPERM' ? 403 : 409;
    case 'ERR_NETPROXY_STATE':
      return 409;
    case 'ERR_NETPROXY_DIAL':
      return 502;
    case 'ERR_NETPROXY_UNSUPPORTED':
    case 'ERR_NETPROXY_NATIVE':
    case 'ERR_NETPROXY_NAMESPACE':
      return 501;
    case 'ERR_NETPROXY_LINK':
    case 'ERR_NETPROXY_PROTOCOL':
    case 'ERR_NETPROXY_API':
      return 500;
  }
}
