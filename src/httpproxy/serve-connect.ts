/** CONNECT: a tunnel for a guest. */
import type { IncomingMessage } from 'node:http';
import { formatHead } from './answer.js';
import { Refused } from './connector.js';
import { connectTarget, valuesOf } from './headers.js';
import { formatHost } from './host.js';
import { join } from './join.js';
import type { ProxyParts } from './server.js';
import type { Session } from './session.js';
import { answerChallenge, isChallenge, refusal } from './tunnel.js';

/** Resolves with true when the guest's connection takes another request. Rejects with Problem when nothing was answered. */
export async function serveConnect(
  parts: ProxyParts,
  session: Session,
  request: IncomingMessage,
): Promise<boolean> {
  const { connector, planner, deps, counters } = parts;
  const { stream, client } = session;
  const { host, port } = connectTarget(request.url ?? '');
  const target = `${formatHost(host)}:${port}`;
  const plan = await planner.plan(client, { scheme: 'https', host, port });
  const [authorization] = valuesOf(request.rawHeaders, 'proxy-authorization');
  try {
    const outside = await connector.withTunnel(plan.upstreams, (upstream) =>
      connector.forTunnel(
        upstream,
        plan.destination,
        authorization,
        session.takePinned(`tunnel ${upstream.name}`),
      ),
    );
    deps.logger.debug(`HTTP proxy: CONNECT ${target}: 200`, { guest: client.name });
    if (stream.destroyed) {
      outside.destroy();
      return false;
    }
    session.leave();
    stream.write(formatHead(200, 'Connection established', []), 'latin1');
    await join(stream, outside, (guest, far) => deps.splice(guest, far, target));
    return false;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    counters.refusedTunnels++;
    const challenge = isChallenge(error) && error.upstream.credentials === undefined;
    if (!challenge) {
      error.stream.destroy();
      throw refusal(error, target);
    }
    const again = answerChallenge(error, stream);
    if (again) session.pin(`tunnel ${error.upstream.name}`, error.stream);
    else error.stream.destroy();
    return again;
  }
}
