/**
 * Makes a bare clone ready to run, with nothing but Node and npm: the npm packages, the TypeScript build, the native
 * addon where cargo can build it, and, as root on Debian, the packages that a real guest needs.
 *
 *   node scripts/bootstrap.mjs [packages] [typescript] [native] [guest] [--force] [--quiet]
 *
 * Without step names it does all four; --force does the named steps even where nothing changed. Every step remembers
 * what it was made from, so nothing is done twice; several bootstraps at a time wait for each other. One line on
 * stderr says what was done, what was there and what was left out (--quiet: only where there is something to say).
 * Exit code 1 where the packages or the TypeScript build fail; a missing addon or guest package never fails it.
 *
 * Environment: NETPROXY_NO_INSTALL=1 leaves the system's packages alone.
 */
import fs from 'node:fs';
import path from 'node:path';
import { COMMANDS, bundleCommands } from './bundle.mjs';
import { withLock } from './lock.mjs';
import {
  ROOT,
  digest,
  isMain,
  listFiles,
  npmCommand,
  readJson,
  readText,
  run,
  since,
  writeText,
} from './tools.mjs';

const CACHE = path.join(ROOT, '.cache');
const MODULES = path.join(ROOT, 'node_modules');
const DIST = path.join(ROOT, 'dist');
const CRATE = path.join(ROOT, 'crates', 'vsock-bridge');
const RETRY_GUEST_PACKAGES_MS = 3_600_000;

/** A step that the rest cannot do without has failed; the message is for the user. */
class BootstrapError extends Error {}

const say = (line) => process.stderr.write(`netproxy: ${line}\n`);
const stampFile = (step) => path.join(CACHE, `${step}.stamp`);
const runtime = () => `${process.platform}-${process.arch}-abi${process.versions.modules}`;

/** What a step ends with: `did` and `there` are good, `without` names what is missing and why. */
const did = (text) => ({ did: text });
const there = (text) => ({ there: text });
const without = (text) => ({ without: text });

/** True where every package of the lock file is installed in its version (optional ones may be missing). */
function modulesMatchLock() {
  const wanted = readJson(path.join(ROOT, 'package-lock.json'))?.packages;
  const found = readJson(path.join(MODULES, '.package-lock.json'))?.packages;
  if (!wanted || !found) return false;
  return Object.entries(wanted).every(
    ([name, entry]) =>
      name === '' ||
      found[name]?.version === entry.version ||
      (found[name] === undefined && (entry.optional || entry.devOptional || entry.peer)),
  );
}

/** Takes node_modules aside for `npm ci`, which deletes it first, and brings it back where the command fails. */
async function replaceModules() {
  const aside = path.join(CACHE, 'node_modules.old');
  fs.mkdirSync(CACHE, { recursive: true });
  fs.rmSync(aside, { recursive: true, force: true });
  if (fs.existsSync(MODULES)) fs.renameSync(MODULES, aside);
  const command = npmCommand(['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']);
  const result = await run(command, { output: 'quiet', seconds: 900 });
  if (result.code === 0) {
    fs.rmSync(aside, { recursive: true, force: true });
    return undefined;
  }
  fs.rmSync(MODULES, { recursive: true, force: true });
  if (fs.existsSync(aside)) fs.renameSync(aside, MODULES);
  return result;
}

async function installPackages(force) {
  const stamp = path.join(MODULES, '.netproxy-stamp');
  const wanted = `${digest([path.join(ROOT, 'package-lock.json')])} ${runtime()}\n`;
  const current = readText(stamp);
  if (!force && current === wanted) return there('packages');
  const matches = modulesMatchLock();
  // Somebody else's `npm ci` or `npm install` is as good as ours, if it was for this Node.
  if (!force && matches && (current === undefined || current.endsWith(` ${runtime()}\n`))) {
    writeText(stamp, wanted);
    return there('packages');
  }
  say('installing the npm packages (npm ci)');
  const start = performance.now();
  const failure = await replaceModules();
  if (!failure) {
    writeText(stamp, wanted);
    return did(`packages installed in ${since(start)}`);
  }
  if (matches)
    return without(`fresh packages (npm ci: ${failure.why}); those of another Node version stay in use`);
  const kept = fs.existsSync(MODULES) ? ' The node_modules of before was put back.' : '';
  throw new BootstrapError(
    `the npm packages cannot be installed (npm ci: ${failure.why}).${kept}\n${failure.text.trimEnd()}\n` +
      'Check that the npm registry can be reached, then run the same command again.',
  );
}

