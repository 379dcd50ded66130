/** What the system says about servers for single domains, on each platform. */
import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { DnsGroup } from './dns-group.js';
import { parseLinkFile, parsePrivateInterface } from './split-linux.js';
import { parseScutil } from './split-macos.js';
import type { GroupSource } from './split-dns.js';
import { WatchedFolder } from './watched-folder.js';

const NONE: readonly DnsGroup[] = [];

export interface LinuxSplitPaths {
  /** What systemd-resolved and systemd-networkd keep of links. */
  readonly resolved: string;
  readonly networkd: string;
  /** What openresolv keeps. */
  readonly resolvconf: string;
}

const PATHS: LinuxSplitPaths = {
  resolved: '/run/systemd/resolve/netif',
  networkd: '/run/systemd/netif/links',
  resolvconf: '/run/resolvconf',
};

/**
 * Links of systemd, while `resolved` says that names go through systemd-resolved, and private interfaces of openresolv.
 */
export function linuxSplit(
  resolved: () => boolean,
  paths: Partial<LinuxSplitPaths> = {},
  now?: () => number,
): GroupSource {
  const where = { ...PATHS, ...paths };
  const link = (text: string, name: string): DnsGroup | undefined =>
    parseLinkFile(text, `link ${name} of systemd`);
  const links = [where.resolved, where.networkd].map((folder) => new WatchedFolder(folder, link, now));
  const isPrivate = (name: string): boolean => existsSync(path.join(where.resolvconf, 'private', name));
  const interfaces = new WatchedFolder(
    path.join(where.resolvconf, 'interfaces'),
    (text, name) => (isPrivate(name) ? parsePrivateInterface(text, `${name} of openresolv`) : undefined),
    now,
  );
  let last: readonly (readonly DnsGroup[])[] = [];
  let all = NONE;
  return () => {
    const said = [...(resolved() ? links.map((folder) => folder.get()) : []), interfaces.get()];
    if (said.length !== last.length || said.some((groups, i) => groups !== last[i])) {
      last = said;
      const groups = said.flat();
      all = groups.length === 0 ? NONE : groups;
    }
    return all;
  };
}

/** How often macOS is asked at most, ms, and for how long. */
const ASK_AGAIN = 1000;
const PATIENCE = 2000;

const SCUTIL = ['/usr/sbin/scutil', ['--dns'], { timeout: PATIENCE, maxBuffer: 1 << 20 }] as const;

/** How `scutil --dns` is run; undefined: it failed. */
export interface Scutil {
  now(): string | undefined;
  later(done: (text: string | undefined) => void): void;
}

const scutil: Scutil = {
  now: () => {
    const { status, stdout } = spawnSync(...SCUTIL);
    return status === 0 ? stdout.toString('utf8') : undefined;
  },
  later: (done) => {
    const [file, args, options] = SCUTIL;
    execFile(file, args, options, (error, text) => {
      done(error === null ? text : undefined);
    });
  },
};

/** What `scutil --dns` said last; it is asked again behind a query when that was a second ago. */
export class MacosSplit {
  private readonly scutil: Scutil;
  private readonly now: () => number;
  private text: string | undefined;
  private askedAt = Number.NEGATIVE_INFINITY;
  private running = false;
  private groups = NONE;

  constructor(how: Scutil = scutil, now: () => number = () => performance.now()) {
    this.scutil = how;
    this.now = now;
    // The first query may be for a name that must not go the other names' way.
    this.take(how.now());
    this.askedAt = now();
  }

  /** Groups of single domains. */
  readonly source: GroupSource = () => {
    this.look();
    return this.groups;
  };

  private look(): void {
    const now = this.now();
    if (this.running || now - this.askedAt < ASK_AGAIN) return;
    this.running = true;
    this.askedAt = now;
    this.scutil.later((text) => {
      this.running = false;
      this.take(text);
    });
  }

  private take(text: string | undefined): void {
    if (text === undefined || text === this.text) return;
    this.text = text;
    // All other names go the system's own way.
    this.groups = parseScutil(text).filter(({ domains }) => !domains.includes(''));
  }
}
