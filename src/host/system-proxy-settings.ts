/**
 * The proxies that the user of this host has set in the operating system. Its tool is asked when a request comes, at most once a
 * second, and the request waits for it: so no request goes by settings that are older than that, and an idle netproxy asks nothing.
 */
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { type Logger, type Millis, NetproxyError } from '../core/index.js';
import {
  NO_SETTINGS,
  NoProxy,
  type ProxySettings,
  type Route,
  type RouteFinder,
  type RouteQuery,
  type Upstream,
  findRoute,
  parseUpstream,
} from '../httpproxy/index.js';
import type { Pac } from './pac.js';
import {
  type SystemProxy,
  NO_SYSTEM_PROXY,
  parseGsettingsProxy,
  parseRegistryProxy,
  parseScutilProxy,
} from './system-proxy.js';

const FRESH: Millis = 1000;
/** How long the tool may take, and when it is tried again after it failed, ms. */
const PATIENCE: Millis = 3000;
const RETRY: Millis = 30_000;

/** How the system is asked. */
export interface SystemProxySource {
  /** For people: what says so. */
  readonly name: string;
  /** What the system's tool says; undefined: it failed. Must not reject. */
  readonly run: () => Promise<string | undefined>;
  readonly parse: (text: string) => SystemProxy;
}

/** How this system is asked; undefined: it has nothing to ask. */
export function systemProxySource(
  platform: NodeJS.Platform = process.platform,
  env: Readonly<Record<string, string | undefined>> = process.env,
): SystemProxySource | undefined {
  switch (platform) {
    case 'darwin':
      return {
        name: 'the system (scutil --proxy)',
        run: () => run('/usr/sbin/scutil', ['--proxy']),
        parse: parseScutilProxy,
      };
    case 'win32': {
      const key = 'HKCU\\Software\\Microsoft\\Windows\\CurrentVersion\\Internet Settings';
      const tool = path.join(env['SystemRoot'] ?? 'C:\\Windows', 'System32', 'reg.exe');
      return {
        name: 'the system (registry)',
        run: () => run(tool, ['query', key]),
        parse: parseRegistryProxy,
      };
    }
    case 'linux': {
      // Without a session there are no settings of a desktop.
      const tool =
        env['DBUS_SESSION_BUS_ADDRESS'] === undefined ? undefined : inPath('gsettings', env['PATH']);
      if (tool === undefined) return undefined;
      return {
        name: 'the system (gsettings)',
        run: () => run(tool, ['list-recursively', 'org.gnome.system.proxy']),
        parse: parseGsettingsProxy,
      };
    }
    default:
      return undefined;
  }
}

export class SystemProxySettings implements RouteFinder {
  readonly name: string;
  private readonly source: SystemProxySource;
  private readonly makePac: (where: string) => Pac;
  private readonly logger: Logger;
  private readonly now: () => Millis;
  private text: string | undefined;
  private said: ProxySettings;
  private pac: Pac | undefined;
  private asking: Promise<void> | undefined;
  private nextAsk: Millis = Number.NEGATIVE_INFINITY;

  constructor(source: SystemProxySource, makePac: (where: string) => Pac, logger: Logger, now: () => Millis) {
    this.source = source;
    this.name = source.name;
    this.makePac = makePac;
    this.logger = logger;
    this.now = now;
    this.said = { ...NO_SETTINGS, source: this.name };
  }

  /** By what was said last; whoever asks has it asked again. */
  get active(): boolean {
    void this.refresh();
    return this.pac !== undefined || this.said.http.length > 0 || this.said.https.length > 0;
  }

  /** What it said last, as it is shown. */
  get last(): ProxySettings {
    return this.said;
  }

  /** Settings that ask the system for each route. */
  settings(): ProxySettings {
    return { ...NO_SETTINGS, source: this.name, finder: this };
  }

  async find(query: RouteQuery): Promise<Route> {
    await this.refresh();
    return findRoute(this.said, query);
  }

  /** Resolves when what is known is not older than a second. */
  async refresh(): Promise<void> {
    if (this.asking === undefined && this.now() >= this.nextAsk) this.asking = this.ask();
    await this.asking;
  }

  close(): void {
    this.pac?.close();
  }

  private async ask(): Promise<void> {
    const text = await this.source.run();
    this.asking = undefined;
    this.nextAsk = this.now() + (text === undefined ? RETRY : FRESH);
    if (text === undefined) this.logger.warn(`${this.name} does not tell its proxies`, { every: 600_000 });
    else if (text !== this.text) {
      this.text = text;
      this.take(this.source.parse(text));
    }
  }

  private take({ http, https, noProxy, pac: where }: SystemProxy = NO_SYSTEM_PROXY): void {
    const old = this.pac;
    const pac = where === undefined ? undefined : this.pacOf(where);
    if (old !== pac) old?.close();
    this.pac = pac;
    this.said = {
      ...NO_SETTINGS,
      http: this.upstreams(http),
      https: this.upstreams(https),
      // The exceptions are for the proxies of the lists: the file decides for itself.
      noProxy: new NoProxy(pac === undefined ? noProxy : []),
      source: this.name,
      finder: pac,
    };
    this.logger.info(`HTTP proxy: settings of ${this.name} read`);
  }

  private pacOf(where: string): Pac | undefined {
    try {
      return this.makePac(where);
    } catch (error) {
      this.complain(error);
      return undefined;
    }
  }

  private upstreams(texts: readonly string[]): readonly Upstream[] {
    return texts.flatMap((text) => {
      try {
        return [parseUpstream(text)];
      } catch (error) {
        this.complain(error);
        return [];
      }
    });
  }

  private complain(error: unknown): void {
    if (!(error instanceof NetproxyError)) throw error;
    this.logger.warn(`${this.name}: ${error.message}`);
  }
}

function run(file: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    const options = { timeout: PATIENCE, maxBuffer: 1 << 20, windowsHide: true };
    execFile(file, [...args], options, (error, text) => resolve(error === null ? text : undefined));
  });
}

function inPath(name: string, folders: string | undefined): string | undefined {
  return (folders ?? '')
    .split(':')
    .filter((folder) => folder !== '')
    .map((folder) => path.join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
