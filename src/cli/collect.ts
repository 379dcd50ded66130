/** What the flags of one command say, gathered in the order in which they stand. */
import { type Config, type LinkConfig, checkFlag, loadConfig, mergeConfig } from '../config/index.js';
import { usageError } from './exit.js';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Schema<T> = Parameters<typeof checkFlag<T>>[1];

export class Collected {
  /** Keys that stand alone. */
  readonly config: Mutable<Config> = { version: 1 };
  readonly links: LinkConfig[] = [];
  readonly publish: string[] = [];
  readonly sshForwards: string[] = [];
  /** --allow and --deny, one list. */
  readonly rules: string[] = [];
  readonly dnsServers: string[] = [];
  readonly dns: Mutable<NonNullable<Config['dns']>> = {};
  /** Servers of single domains. */
  readonly dnsDomains = new Map<string, string[]>();
  readonly switch: Mutable<NonNullable<Config['switch']>> = {};
  readonly httpProxy: Mutable<NonNullable<Config['httpProxy']>> = {};
  readonly docker: Partial<Mutable<NonNullable<Config['docker']>>> = {};
  readonly log: Mutable<NonNullable<Config['log']>> = {};
  /** TAPs, whose namespace is not known before all flags were read. */
  readonly taps: string[] = [];
  readonly fds: number[] = [];
  netns: string | undefined;
  framing: 'qemu' | 'vpnkit' | 'connect' | undefined;
  defaultPolicy: 'allow' | 'deny' | 'ask' | undefined;
  file: string | undefined;

  /** The value of a flag, checked; throws ERR_NETPROXY_CONFIG naming the flag. */
  check<T>(flag: string, schema: Schema<T>, value: unknown): T {
    return checkFlag(flag, schema, value);
  }

  /** The configuration: defaults, under the file, under the flags. Throws ERR_NETPROXY_CONFIG. */
  settle(): Config {
    const file = this.file === undefined ? ({ version: 1 } as const) : loadConfig(this.file);
    return mergeConfig(file, this.fromFlags());
  }

  private fromFlags(): Config {
    const links = [...this.links, ...this.tapLinks(), ...this.fdLinks()];
    const { rules, defaultPolicy, publish, sshForwards, log } = this;
    const dns = this.allDns();
    return {
      ...this.config,
      ...(links.length === 0 ? {} : { links }),
      ...(publish.length === 0 ? {} : { publish }),
      ...(sshForwards.length === 0 ? {} : { sshForwards }),
      ...(Object.keys(dns).length === 0 ? {} : { dns }),
      ...(Object.keys(this.switch).length === 0 ? {} : { switch: this.switch }),
      ...(Object.keys(this.httpProxy).length === 0 ? {} : { httpProxy: this.httpProxy }),
      // Half of it may stand in the file; checkServe sees to the rest.
      ...(Object.keys(this.docker).length === 0 ? {} : { docker: this.docker as Config['docker'] }),
      ...(Object.keys(log).length === 0 ? {} : { log }),
      ...(rules.length === 0 && defaultPolicy === undefined
        ? {}
        : {
            policy: {
              ...(rules.length === 0 ? {} : { rules }),
              ...(defaultPolicy === undefined ? {} : { default: defaultPolicy }),
            },
          }),
    };
  }

  private allDns(): NonNullable<Config['dns']> {
    const { dns, dnsServers, dnsDomains } = this;
    const domains = [...dnsDomains].map(([name, servers]) => ({ names: [name], servers }));
    return {
      ...dns,
      ...(dnsServers.length === 0 ? {} : { servers: dnsServers }),
      ...(domains.length === 0 ? {} : { domains }),
    };
  }

  private tapLinks(): LinkConfig[] {
    const { netns, taps } = this;
    if (netns !== undefined && taps.length === 0) {
      throw usageError(
        '--netns says where --tap opens its interface, and there is no --tap',
        'Add --tap NAME.',
      );
    }
    return taps.map((name) => ({ kind: 'tap', interface: name, ...(netns === undefined ? {} : { netns }) }));
  }

  private fdLinks(): LinkConfig[] {
    const { framing, fds } = this;
    if ((framing === undefined) !== (fds.length === 0)) {
      throw usageError('--fd and --framing belong together', 'For example --fd 3 --framing qemu.');
    }
    return framing === undefined ? [] : fds.map((fd) => ({ kind: 'fd', fd, framing }));
  }
}
