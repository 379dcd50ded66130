/**
 * Small helpers of the scripts. Nothing here needs an installed package: these scripts run in a bare clone.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout that this script lies in. */
export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/** True where the module at `url` is the script that Node was started with. */
export function isMain(url) {
  return process.argv[1] !== undefined && fs.realpathSync(process.argv[1]) === fileURLToPath(url);
}

/** The file's text, or undefined where it cannot be read. */
export function readText(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/** The file's JSON, or undefined where it cannot be read or is not JSON. */
export function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Writes `text` to `file` in one step, so that a reader sees the old text or the new one. */
export function writeText(file, text) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const draft = `${file}.${process.pid}`;
  fs.writeFileSync(draft, text);
  fs.renameSync(draft, file);
}

/** All files below `directory` for which `accept(path)` holds, sorted; none where it does not exist. */
export function listFiles(directory, accept = () => true) {
  let entries;
  try {
    entries = fs.readdirSync(directory, { recursive: true, withFileTypes: true });
  } catch {
    return [];
  }
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .filter(accept)
    .sort();
}

/** SHA-256 over strings and over the names and contents of files (missing ones count as empty). */
export function digest(files, ...texts) {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`${text}\0`);
  for (const file of files) {
    hash.update(`${path.relative(ROOT, file)}\0`);
    if (fs.existsSync(file)) hash.update(fs.readFileSync(file));
    hash.update('\0');
  }
  return hash.digest('hex');
}

/** Seconds since `start` (a performance.now() value) for people: `0.4 s`, `12 s`. */
export function since(start) {
  const seconds = (performance.now() - start) / 1000;
  return seconds < 10 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
}

/** How to start npm: the one that runs this script, else the one on PATH. */
export function npmCommand(args) {
  const cli = process.env.npm_execpath;
  if (cli && path.basename(cli) === 'npm-cli.js' && fs.existsSync(cli))
    return [process.execPath, cli, ...args];
  return process.platform === 'win32' ? ['cmd', '/d', '/c', 'npm', ...args] : ['npm', ...args];
}

/** True where `name --version` runs. */
export function hasCommand(name, ...args) {
  return spawnSync(name, args.length > 0 ? args : ['--version'], { stdio: 'ignore' }).status === 0;
}

/**
 * Runs a command to its end and returns its exit code, its output and how it ended.
 *
 * @param {string[]} command program and arguments
 * @param {object} [options]
 * @param {NodeJS.ProcessEnv} [options.env] added to this process's environment
 * @param {'show' | 'quiet' | 'inherit'} [options.output] `show` passes the output on while it collects it
 * @param {number} [options.seconds] the command and its children are ended after this time
 * @param {string} [options.cwd]
 */
export function run(command, { env = {}, output = 'show', seconds, cwd = ROOT } = {}) {
  return new Promise((resolve) => {
    // A group of its own can be ended whole; one that shares the terminal must stay in the terminal's group.
    const detached = output !== 'inherit' && process.platform !== 'win32';
    const child = spawn(command[0], command.slice(1), {
      cwd,
      env: { ...process.env, ...env },
      stdio: output === 'inherit' ? 'inherit' : ['ignore', 'pipe', 'pipe'],
      detached,
    });
    const text = [];
    let timedOut = false;
    const end = (signal) => {
      try {
        if (detached) process.kill(-child.pid, signal);
        else child.kill(signal);
      } catch {
        // It has ended already.
      }
    };
    const forward = (signal) => {
      process.exitCode = 130;
      // A terminal's Ctrl-C has reached a child in the terminal's group already; a second one could mean "at once".
      if (detached || signal !== 'SIGINT') end(signal);
    };
    const timer =
      seconds &&
      setTimeout(() => {
        timedOut = true;
        end('SIGTERM');
        setTimeout(end, 5000, 'SIGKILL').unref();
      }, seconds * 1000);
    for (const [stream, sink] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      stream?.on('data', (chunk) => {
        text.push(chunk);
        if (output === 'show') sink.write(chunk);
      });
    }
    process.on('SIGINT', forward).on('SIGTERM', forward);
    let settled = false;
    const settle = (code, signal, error) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      process.off('SIGINT', forward).off('SIGTERM', forward);
      const why = error
        ? error.message
        : timedOut
          ? `ended after ${seconds} s`
          : signal
            ? `ended by ${signal}`
            : `exit ${code}`;
      resolve({
        code: error ? 127 : timedOut ? 124 : (code ?? 128),
        why,
        text: Buffer.concat(text).toString(),
      });
    };
    child.on('error', (error) => settle(null, null, error));
    child.on('close', (code, signal) => settle(code, signal));
    // A grandchild that keeps the pipe open must not keep us: its parent is gone, what it prints is not ours.
    child.on('exit', (code, signal) => setTimeout(settle, 2000, code, signal).unref());
  });
}
