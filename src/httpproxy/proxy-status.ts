/** The Proxy-Status field (RFC 9209) of answers that netproxy makes itself. */
import type { ProblemDetails } from './problem.js';

/** Longest `details` text, characters. */
const MAX_DETAILS = 200;

/** `netproxy; error=connection_refused; next-hop="…"; details="…"`. */
export function formatProxyStatus({ error, nextHop, receivedStatus, message }: ProblemDetails): string {
  const parts = ['netproxy', `error=${error}`];
  if (nextHop !== undefined) parts.push(`next-hop=${quote(nextHop)}`);
  if (receivedStatus !== undefined) parts.push(`received-status=${receivedStatus}`);
  parts.push(`details=${quote(message.slice(0, MAX_DETAILS))}`);
  return parts.join('; ');
}

/** A String of RFC 8941 section 3.3.3: printable ASCII. */
function quote(text: string): string {
  return `"${text.replaceAll(/[^\x20-\x7e]/g, '?').replaceAll(/["\\]/g, '\\$&')}"`;
}
