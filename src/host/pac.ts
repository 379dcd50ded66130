/**
 * A proxy auto-config file in use: where it is read, again and again, and the routes that it tells. Nothing is read before the first
 * request asks. A file is looked at for each answer, at most twice a second; a URL is fetched again after `refresh`, behind a
 * request, and what it said before holds as long as it cannot be had.
 */
import { fileURLToPath } from 'node:url';
import { type Logger, type Millis, NetproxyError } from '../core/index.js';
import {
  type PacFailure,
  PacRoutes,
  type ProxySettings,
  type Route,
  type RouteFinder,
  type RouteQuery,
} from '../httpproxy/index.js';
import { MAX_TEXT } from './fetch-text.js';
import { PacEngine, type PacEngineDeps, PacError } from './pac-engine.js';
import { WatchedFile } from './watched-file.js';

/** How long a fetched file is used without asking for it again, ms. */
export const DEFAULT_REFRESH: Millis = 600_000;
/** After a failure it is asked for again so much later, then twice as late, at most after `refresh`. */
const FIRST_RETRY: Millis = 5000;

export interface PacOptions {
  /** http:, https:, file: and data: URLs, or a path. */
  readonly where: string;
  readonly failure: PacFailure;
  readonly refresh?: Millis | undefined;
}

export interface PacParts extends Omit<PacEngineDeps, 'alert'> {
  readonly logger: Logger;
  readonly now: () => Millis;
  /** The text of an http or https URL. */
  readonly fetch: (url: string) => Promise<string>;
}

/** How a file does, for people and programs. */
export interface PacStatus {
  /** Without user and password, and of data: the beginning only. */
  readonly where: string;
  readonly state: 'not read' | 'works' | 'fails';
  readonly trouble?: string | undefined;
  /** Answers that were looked for, that were kept, and that could not be had; threads that were ended. */
  readonly asked: number;
  readonly kept: number;
  readonly failed: number;
  readonly ended: number;
}

/** The file in words that hold no secret. */
export function pacName(where: string): string {
  if (/^data:/i.test(where)) return `${where.slice(0, 40)}…`;
  return where.replace(/^([a-z]+:\/\/)[^/@]*@/i, '$1…@').replace(/\?.*$/, '?…');
}

/** Throws ERR_NETPROXY_CONFIG for what is no place of a file. */
export function checkPac(where: string): void {
  if (/^(https?|file|data):/i.test(where)) {
    if (/^data:/i.test(where) ? where.includes(',') : URL.canParse(where)) return;
  } else if (where !== '' && !/^[a-z][a-z0-9+.-]+:/i.test(where)) return;
  throw new NetproxyError(
    'ERR_NETPROXY_CONFIG',
    `"${pacName(where).slice(0, 100)}" is no proxy auto-config file`,
    {
      remedy: 'Allowed: a path, or a URL with http, https, file or data.',
    },
  );
}

export class Pac implements RouteFinder {
  readonly active = true;
  readonly name: string;
  private readonly options: PacOptions;
  private readonly parts: PacParts;
  private readonly routes: PacRoutes;
  private readonly file: WatchedFile<string | undefined> | undefined;
  private engine: PacEngine | undefined;
  private text: string | undefined;
  /** Why the file cannot be had; undefined: it can. */
  private trouble: string | undefined;
  private endedBefore = 0;
  private reading: Promise<void> | undefined;
  private nextRead: Millis = Number.NEGATIVE_INFINITY;
  private retry: Millis = FIRST_RETRY;
  private closed = false;

  /** Throws ERR_NETPROXY_CONFIG. */
  constructor(options: PacOptions, parts: PacParts) {
    checkPac(options.where);
    this.options = options;
    this.parts = parts;
    this.name = pacName(options.where);
    this.routes = new PacRoutes(this.name, options.failure, {
      now: parts.now,
      evaluate: (url, host) => this.evaluate(url, host),
      complain: (message) => parts.logger.warn(message, { every: 10_000 }),
    });
    const path = pathOf(options.where);
    if (path !== undefined)
      this.file = new WatchedFile(
        path,
        (text) => text,
        parts.logger,
        () => parts.now(),
      );
  }

