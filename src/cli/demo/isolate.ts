/**
 * As root the demo moves into a network namespace of its own, without any route: netproxy and its servers have test
 * addresses on the loopback there, and nothing that anybody sends can reach another machine.
 */
import { spawn, spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import { EXIT } from '../exit.js';
import { type HostFacts, hostFacts } from '../host-facts.js';

/** The servers' address inside (RFC 2544). */
export const SERVER_ADDRESS = '198.18.0.1';
/** Set inside. */
export const INSIDE = 'NETPROXY_DEMO_INSIDE';

const SET_UP = `ip link set lo up && ip addr add ${SERVER_ADDRESS}/32 dev lo && exec "$@"`;

/** Whether the demo can move: root, and util-linux's unshare and iproute2 (or busybox's ip) may be used. */
export function canIsolate(facts: HostFacts = hostFacts): boolean {
  if (facts.platform !== 'linux' || !facts.isRoot) return false;
  if (facts.which('unshare') === undefined || facts.which('ip') === undefined) return false;
  return (
    spawnSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up'], { stdio: 'ignore', timeout: 10_000 })
      .status === 0
  );
}

/** Runs the same demo inside; returns its exit code. */
export function runIsolated(args: readonly string[]): Promise<number> {
  const command = [process.execPath, ...process.execArgv, process.argv[1] ?? '', 'demo', ...args];
  const child = spawn('unshare', ['--net', '--', '/bin/sh', '-c', SET_UP, 'sh', ...command], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: '1' },
  });
  // The terminal sends its signals to both; one that is sent to us alone is passed on.
  const pass = (signal: NodeJS.Signals): void => {
    child.kill(signal);
  };
  const stay = (): void => undefined;
  process.on('SIGTERM', pass).on('SIGINT', stay);
  return new Promise((resolve) => {
    child.once('error', () => {
      resolve(EXIT.missing);
    });
    child.once('exit', (code, signal) => {
      process.off('SIGTERM', pass).off('SIGINT', stay);
      resolve(code ?? EXIT.signalled + (signal === null ? 0 : constants.signals[signal]));
    });
  });
}