/** Everything that the compiled tree is made from. */
function typescriptInputs() {
  const sources = listFiles(
    path.join(ROOT, 'src'),
    (file) => /\.ts$/.test(file) && !/\.(test|testutil)\.ts$/.test(file),
  );
  return [
    ...sources,
    ...['tsconfig.json', 'tsconfig.build.json', 'package-lock.json', 'scripts/bundle.mjs'].map((name) =>
      path.join(ROOT, name),
    ),
  ];
}

async function buildTypeScript(force) {
  const wanted = `${digest(typescriptInputs())}\n`;
  const built = () => listFiles(DIST, (file) => file.endsWith('.js')).length > 0;
  if (!force && readText(stampFile('typescript')) === wanted && built()) return there('TypeScript build');
  const start = performance.now();
  const draft = path.join(CACHE, 'dist.new');
  fs.rmSync(draft, { recursive: true, force: true });
  const tsc = path.join(MODULES, 'typescript', 'bin', 'tsc');
  const command = [
    process.execPath,
    tsc,
    '-p',
    'tsconfig.build.json',
    '--outDir',
    draft,
    '--noEmitOnError',
    '--pretty',
    'false',
  ];
  const result = await run(command, { output: 'quiet', seconds: 600 });
  if (result.code !== 0) {
    throw new BootstrapError(`the TypeScript build failed (tsc: ${result.why}).\n${result.text.trimEnd()}`);
  }
  const commands = COMMANDS.map((name) => path.join(draft, 'cli', `${name}.js`)).filter(fs.existsSync);
  try {
    await bundleCommands(draft, commands);
  } catch (error) {
    say(`the commands are not bundled (${error.message}): they work, and start later`);
  }
  for (const command of commands) fs.chmodSync(command, 0o755);
  // The new tree takes the old one's place at once: no files of deleted sources stay, nobody sees half a build.
  const old = path.join(CACHE, 'dist.old');
  fs.rmSync(old, { recursive: true, force: true });
  if (fs.existsSync(DIST)) fs.renameSync(DIST, old);
  fs.renameSync(draft, DIST);
  fs.rmSync(old, { recursive: true, force: true });
  writeText(stampFile('typescript'), wanted);
  return did(`TypeScript built in ${since(start)}`);
}

/** Everything that the addon is made from. */
function nativeInputs() {
  const files = ['Cargo.toml', 'Cargo.lock', 'build.rs'].map((name) => path.join(CRATE, name));
  const script = path.join(ROOT, 'scripts', 'build-native.mjs');
  return [...files, script, ...listFiles(path.join(CRATE, 'src'))];
}

const addons = () =>
  listFiles(CRATE, (file) => file.endsWith('.node') && !file.startsWith(path.join(CRATE, 'target')));

async function buildNative(force) {
  const script = path.join(ROOT, 'scripts', 'build-native.mjs');
  if (!fs.existsSync(script)) return without('addon (no scripts/build-native.mjs in this tree)');
  const inputs = `${digest(nativeInputs())} ${runtime()}`;
  const [before, outcome] = (readText(stampFile('native')) ?? '').split('\n');
  if (!force && before === inputs) {
    if (outcome === 'built' && addons().length > 0) return there('addon');
    if (outcome === 'failed')
      return without('addon (its build failed before; `npm run build:native` tries again)');
  }
  const start = performance.now();
  const result = await run([process.execPath, script], { output: 'quiet', seconds: 1200 });
  const lastLine = result.text.trim().split('\n').at(-1) ?? '';
  if (result.code === 0 && addons().length > 0) {
    writeText(stampFile('native'), `${inputs}\nbuilt\n`);
    return did(`addon built in ${since(start)}`);
  }
  // A failed build is not tried again until its sources change; a machine without cargo costs nothing to ask again.
  if (result.code !== 0) writeText(stampFile('native'), `${inputs}\nfailed\n`);
  return without(`addon (${lastLine.replace(/^netproxy: /, '') || result.why})`);
}

