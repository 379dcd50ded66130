/** Where the HTTP proxy's settings come from. The first source that says something decides. */
import { type Logger, type Millis, NetproxyError } from '../core/index.js';
import { NO_SETTINGS, type ProxySettings, environmentSettings, vpnkitSettings } from '../httpproxy/index.js';
import type { SystemProxySettings } from './system-proxy-settings.js';
import { WatchedFile } from './watched-file.js';

/** In the order in which they are asked: what was set while it runs, the configuration, vpnkit's file, the environment, the system. */
export const PROXY_SOURCES = ['api', 'config', 'file', 'environment', 'system'] as const;
export type ProxySourceName = (typeof PROXY_SOURCES)[number];

export interface ProxySources {
  /** What the configuration says; it goes before all others. */
  readonly fixed: ProxySettings | undefined;
  /** http_proxy.json of vpnkit, read again when it changes. */
  readonly file: string | undefined;
  /** Undefined: not looked at. */
  readonly environment: Readonly<Record<string, string | undefined>> | undefined;
  /** Undefined: not asked. */
  readonly system: SystemProxySettings | undefined;
}

export class ProxySettingsStack {
  /** What was set while it runs: before everything else. */
  live: ProxySettings | undefined;
  private readonly sources: readonly {
    readonly name: ProxySourceName;
    readonly read: () => ProxySettings | undefined;
  }[];

  constructor({ fixed, file, environment, system }: ProxySources, logger: Logger, now?: () => Millis) {
    const ofFile = file === undefined ? undefined : settingsFile(file, logger, now);
    const ofEnvironment =
      environment === undefined
        ? undefined
        : environmentSettings(environment, (message) => {
            logger.warn(message);
          });
    const ofSystem = system?.settings();
    const readers = {
      api: () => this.live,
      config: () => fixed,
      file: () => ofFile?.(),
      environment: () => ofEnvironment,
      system: () => ofSystem,
    };
    this.sources = PROXY_SOURCES.map((name) => ({ name, read: readers[name] }));
  }

  /** The settings of the moment; a file's are not older than half a second. Asked for each datagram: nothing is allocated. */
  current(): ProxySettings {
    const { sources } = this;
    for (let i = 0; i < sources.length; i++) {
      const settings = sources[i]!.read();
      if (settings !== undefined) return settings;
    }
    return NO_SETTINGS;
  }

  /** All sources that say something: the first one decides. */
  all(): readonly { readonly name: ProxySourceName; readonly settings: ProxySettings }[] {
    return this.sources.flatMap(({ name, read }) => {
      const settings = read();
      return settings === undefined ? [] : [{ name, settings }];
    });
  }
}

/** What the file says; what it said before while it makes no sense; nothing while there is none. */
function settingsFile(path: string, logger: Logger, now: (() => Millis) | undefined): () => ProxySettings {
  let last = NO_SETTINGS;
  const parse = (text: string | undefined): ProxySettings => {
    try {
      last = text === undefined ? { ...NO_SETTINGS, source: path } : vpnkitSettings(text, path);
      logger.info(`HTTP proxy: settings of ${path} read`);
    } catch (error) {
      if (!(error instanceof NetproxyError)) throw error;
      logger.warn(`${error.message}; the settings before it stay`);
    }
    return last;
  };
  const watched = new WatchedFile(path, parse, logger, now);
  return () => watched.get();
}
