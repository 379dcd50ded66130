/** Where the HTTP proxy's settings come from: the configuration, else vpnkit's file, else the environment. */
import { type Logger, NetproxyError } from '../core/index.js';
import { NO_SETTINGS, type ProxySettings, environmentSettings, vpnkitSettings } from '../httpproxy/index.js';
import { WatchedFile } from './watched-file.js';

export interface ProxySources {
  /** What the configuration says; it goes before all others. */
  readonly fixed: ProxySettings | undefined;
  /** http_proxy.json of vpnkit, read again when it changes. */
  readonly file: string | undefined;
  /** Undefined: not looked at. */
  readonly environment: Readonly<Record<string, string | undefined>> | undefined;
}

/** The settings of the moment, not older than half a second. */
export function proxySettings(
  { fixed, file, environment }: ProxySources,
  logger: Logger,
  now?: () => number,
): () => ProxySettings {
  if (fixed !== undefined) return () => fixed;
  if (file !== undefined) return settingsFile(file, logger, now);
  const found =
    environment === undefined
      ? undefined
      : environmentSettings(environment, (message) => {
          logger.warn(message);
        });
  const settings = found ?? NO_SETTINGS;
  return () => settings;
}

/** What the file says; what it said before while it makes no sense; nothing while there is none. */
function settingsFile(path: string, logger: Logger, now: (() => number) | undefined): () => ProxySettings {
  let last = NO_SETTINGS;
  const parse = (text: string | undefined): ProxySettings => {
    try {
      last = text === undefined ? NO_SETTINGS : vpnkitSettings(text, path);
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