async function installGuestPackages(force) {
  const script = path.join(ROOT, 'scripts', 'guest-packages.mjs');
  if (process.platform !== 'linux' || !fs.existsSync(script)) return {};
  const check = await run([process.execPath, script, '--check'], { output: 'quiet', seconds: 60 });
  if (check.code === 0) return there('guest packages');
  const missing = [...check.text.matchAll(/missing (\S+)/g)].map((match) => match[1]).join(' ');
  const lacking = (why) => without(`guest packages ${missing || '(unknown)'} (${why})`);
  if (process.env.NETPROXY_NO_INSTALL === '1') return lacking('NETPROXY_NO_INSTALL=1');
  if (!fs.existsSync('/etc/debian_version')) return lacking('not Debian: install their equivalents');
  if (process.getuid() !== 0)
    return lacking('not root: run `node scripts/guest-packages.mjs --install` as root');
  const failedAt = Number(readText(stampFile('guest')) ?? 0);
  if (!force && Date.now() - failedAt < RETRY_GUEST_PACKAGES_MS) {
    return lacking('apt-get failed before; `npm run bootstrap guest -- --force` tries again');
  }
  say(`installing what a real guest needs, by apt-get: ${missing} (NETPROXY_NO_INSTALL=1 prevents it)`);
  const start = performance.now();
  const install = await run([process.execPath, script, '--install'], { output: 'quiet', seconds: 900 });
  if (install.code === 0) return did(`guest packages installed in ${since(start)}`);
  writeText(stampFile('guest'), `${Date.now()}\n`);
  return lacking(install.text.trim().split('\n').at(-1) ?? install.why);
}

const STEPS = {
  packages: installPackages,
  typescript: buildTypeScript,
  native: buildNative,
  guest: installGuestPackages,
};

/** One line on all steps: what was done, what was there, what is left out and why. */
function summary(outcomes, seconds) {
  const done = outcomes.map((outcome) => outcome.did).filter(Boolean);
  const present = outcomes.map((outcome) => outcome.there).filter(Boolean);
  const missing = outcomes.map((outcome) => outcome.without).filter(Boolean);
  const parts = [];
  if (done.length > 0) parts.push(done.join(', '));
  if (present.length > 0) parts.push(`up to date: ${present.join(', ')}`);
  if (missing.length > 0) parts.push(`left out: ${missing.join('; ')}`);
  return { line: `${parts.join('; ')} (${seconds})`, eventful: done.length + missing.length > 0 };
}

/**
 * Runs the named steps (all without names) and prints the summary.
 *
 * @param {string[]} names any of `packages`, `typescript`, `native`, `guest`
 * @param {{ force?: boolean, quiet?: boolean }} [options]
 * @returns {Promise<boolean>} false where a step failed that the rest cannot do without
 */
export async function bootstrap(names = [], { force = false, quiet = false } = {}) {
  const start = performance.now();
  const wait = (pid) => say(`waiting for another bootstrap (pid ${pid})`);
  try {
    const outcomes = [];
    await withLock(
      path.join(CACHE, 'bootstrap.lock'),
      async () => {
        for (const [name, step] of Object.entries(STEPS)) {
          if (names.length === 0 || names.includes(name)) outcomes.push(await step(force));
        }
      },
      wait,
    );
    const { line, eventful } = summary(outcomes, since(start));
    if (eventful || !quiet) say(line);
    return true;
  } catch (error) {
    if (!(error instanceof BootstrapError)) throw error;
    say(error.message);
    return false;
  }
}

async function main(args) {
  const names = args.filter((arg) => !arg.startsWith('--'));
  const flags = args.filter((arg) => arg.startsWith('--'));
  const unknown = [
    ...names.filter((name) => !Object.hasOwn(STEPS, name)),
    ...flags.filter((flag) => !['--force', '--quiet'].includes(flag)),
  ];
  if (unknown.length > 0) {
    say(`bootstrap: unknown ${unknown.join(' ')}; allowed: ${Object.keys(STEPS).join(' ')} --force --quiet`);
    return 2;
  }
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    say(`Node ${process.versions.node} is too old: 20.19 or later is needed.`);
    return 1;
  }
  const done = await bootstrap(names, { force: flags.includes('--force'), quiet: flags.includes('--quiet') });
  return done ? 0 : 1;
}

if (isMain(import.meta.url)) process.exitCode = await main(process.argv.slice(2));
