/** Processes, files under /proc, the C programs: what the bench needs of the machine. */
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const BENCH = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
export const ROOT = path.dirname(BENCH);

const SOURCES = {
  nettool: ['nettool.c', 'bulk.c', 'exact.c', 'datagrams.c'],
  shim: ['shim.c'],
  relay: ['relay.c'],
};

/** Something the user should read as it stands, without a stack. */
export class BenchError extends Error {}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** CLOCK_MONOTONIC in seconds, the clock of the C programs too. */
export const monotonic = () => Number(process.hrtime.bigint()) / 1e9;

/** Full path of a program, or undefined. */
export function which(name) {
  if (name.includes('/')) return fs.existsSync(name) ? name : undefined;
  return [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']
    .map((folder) => path.join(folder, name))
    .find((file) => fs.existsSync(file));
}

/** Runs a short command; its output. Throws BenchError with what it said. */
export function sh(...argv) {
  try {
    return execFileSync(argv[0], argv.slice(1), {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 30_000,
    });
  } catch (error) {
    const why = String(error.stderr || error.message)
      .trim()
      .split('\n')
      .at(-1);
    throw new BenchError(`${argv.join(' ')}: ${why}`);
  }
}

/**
 * Builds the C programs where their sources changed; they lie in .cache/bench.
 *
 * @returns {Record<string, string>} their paths by name
 */
export function buildTools() {
  const cache = path.join(ROOT, '.cache', 'bench');
  if (which('gcc') === undefined) throw new BenchError('gcc is missing: apt-get install gcc libc6-dev');
  fs.mkdirSync(cache, { recursive: true });
  const folder = path.join(BENCH, 'c');
  const headers = fs.readdirSync(folder).filter((file) => file.endsWith('.h'));
  /** @type {Record<string, string>} */
  const built = {};
  for (const [name, sources] of Object.entries(SOURCES)) {
    const hash = createHash('sha256');
    for (const file of [...sources, ...headers]) hash.update(fs.readFileSync(path.join(folder, file)));
    const file = path.join(cache, `${name}-${hash.digest('hex').slice(0, 12)}`);
    if (!fs.existsSync(file)) {
      for (const old of fs.readdirSync(cache))
        if (old.startsWith(`${name}-`)) fs.rmSync(path.join(cache, old));
      sh(
        'gcc',
        '-O2',
        '-Wall',
        '-Wextra',
        '-pthread',
        '-o',
        `${file}.new`,
        ...sources.map((source) => path.join(folder, source)),
      );
      fs.renameSync(`${file}.new`, file);
    }
    built[name] = file;
  }
  return built;
}

/** A child of the bench: its lines of output, its end. Killed with the bench. */
export class Child {
  static live = new Set();

  /**
   * @param {string[]} argv
   * @param {{ env?: NodeJS.ProcessEnv, input?: boolean, ready?: boolean }} [options] `input` leaves its standard input
   *   open; `ready` gives it a descriptor 3, whose first line is `readyLine`
   */
  constructor(argv, { env = {}, input = false, ready = false } = {}) {
    this.name = path.basename(argv[0]);
    this.said = '';
    this.complaints = '';
    this.waiting = [];
    this.began = monotonic();
    this.process = spawn(argv[0], argv.slice(1), {
      env: { ...process.env, ...env },
      stdio: [input ? 'pipe' : 'ignore', 'pipe', 'pipe', ...(ready ? ['pipe'] : [])],
    });
    Child.live.add(this);
    this.process.stdout.setEncoding('utf8').on('data', (text) => this.take(text));
    this.process.stderr
      .setEncoding('utf8')
      .on('data', (text) => (this.complaints = (this.complaints + text).slice(-4000)));
    if (ready) {
      this.readyLine = new Promise((resolve) =>
        this.process.stdio[3].setEncoding('utf8').once('data', resolve).once('close', resolve),
      );
    }
    this.ended = new Promise((resolve) => {
      this.process.on('error', (error) => {
        this.complaints += error.message;
        this.end(resolve);
      });
      this.process.on('close', () => this.end(resolve));
    });
  }

  get pid() {
    return this.process.pid;
  }

  end(resolve) {
    this.over = true;
    Child.live.delete(this);
    for (const { check } of this.waiting.splice(0)) check();
    resolve();
  }

  take(text) {
    this.said += text;
    for (const { check } of [...this.waiting]) check();
  }

  /** The first line of JSON for which `accept` holds. Rejects when the child says {"error"}, ends or is late. */
  json(accept, seconds) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => fail('timed out'), seconds * 1000);
      const settle = (act) => {
        clearTimeout(timer);
        this.waiting = this.waiting.filter((entry) => entry !== waiter);
        act();
      };
      const fail = (why) => settle(() => reject(new BenchError(`${this.name}: ${why}`)));
      const check = () => {
        for (const line of this.said.split('\n').slice(0, -1)) {
          if (!line.startsWith('{')) continue;
          const value = JSON.parse(line);
          if (value.error !== undefined) return fail(value.error);
          if (accept(value)) return settle(() => resolve(value));
        }
        if (this.over) fail(this.complaints.trim().split('\n').at(-1) || 'ended without a result');
      };
      const waiter = { check };
      this.waiting.push(waiter);
      check();
    });
  }

  event(name, seconds = 10) {
    return this.json((value) => value.event === name, seconds);
  }

  result(seconds) {
    return this.json((value) => value.event === undefined, seconds);
  }

  /** Ends it, gently first. */
  async kill(patience = 1500) {
    if (this.over) return;
    this.process.kill('SIGTERM');
    const timer = setTimeout(() => this.process.kill('SIGKILL'), patience);
    await this.ended;
    clearTimeout(timer);
  }

  /** For exit handlers. */
  static killAll() {
    for (const child of Child.live) child.process.kill('SIGKILL');
  }
}

const TICKS = 100;

/** utime + stime of a process, seconds; 0 when it is gone. */
export function cpuSeconds(pid) {
  try {
    const fields = fs
      .readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  } catch {
    return 0;
  }
}

/** CPU seconds of this process and of its children that have ended. */
export function ownCpu() {
  const fields = fs
    .readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0) / TICKS;
}

/** VmRSS (or another line of /proc/PID/status), KiB. */
export function memoryKiB(pid, line = 'VmRSS') {
  try {
    return Number(
      new RegExp(`^${line}:\\s+(\\d+)`, 'm').exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0,
    );
  } catch {
    return 0;
  }
}

/** How many descriptors a process has open. */
export function descriptors(pid) {
  try {
    return fs.readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return 0;
  }
}

/** CPU seconds that the whole machine has spent not idle. */
export function machineBusy() {
  const fields = fs.readFileSync('/proc/stat', 'utf8').split('\n', 1)[0].split(/\s+/).slice(1, 9).map(Number);
  return (fields.reduce((a, b) => a + b, 0) - fields[3] - fields[4]) / TICKS;
}
