/**
 * How this host resolves names, for the gateway's DNS.
 *
 * On Linux and its like, where nsswitch.conf finds hosts by `files` and `dns` alone, addresses are relayed to the name
 * servers of resolv.conf after a look at the hosts file; other modules (resolve, mdns, sss, winbind) are only known to
 * the C library, which is asked then, as on macOS and Windows. Servers of the configuration replace all that. The files
 * are read again when they change.
 */
import { Resolver } from 'node:dns';
import { type HostIo, type HostResolver, type Logger, canonicalAddress } from '../core/index.js';
import type { DnsUpstream, HostsNames, SystemMode } from '../dns/index.js';
import type { DnsGroup, DnsTier } from './dns-group.js';
import { HostDnsUpstream } from './dns-upstream.js';
import { HELPER_CALLS, LookupHelper } from './lookup-helper.js';
import { OsResolver, type OsResolverOptions } from './resolver.js';
import {
  isFilesAndDns,
  parseHosts,
  parseNsswitch,
  parseResolvConf,
  parseServer,
  type DnsServerAddress,
} from './resolver-files.js';
import { parseServersFile } from './servers-file.js';
import { SplitDns, type GroupSource } from './split-dns.js';
import { MacosSplit, linuxSplit, type LinuxSplitPaths } from './system-split.js';
import { RacingUpstream, RoutingUpstream } from './tiered-upstream.js';
import { WatchedFile } from './watched-file.js';

export interface SystemDns {
  readonly resolver: HostResolver;
  readonly upstream: DnsUpstream;
  readonly hosts: HostsNames;
  mode(): SystemMode;
  /** Servers that were chosen for some names: nobody else is asked about these, and always they. */
  readonly chosen: SplitDns;
  /** Servers that the system has for some names, for what its resolver is not asked about. */
  readonly own: SplitDns;
  /** Name servers in the order in which they are asked. */
  servers(): readonly DnsServerAddress[];
  /** Changes when others may be asked than before. */
  settings(): number;
  close(): void;
}

export interface SystemDnsOptions {
  readonly logger: Logger;
  /** `IP`, `IP#PORT`, `tls://IP#NAME` or `https://IP/PATH#NAME`, instead of the host's own; what is neither is left out with a warning. */
  readonly servers?: readonly string[] | undefined;
  /** Servers of single domains. */
  readonly domains?: readonly DnsGroup[] | undefined;
  /** vpnkit's file of servers, instead of the host's own. */
  readonly serversFile?: string | undefined;
  /** UDP sockets that send and receive in batches, for the name servers. Default Node's. */
  readonly io?: HostIo | undefined;
  readonly platform?: NodeJS.Platform | undefined;
  /** The C library's calls, where somebody has threads of his own for them. Default: those of a process for them. */
  readonly calls?: Pick<OsResolverOptions, 'getaddrinfo' | 'getnameinfo' | 'concurrency'> | undefined;
  readonly paths?:
    (Partial<Record<'resolvConf' | 'nsswitch' | 'hosts', string>> & Partial<LinuxSplitPaths>) | undefined;
}

/** Without a name server in resolv.conf, the C library asks this one. */
const DEFAULT_SERVERS: readonly DnsServerAddress[] = [{ host: '127.0.0.1', port: 53 }];