  get status(): PacStatus {
    const { engine, routes, trouble } = this;
    const state = trouble !== undefined ? 'fails' : engine === undefined ? 'not read' : 'works';
    return {
      where: this.name,
      state,
      ...(trouble === undefined ? {} : { trouble }),
      ...routes.counters,
      ended: this.endedBefore + (engine?.ended ?? 0),
    };
  }

  async find(query: RouteQuery, settings: ProxySettings): Promise<Route> {
    await this.read();
    return this.routes.find(query, settings[query.scheme]);
  }

  close(): void {
    this.closed = true;
    this.engine?.close();
  }

  private async evaluate(url: string, host: string): Promise<string> {
    if (this.engine === undefined) throw new Error(this.trouble ?? 'it was not read');
    try {
      const text = await this.engine.find(url, host);
      this.trouble = undefined;
      return text;
    } catch (error) {
      // One question too many says nothing about the file.
      if (!(error instanceof PacError && error.kind === 'busy')) this.trouble = (error as Error).message;
      throw error;
    }
  }

  /** Resolves when there is something to ask, or it is known that there is nothing. */
  private async read(): Promise<void> {
    const { where } = this.options;
    if (this.file !== undefined) {
      const text = this.file.get();
      if (text === undefined) this.lost(new Error('there is no such file, or it cannot be read'));
      else this.take(text);
      return;
    }
    if (/^data:/i.test(where)) {
      this.takeData(where);
      return;
    }
    if (this.reading === undefined && this.parts.now() >= this.nextRead) this.reading = this.fetch(where);
    if (this.engine === undefined) await this.reading;
  }

  private async fetch(where: string): Promise<void> {
    const refresh = this.options.refresh ?? DEFAULT_REFRESH;
    try {
      const text = await this.parts.fetch(where);
      this.retry = FIRST_RETRY;
      this.nextRead = this.parts.now() + refresh;
      this.take(text);
    } catch (error) {
      this.nextRead = this.parts.now() + Math.min(this.retry, refresh);
      this.retry *= 2;
      this.lost(error as Error);
    } finally {
      this.reading = undefined;
    }
  }

  private takeData(where: string): void {
    if (this.engine !== undefined || this.trouble !== undefined) return;
    const comma = where.indexOf(',');
    const coded = where.slice(comma + 1);
    try {
      const base64 = /;\s*base64$/i.test(where.slice(0, comma));
      this.take(base64 ? Buffer.from(coded, 'base64').toString('utf8') : decodeURIComponent(coded));
    } catch (error) {
      this.lost(error as Error);
    }
  }

  private take(text: string): void {
    if (text === this.text || this.closed) return;
    if (text.length > MAX_TEXT) {
      this.lost(new Error(`it is larger than ${MAX_TEXT} bytes`));
      return;
    }
    const { logger } = this.parts;
    this.endedBefore += this.engine?.ended ?? 0;
    this.engine?.close();
    this.engine = new PacEngine(text.replace(/^\uFEFF/, ''), {
      ...this.parts,
      alert: (said) => logger.debug(`${this.name}: ${said}`),
    });
    this.text = text;
    this.trouble = undefined;
    this.routes.clear();
    logger.info(`HTTP proxy: ${this.name} read`, { bytes: text.length });
  }

  private lost(error: Error): void {
    const stays = this.engine === undefined ? '' : '; what it said before holds';
    if (this.engine === undefined) this.trouble = error.message;
    this.parts.logger.warn(`${this.name} cannot be read: ${error.message}${stays}`, { every: 60_000 });
  }
}

function pathOf(where: string): string | undefined {
  if (/^file:/i.test(where)) return fileURLToPath(where);
  return /^(https?|data):/i.test(where) ? undefined : where;
}
