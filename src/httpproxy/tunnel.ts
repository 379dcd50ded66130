/** CONNECT and Upgrade: how a guest's connection becomes a tunnel, and what it is told when it does not. */
import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { formatHead } from './answer.js';
import type { Refused } from './connector.js';
import { endToEnd, via } from './headers.js';
import { Problem } from './problem.js';

/** Whether the guest may see it: a challenge that it can answer, on a connection that goes on. */
export function isChallenge({ answer }: Refused): boolean {
  return answer.head.status === 407;
}

/** Passes the upstream's challenge on. True: the guest may ask again on its connection. */
export function answerChallenge({ answer }: Refused, stream: Duplex): boolean {
  const { head, rest, reusable } = answer;
  const fields = endToEnd(head.headers, ['content-length', 'via', 'proxy-authenticate']);
  // It is between the guest and the upstream, as we have no user of our own.
  for (let i = 0; i + 1 < head.headers.length; i += 2)
    if (head.headers[i]!.toLowerCase() === 'proxy-authenticate')
      fields.push('Proxy-Authenticate', head.headers[i + 1]!);
  fields.push('Via', via(head.headers, '1.1'), 'Content-Length', String(rest.length));
  fields.push('Connection', reusable ? 'keep-alive' : 'close');
  stream.write(formatHead(head.status, head.reason, fields), 'latin1');
  stream.write(rest);
  if (!reusable) stream.end();
  return reusable;
}

/** An upstream's refusal as the guest is told it. */
export function refusal({ answer, upstream }: Refused, target: string): Problem {
  const { status, reason } = answer.head;
  const told = status === 403 || status === 503 || status === 504 ? status : 502;
  return new Problem({
    status: told,
    error: status === 403 ? 'http_request_denied' : 'http_response_incomplete',
    message: `${upstream.name} does not open a tunnel to ${target}: ${status} ${reason}`.trimEnd(),
    check:
      status === 407
        ? 'Check user and password in the settings of the proxy.'
        : 'Ask whoever runs it; many allow CONNECT to port 443 only.',
    nextHop: upstream.name,
    receivedStatus: status,
  });
}

/** The head of a 101 for the guest. */
export function switchingHead(answer: IncomingMessage): string {
  const fields = endToEnd(answer.rawHeaders, ['via']);
  const protocol = answer.headers.upgrade ?? '';
  fields.push(
    'Connection',
    'Upgrade',
    'Upgrade',
    protocol,
    'Via',
    via(answer.rawHeaders, answer.httpVersion),
  );
  return formatHead(101, answer.statusMessage, fields);
}

/** A response on a connection that node:http has let go of; it ends with it. */
export function lastResponse(request: IncomingMessage, stream: Duplex): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  (response as unknown as { assignSocket(stream: Duplex): void }).assignSocket(stream);
  response.once('finish', () => {
    stream.end();
    stream.resume();
  });
  // Normally the server's own doing.
  stream.on('drain', () => response.emit('drain'));
  stream.once('close', () => response.emit('close'));
  return response;
}
