/** Why a port cannot be listened on, in words, with the holder's name where /proc tells. */
import { readFile, readdir, readlink } from 'node:fs/promises';
import { NetproxyError } from '../core/index.js';
import { errnoText } from './errno.js';

/** Most processes looked at before giving up on a name. */
const MAX_PROCESSES = 20_000;

/** Inodes of sockets that listen on (or are bound to) a port. */
async function socketInodes(protocol: 'tcp' | 'udp', port: number): Promise<Set<string>> {
  const inodes = new Set<string>();
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  for (const file of [`/proc/net/${protocol}`, `/proc/net/${protocol}6`]) {
    const text = await readFile(file, 'utf8').catch(() => '');
    for (const line of text.split('\n').slice(1)) {
      const columns = line.trim().split(/\s+/);
      const listening = protocol === 'udp' || columns[3] === '0A';
      if (listening && columns[1]?.endsWith(`:${wanted}`) === true && columns[9] !== undefined)
        inodes.add(columns[9]);
    }
  }
  return inodes;
}

/** `nginx, pid 812` of whoever holds the port; undefined when it cannot be seen. */
export async function portHolder(protocol: 'tcp' | 'udp', port: number): Promise<string | undefined> {
  const inodes = await socketInodes(protocol, port);
  if (inodes.size === 0) return undefined;
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  for (const pid of pids.slice(0, MAX_PROCESSES)) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const link = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
      if (inode === undefined || !inodes.has(inode)) continue;
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
      return `${name === '' ? 'a process' : name}, pid ${pid}`;
    }
  }
  return undefined;
}

function remedy(errno: string, port: number): string {
  switch (errno) {
    case 'EADDRINUSE':
      return 'Stop that program, or publish another host port.';
    case 'EACCES':
    case 'EPERM':
      return port > 0 && port < 1024
        ? `Ports below 1024 are privileged: use a port from 1024 up, or allow it with "sysctl net.ipv4.ip_unprivileged_port_start=${port}", give node CAP_NET_BIND_SERVICE, or run "netproxy bind-helper" as root and name it with --bind-helper.`
        : 'Run it as a user who may bind this address.';
    case 'EADDRNOTAVAIL':
      return 'Use an address of this host ("ip addr" lists them), 127.0.0.1 or 0.0.0.0.';
    default:
      return 'Look at the reason above; nothing was published.';
  }
}

/** The error for a port that could not be bound. */
export async function listenError(
  protocol: 'tcp' | 'udp',
  host: string,
  port: number,
  errno: string,
  cause: unknown,
): Promise<NetproxyError> {
  const holder = errno === 'EADDRINUSE' ? await portHolder(protocol, port).catch(() => undefined) : undefined;
  const shown = host.includes(':') ? `[${host}]` : host;
  const by = holder === undefined ? '' : ` (${holder})`;
  return new NetproxyError(
    'ERR_NETPROXY_PUBLISH',
    `cannot publish ${protocol} ${shown}:${port}: ${errnoText(errno)}${by}`,
    {
      remedy: remedy(errno, port),
      errno,
      cause,
    },
  );
}
