/**
 * A small world behind a lab's host namespace: two routers and a server, each a namespace of its own.
 *
 *     host 10.77.1.1 — 10.77.1.2 r1 10.77.2.1 — 10.77.2.2 r2 10.77.3.1 — 10.77.3.2 server
 *
 * The last link has an MTU of 1280. Everybody has routes to these networks and to nothing else.
 */
import { exec } from '../support/process.js';
import type { Lab } from './lab.js';

export const ROUTERS = ['10.77.1.2', '10.77.2.2'] as const;
export const FAR = '10.77.3.2';
/** Nobody has it: the last router says "host unreachable" when nobody answers its ARP. */
export const FAR_NOBODY = '10.77.3.99';
/** The first router has no route there: "net unreachable". */
export const FAR_NO_ROUTE = '10.77.99.1';
export const FAR_MTU = 1280;

/** Makes it; the result is the server's namespace. It goes with the lab. */
export async function makeWorld(lab: Lab): Promise<string> {
  const chain = [lab.host];
  for (const suffix of ['r1', 'r2', 's1']) chain.push(await lab.namespace(suffix));
  const batches = chain.map((): string[] => []);
  for (let n = 1; n < chain.length; n++) {
    const [left, right] = [chain[n - 1]!, chain[n]!];
    const mtu = n === 3 ? FAR_MTU : 1500;
    const pair = ['link', 'add', `w${n}a`, 'mtu', `${mtu}`, 'netns', left, 'type', 'veth', 'peer', 'name'];
    await exec(['ip', ...pair, `w${n}b`, 'mtu', `${mtu}`, 'netns', right], { check: true });
    batches[n - 1]!.push(`addr add 10.77.${n}.1/24 dev w${n}a`, `link set w${n}a up`);
    batches[n]!.push(`addr add 10.77.${n}.2/24 dev w${n}b`, `link set w${n}b up`);
  }
  const far = (from: number, to: number): string =>
    `route add 10.77.${to}.0/24 via ${to > from ? `10.77.${from + 1}.2` : `10.77.${from}.1`}`;
  batches[0]!.push(far(0, 2), far(0, 3), 'route add 10.77.99.0/24 via 10.77.1.2');
  batches[1]!.push(far(1, 3));
  batches[2]!.push(far(2, 1));
  batches[3]!.push(far(3, 1), far(3, 2));
  for (const [n, batch] of batches.entries())
    await exec(['ip', '-n', chain[n]!, '-batch', '-'], { input: `${batch.join('\n')}\n`, check: true });
  return chain[3]!;
}
