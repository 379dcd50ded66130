/**
 * A container as the engine's API describes it, as far as its ports go.
 *
 * Limit: MAX_PORTS of one container.
 */
import * as z from 'zod';

export const MAX_PORTS = 8192;

/** A port that the engine gives to a container, on the machine that it runs on. */
export interface Binding {
  readonly protocol: 'tcp' | 'udp';
  /** Of the host, as `-p` said it; '' for all. */
  readonly hostIp: string;
  readonly hostPort: number;
}

export interface Container {
  readonly id: string;
  readonly name: string;
  readonly running: boolean;
  /** Ports that are known before it starts. */
  readonly fixed: readonly Binding[];
  /** Those and the ones that the engine chose for it; while it runs. */
  readonly all: readonly Binding[];
  /** Ports that cannot be forwarded, as text: `132/sctp`. */
  readonly foreign: readonly string[];
}

const list = z
  .array(z.object({ HostIp: z.string().max(64).default(''), HostPort: z.string().max(32).default('') }))
  .nullish();
const ports = z.record(z.string(), list).nullish();
const schema = z.object({
  Id: z.string().min(1).max(256),
  Name: z.string().max(1024).default(''),
  State: z.object({ Running: z.boolean().default(false) }).nullish(),
  HostConfig: z.object({ PortBindings: ports }).nullish(),
  NetworkSettings: z.object({ Ports: ports }).nullish(),
});
type Ports = z.output<typeof ports>;

/** What `/containers/{id}/json` says; undefined when it is no container. */
export function readContainer(value: unknown): Container | undefined {
  const result = schema.safeParse(value);
  if (!result.success) return undefined;
  const { Id: id, Name, State, HostConfig, NetworkSettings } = result.data;
  const foreign = new Set<string>();
  const wanted = bindingsOf(HostConfig?.PortBindings, foreign);
  const given = bindingsOf(NetworkSettings?.Ports, foreign);
  const fixed = [...wanted.values()].flat();
  // A container's port that was asked for by number has that number: only what the engine chose is read from it.
  const chosen = [...given].flatMap(([inner, bindings]) => {
    const known = new Set((wanted.get(inner) ?? []).map(({ hostPort }) => hostPort));
    return joined(bindings.filter(({ hostPort }) => !known.has(hostPort)));
  });
  return {
    id,
    name: Name.replace(/^\//, '') || id.slice(0, 12),
    running: State?.Running ?? false,
    fixed,
    all: [...fixed, ...chosen].slice(0, MAX_PORTS),
    foreign: [...foreign],
  };
}

/** By the container's port, such as `80/tcp`; without those whose number is not known. */
function bindingsOf(given: Ports, foreign: Set<string>): Map<string, Binding[]> {
  const found = new Map<string, Binding[]>();
  let left = MAX_PORTS;
  for (const [inner, entries] of Object.entries(given ?? {})) {
    const protocol = inner.split('/')[1] ?? 'tcp';
    const bindings = (entries ?? []).flatMap(({ HostIp, HostPort }): Binding[] => {
      const hostPort = /^\d{1,5}$/.test(HostPort) ? Number(HostPort) : 0;
      if (hostPort < 1 || hostPort > 65_535 || left <= 0) return [];
      if (protocol !== 'tcp' && protocol !== 'udp') {
        foreign.add(inner);
        return [];
      }
      left--;
      return [{ protocol, hostIp: HostIp, hostPort }];
    });
    found.set(inner, bindings);
  }
  return found;
}

/** The engine tells of a port at all addresses twice, by family. */
function joined(bindings: readonly Binding[]): Binding[] {
  return bindings.flatMap((one) => {
    const other = { '0.0.0.0': '::', '::': '0.0.0.0' }[one.hostIp];
    const both = bindings.some(({ hostIp, hostPort }) => hostIp === other && hostPort === one.hostPort);
    if (!both) return [one];
    return one.hostIp === '::' ? [] : [{ ...one, hostIp: '' }];
  });
}
