/**
 * Builds crates/vsock-bridge with cargo and puts the addon beside its sources, where src/native/loader.ts looks.
 * Does nothing when no source changed since (a digest of the sources is kept in the target folder).
 * Prints one line on what it did or why not. Exit code 0 when built, up to date, or not possible here; 1 when the
 * build failed. No dependencies: it runs before `npm ci`.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const crate = fileURLToPath(new URL('../crates/vsock-bridge', import.meta.url));
const addon = path.join(crate, `vsock-bridge.${process.platform}-${process.arch}.node`);
const stamp = path.join(crate, 'target', `built.${process.platform}-${process.arch}`);

const say = (line) => console.log(`netproxy: ${line}`);

/** All files that the addon is made from, this script included. */
function inputs() {
  const sources = fs
    .readdirSync(path.join(crate, 'src'), { recursive: true })
    .map((name) => path.join(crate, 'src', String(name)))
    .filter((file) => fs.statSync(file).isFile());
  return [
    path.join(crate, 'Cargo.toml'),
    path.join(crate, 'Cargo.lock'),
    fileURLToPath(import.meta.url),
    ...sources.sort(),
  ];
}

function digest() {
  const hash = createHash('sha256');
  for (const file of inputs()) {
    hash
      .update(`${path.relative(crate, file)}\0`)
      .update(fs.readFileSync(file))
      .update('\0');
  }
  return hash.digest('hex');
}

const read = (file) => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '');

/** The last lines of cargo's output that say what went wrong. */
function reason(text) {
  const line = text.split('\n').find((candidate) => /^error/.test(candidate));
  return line ?? text.trim().split('\n').at(-1) ?? 'no output';
}

function main() {
  if (process.platform !== 'linux') {
    say(`no addon is built: it is for Linux, this is ${process.platform}`);
    return 0;
  }
  if (!fs.existsSync(path.join(crate, 'Cargo.lock'))) {
    say('no addon is built: its sources (Cargo.lock) are not in this tree');
    return 0;
  }
  const wanted = digest();
  if (fs.existsSync(addon) && read(stamp) === wanted) {
    say('addon is up to date');
    return 0;
  }
  const cargo = spawnSync('cargo', ['--version'], { encoding: 'utf8' });
  if (cargo.error || cargo.status !== 0) {
    say('no addon is built: cargo is not installed');
    return 0;
  }
  const start = performance.now();
  const build = spawnSync('cargo', ['build', '--release', '--locked', '--target-dir', 'target'], {
    cwd: crate,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (build.error || build.status !== 0) {
    process.stderr.write(build.stderr ?? '');
    say(`addon cannot be built: cargo: ${build.error?.message ?? reason(build.stderr ?? '')}`);
    return 1;
  }
  // A running process may have the old file mapped: the new one takes its name, not its contents.
  const draft = `${addon}.${process.pid}`;
  fs.copyFileSync(path.join(crate, 'target', 'release', 'libvsock_bridge.so'), draft);
  fs.renameSync(draft, addon);
  fs.writeFileSync(stamp, wanted);
  say(`addon built in ${((performance.now() - start) / 1000).toFixed(1)} s`);
  return 0;
}

process.exitCode = main();
