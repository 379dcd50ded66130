/** Exit codes and how errors are told. docs/configuration.md lists the codes. */
import { NetproxyError, type NetproxyErrorCode } from '../core/index.js';

export const EXIT = {
  ok: 0,
  /** Anything that the others do not say. */
  failure: 1,
  /** The command line or the configuration file. */
  usage: 2,
  /** A port, socket path or interface could not be had. */
  listen: 3,
  /** This host or this build lacks something: the addon, namespaces, a kernel feature. */
  missing: 4,
  /** `run`: the command is there but cannot be executed. */
  notExecutable: 126,
  /** `run`: there is no such command. */
  notFound: 127,
  /** `run`: plus the number of the signal that ended the command. */
  signalled: 128,
} as const;

const CODES: Readonly<Record<NetproxyErrorCode, number>> = {
  ERR_NETPROXY_CONFIG: EXIT.usage,
  ERR_NETPROXY_LISTEN: EXIT.listen,
  ERR_NETPROXY_PUBLISH: EXIT.listen,
  ERR_NETPROXY_NATIVE: EXIT.missing,
  ERR_NETPROXY_NAMESPACE: EXIT.missing,
  ERR_NETPROXY_UNSUPPORTED: EXIT.missing,
  ERR_NETPROXY_LINK: EXIT.failure,
  ERR_NETPROXY_PROTOCOL: EXIT.failure,
  ERR_NETPROXY_DIAL: EXIT.failure,
  ERR_NETPROXY_STATE: EXIT.failure,
  ERR_NETPROXY_API: EXIT.failure,
};

/** The exit code of an error. */
export function exitCodeOf(error: unknown): number {
  return error instanceof NetproxyError ? CODES[error.code] : EXIT.failure;
}

/** `netproxy: what is wrong.` and, on the next line, what to do. */
export function formatError(error: unknown): string {
  if (!(error instanceof NetproxyError)) {
    return `netproxy: ${sentence(error instanceof Error ? error.message : String(error))}\n`;
  }
  const what = error.message
    .split('\n')
    .map((line) => `netproxy: ${sentence(line)}\n`)
    .join('');
  return error.remedy === undefined ? what : `${what}${sentence(capital(error.remedy))}\n`;
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function capital(text: string): string {
  // A flag or a path at the beginning stays what it is.
  return /^[a-z]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}

/** An error of the command line. */
export function usageError(message: string, remedy?: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', message, remedy === undefined ? {} : { remedy });
}

/** What --help says about exit codes, for the commands whose codes these are. */
export const EXIT_HELP = `
Exit codes: 0 ended as asked, 1 failure, 2 command line or configuration, 3 a port or socket cannot be had,
4 this host lacks something (netproxy doctor tells what).`;