export function systemDns(options: SystemDnsOptions): SystemDns {
  const { logger, paths } = options;
  const platform = options.platform ?? process.platform;
  const configured = configuredServers(options);
  const ownResolver = platform === 'darwin' || platform === 'win32';

  const resolvConf = new WatchedFile(
    paths?.resolvConf ?? '/etc/resolv.conf',
    (text) => (text === undefined ? [] : parseResolvConf(text)),
    logger,
  );
  // Without a line for hosts, glibc and musl both go by hosts file and DNS.
  const filesAndDns = new WatchedFile(
    paths?.nsswitch ?? '/etc/nsswitch.conf',
    (text) => isFilesAndDns(parseNsswitch(text ?? '') ?? ['files', 'dns']),
    logger,
  );
  const hosts = new WatchedFile(paths?.hosts ?? '/etc/hosts', (text) => parseHosts(text ?? ''), logger);

  const servers = (): readonly DnsServerAddress[] => {
    if (configured) return configured;
    if (platform === 'win32') return serversOfNode();
    const found = resolvConf.get();
    return found.length > 0 ? found : DEFAULT_SERVERS;
  };
  const isReplaced = configured !== undefined || options.serversFile !== undefined;
  const usesResolved = (): boolean => resolvConf.get().some(({ host }) => STUBS.has(host));
  const split = splitOf(options, isReplaced ? [] : systemSources(platform, usesResolved, paths));
  const upstream = new RoutingUpstream(
    (name) => split.own.find(name)?.upstream,
    new HostDnsUpstream({ servers, io: options.io }),
  );
  const helper = options.calls === undefined ? new LookupHelper() : undefined;
  const resolver = new OsResolver(
    options.calls ??
      (helper && {
        concurrency: HELPER_CALLS,
        getaddrinfo: (name) => helper.addresses(name),
        getnameinfo: (address) => helper.nameOf(address),
      }),
  );
  return {
    resolver,
    upstream,
    hosts: {
      addresses: (name) => hosts.get().addresses.get(name),
      names: (address) => hosts.get().names.get(canonicalAddress(address) ?? address),
    },
    mode: () => (configured || (!ownResolver && filesAndDns.get()) ? 'relay' : 'resolver'),
    servers,
    ...split,
    settings: () => {
      const chosen = split.chosen.settings();
      if (configured) return chosen;
      resolvConf.get();
      filesAndDns.get();
      return chosen + split.own.settings() + resolvConf.version + filesAndDns.version;
    },
    close: () => {
      upstream.close();
      split.chosen.close();
      split.own.close();
      resolver.close();
      helper?.close();
    },
  };
}

/** What systemd-resolved listens on. */
const STUBS: ReadonlySet<string> = new Set(['127.0.0.53', '127.0.0.54']);

function systemSources(
  platform: NodeJS.Platform,
  usesResolved: () => boolean,
  paths: SystemDnsOptions['paths'],
): readonly GroupSource[] {
  if (platform === 'darwin') return [new MacosSplit().source];
  return platform === 'win32' ? [] : [linuxSplit(usesResolved, paths)];
}

function splitOf(options: SystemDnsOptions, system: readonly GroupSource[]) {
  const { domains = [], serversFile, logger, io } = options;
  const make = (tier: DnsTier): DnsUpstream => upstreamOf(tier, io);
  const file =
    serversFile === undefined
      ? undefined
      : new WatchedFile(serversFile, (text) => readServers(text, serversFile, logger), logger);
  const chosen = new SplitDns([() => domains, ...(file === undefined ? [] : [() => file.get()])], make);
  return { chosen, own: new SplitDns(system, make) };
}

function readServers(text: string | undefined, file: string, logger: Logger): readonly DnsGroup[] {
  if (text === undefined) logger.warn("there is no file of name servers: the system's are asked", { file });
  const { groups, wrong } = parseServersFile(text ?? '', file);
  for (const line of wrong.slice(0, 5))
    logger.warn('a line of the file of name servers is not understood', { file, line });
  return groups;
}

/** Each tier has servers of its own; those of a race are asked one by one, at once. */
function upstreamOf({ servers, order }: DnsTier, io: HostIo | undefined): DnsUpstream {
  const of = (list: readonly DnsServerAddress[]): DnsUpstream =>
    new HostDnsUpstream({ servers: () => list, io });
  if (order === 'strict' || servers.length < 2) return of(servers);
  return new RacingUpstream(servers.map((server) => of([server])));
}

function configuredServers({ servers, logger }: SystemDnsOptions): readonly DnsServerAddress[] | undefined {
  if (servers === undefined || servers.length === 0) return undefined;
  return servers.flatMap((text) => {
    const server = parseServer(text);
    if (server) return [server];
    logger.warn('not a DNS server: allowed is IP, IP#PORT, tls://IP#NAME or https://IP/PATH#NAME', {
      server: text,
    });
    return [];
  });
}

/** What Node's own resolver (c-ares) read from the registry; a new one reads it anew. */
function serversOfNode(): readonly DnsServerAddress[] {
  return new Resolver().getServers().flatMap((text) => {
    const match = /^\[([^\]]+)\]:(\d+)$/.exec(text);
    return (
      parseServer(match ? `${match[1]!}#${match[2]!}` : text) ??
      parseServer(text.replace(/:(\d+)$/, '#$1')) ??
      []
    );
  });
}
