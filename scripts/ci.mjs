/**
 * What CI runs on a fresh clone: `.ci/run` starts it.
 *
 *   node scripts/ci.mjs [PART…]      parts: suites checks crate node examples
 *
 * suites: `npm test` with nothing skipped that the machine can do; checks: types, lint, format, branch coverage of
 * src/tcp; crate: clippy and cargo test; node: the fast tests under later Node versions; examples: each program of
 * examples/. A part that crashes or hangs counts as a failure and the next one runs. The last line sums up what the
 * runners reported.
 */
import fs from 'node:fs';
import path from 'node:path';
import { CHECKS, runCheck } from './check.mjs';
import { readCargo, readCheck, table } from './reports.mjs';
import { REPORTS, runSuite, verdict } from './test.mjs';
import { ROOT, hasCommand, listFiles, npmCommand, readJson, run, since, writeText } from './tools.mjs';

const CRATE = path.join(ROOT, 'crates', 'vsock-bridge');
const LATER_NODES = [24, 26];

// A test that the machine cannot run fails here instead of being skipped; npm must not ask anything.
process.env.NETPROXY_REQUIRE_ALL = '1';
process.env.npm_config_yes = 'true';

function section(title) {
  console.log(`\n━━ ${title} ━━`);
  return performance.now();
}

/** `npm test`, whose summary has the counts of each suite. */
async function suites() {
  const start = section('npm test');
  const file = path.join(REPORTS, 'summary.json');
  fs.rmSync(file, { force: true });
  const result = await run(npmCommand(['test']), { seconds: 1500 });
  const found = readJson(file) ?? [];
  const explained = found.some((suite) => suite.failed > 0);
  if (found.length > 0 && (result.code === 0 || explained)) return found;
  return [...found, { name: 'npm test', ...readCheck({ code: 1, why: result.why }), time: since(start) }];
}

async function checks() {
  const results = [];
  // Branch coverage of the state machine, below which this fails: vitest.config.ts.
  for (const script of [...CHECKS, 'coverage:tcp']) {
    section(`npm run ${script}`);
    results.push(await runCheck(script));
  }
  return results;
}

/** Clippy (where it is installed) and the crate's own tests; nothing where there is no crate. */
async function crate() {
  if (!fs.existsSync(path.join(CRATE, 'Cargo.toml'))) return [];
  const results = [];
  const cargo = async (name, read, ...args) => {
    const start = section(name);
    const result = await run(['cargo', ...args], {
      cwd: CRATE,
      seconds: 900,
      env: { CARGO_TERM_COLOR: 'never' },
    });
    results.push({ name, ...read(result), time: since(start) });
  };
  if (hasCommand('cargo', 'clippy', '--version')) {
    await cargo('cargo clippy', readCheck, 'clippy', '--locked', '--all-targets', '--', '-D', 'warnings');
  } else {
    console.log('cargo clippy is not installed here: left out');
  }
  await cargo('cargo test', readCargo, 'test', '--locked', '--', '--test-threads=2');
  return results;
}

/**
 * The path of a later Node's binary, from the registry's package for this platform (what the package `node` installs by
 * a script of its own); undefined with the reason printed where it cannot be had.
 */
async function laterNode(major) {
  const name = `node-${process.platform}-${process.arch}`;
  const folder = path.join(ROOT, '.cache', `node-${major}`);
  const binary = path.join(folder, 'node_modules', name, 'bin', 'node');
  if (!fs.existsSync(binary)) {
    const spec = `${name}@${major}`;
    fs.mkdirSync(folder, { recursive: true });
    const args = [
      'install',
      '--prefix',
      folder,
      '--no-save',
      '--no-package-lock',
      '--ignore-scripts',
      '--no-audit',
      spec,
    ];
    const result = await run(npmCommand(args), { seconds: 300, cwd: folder });
    if (result.code !== 0) return undefined;
  }
  return hasCommand(binary) ? binary : undefined;
}

/** The fast tests under each later Node. */
async function node() {
  const results = [];
  for (const major of LATER_NODES) {
    const name = `unit-node${major}`;
    const start = section(`the fast tests under Node ${major}`);
    const binary = await laterNode(major);
    if (binary) results.push(await runSuite('unit', { node: binary, report: name }));
    else
      results.push({
        name,
        ...readCheck({ code: 1, why: `no binary of Node ${major}` }),
        time: since(start),
      });
  }
  return results;
}

/** Every program that lies in examples/ itself must end by itself with exit code 0. */
async function examples() {
  const folder = path.join(ROOT, 'examples');
  const results = [];
  for (const file of listFiles(folder, (name) => path.dirname(name) === folder && /\.m?js$/.test(name))) {
    const name = path.relative(ROOT, file);
    const start = section(name);
    const result = await run([process.execPath, file], { seconds: 120, env: { NETPROXY_NO_VSOCK: '1' } });
    results.push({ name, ...readCheck(result), time: since(start) });
  }
  return results;
}

const PARTS = { suites, checks, crate, node, examples };

async function main(names) {
  const start = performance.now();
  const results = [];
  for (const [name, part] of Object.entries(PARTS)) {
    if (names.length > 0 && !names.includes(name)) continue;
    try {
      results.push(...(await part()));
    } catch (error) {
      console.error(error);
      results.push({ name, ...readCheck({ code: 1, why: String(error) }), time: since(start) });
    }
  }
  console.log(`\n━━ CI, ${since(start)} ━━\n${table(results)}`);
  writeText(path.join(REPORTS, 'ci.json'), `${JSON.stringify(results, null, 2)}\n`);
  return verdict(results);
}

process.exitCode = await main(process.argv.slice(2));
