/** Why a request was not served: the status, the words of RFC 9209, and a page that says who said what and what to check. */
import { formatProxyStatus } from './proxy-status.js';

export interface ProblemDetails {
  readonly status: number;
  /** Error type of RFC 9209 section 2.3. */
  readonly error: string;
  /** What happened, one sentence. */
  readonly message: string;
  /** What to do or check, one sentence. */
  readonly check: string;
  /** `http://proxy.corp:3128`, or the address that was dialled. */
  readonly nextHop?: string | undefined;
  /** What the upstream answered. */
  readonly receivedStatus?: number | undefined;
  /** The rule of the policy that decided. */
  readonly rule?: string | undefined;
  /** The number of that decision in the audit log. */
  readonly decision?: number | undefined;
  readonly errno?: string | undefined;
}

export class Problem extends Error {
  readonly details: ProblemDetails;

  constructor(details: ProblemDetails) {
    super(details.message);
    this.details = details;
  }

  get status(): number {
    return this.details.status;
  }
}

/** What an upstream said about the destination: no other one is asked, and it is not to blame. */
export class Answered extends Problem {}

/** An upstream does not want the credentials of the settings. */
export class WrongCredentials extends Problem {
  constructor(nextHop: string) {
    super({
      status: 502,
      error: 'http_request_denied',
      message: `${nextHop} wants other credentials than those of the settings`,
      check: 'Check user and password in the settings of the proxy.',
      nextHop,
      receivedStatus: 407,
    });
  }
}

/** A request that cannot be understood, or must not be. */
export function badRequest(message: string, status = 400): Problem {
  return new Problem({
    status,
    error: 'http_request_error',
    message,
    check: 'Check the program that sent this request.',
  });
}

/** Any error as a problem of going on to `nextHop`. */
export function problemOf(error: unknown, nextHop: string): Problem {
  return error instanceof Problem ? error : new Problem(detailsOf(error, nextHop));
}

export function detailsOf(error: unknown, nextHop: string): ProblemDetails {
  const errno = errnoOf(error);
  const said = error instanceof Error ? error.message : String(error);
  const [status, kind, what, check] = meaningOf(errno);
  return { status, error: kind, message: `${nextHop}: ${what ?? said}`, check, nextHop, errno };
}

/** The errno of a failure, where there is one. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof Problem) return error.details.errno;
  const { errno, code } = error as { errno?: unknown; code?: unknown };
  if (typeof errno === 'string') return errno;
  return typeof code === 'string' ? code : undefined;
}

type Meaning = readonly [status: number, error: string, what: string | undefined, check: string];

function meaningOf(errno: string | undefined): Meaning {
  switch (errno) {
    case 'ECONNREFUSED':
      return [
        502,
        'connection_refused',
        'connection refused',
        'Check that it runs and listens on that port.',
      ];
    case 'ETIMEDOUT':
      return [
        504,
        'connection_timeout',
        'no answer in time',
        'Check that it runs and that no firewall is between.',
      ];
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EHOSTDOWN':
    case 'ENETDOWN':
      return [502, 'destination_ip_unroutable', 'no way there', "Check the host's network and VPN."];
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return [
        502,
        'dns_error',
        'the name has no address',
        'Check the name, and the name servers of the host.',
      ];
    case 'EMFILE':
    case 'ENFILE':
    case 'ENOBUFS':
    case 'ENOMEM':
      return [
        503,
        'proxy_internal_response',
        'the host has no connections left',
        'Try again; check its limits.',
      ];
    case 'EACCES':
      return [403, 'connection_refused', undefined, 'Ask whoever runs it, or check the credentials.'];
    default:
      break;
  }
  if (errno !== undefined && /CERT|SELF_SIGNED|UNABLE_TO_|ALTNAME/.test(errno))
    return [
      502,
      'tls_certificate_error',
      undefined,
      "Name the proxy's certificate authority with httpProxy.caFile.",
    ];
  if (errno?.startsWith('ERR_SSL') === true || errno === 'EPROTO')
    return [502, 'tls_protocol_error', undefined, 'Check that it speaks TLS on that port.'];
  if (errno?.startsWith('HPE_') === true)
    return [502, 'http_protocol_error', undefined, 'Its answer is not HTTP, or is ambiguous.'];
  return [502, 'connection_terminated', undefined, 'Check what it logged.'];
}

export interface Page {
  readonly status: number;
  /** Name and value in turn. */
  readonly headers: readonly string[];
  readonly body: string;
}

/** The page of a problem: text, or JSON where the client asks for it (its Accept field). */
export function pageOf({ details }: Problem, accept: string | undefined): Page {
  const json = accept !== undefined && /\bapplication\/(?:[\w.+-]+\+)?json\b/i.test(accept);
  const body = json ? jsonOf(details) : textOf(details);
  return {
    status: details.status,
    headers: [
      'Content-Type',
      json ? 'application/json' : 'text/plain; charset=utf-8',
      'Content-Length',
      String(Buffer.byteLength(body)),
      'Cache-Control',
      'no-store',
      'Proxy-Status',
      formatProxyStatus(details),
    ],
    body,
  };
}

function textOf({ status, message, check, rule, decision, nextHop, receivedStatus }: ProblemDetails): string {
  const lines = [
    `netproxy: ${status}: ${message}`,
    ...(rule === undefined ? [] : [`rule: ${rule}`]),
    ...(decision === undefined ? [] : [`decision: ${decision}`]),
    ...(nextHop === undefined ? [] : [`next hop: ${nextHop}`]),
    ...(receivedStatus === undefined ? [] : [`its answer: ${receivedStatus}`]),
    check,
  ];
  return `${lines.join('\n')}\n`;
}

function jsonOf({
  status,
  error,
  message,
  check,
  rule,
  decision,
  nextHop,
  receivedStatus,
  errno,
}: ProblemDetails): string {
  return `${JSON.stringify({ status, error, message, rule, decision, nextHop, receivedStatus, errno, check })}\n`;
}
