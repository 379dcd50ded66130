/**
 * scripts/bootstrap.mjs in a small clone of its own, with an npm, a compiler and an addon build that only write down
 * that they ran.
 */
import { execFile, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const scripts = path.resolve(import.meta.dirname, '../../scripts');
const LOCK = JSON.stringify({ packages: { '': {}, 'node_modules/typescript': { version: '1.0.0' } } });

/** Installs a compiler that copies src/ to its output folder, unless a source says `error`. */
const NPM = `#!/bin/sh
echo "npm $*" >>"$LOG"
sleep 0.3
[ -z "$NPM_FAILS" ] || { mkdir -p node_modules; echo "npm error network" >&2; exit 1; }
mkdir -p node_modules/typescript/bin
cp package-lock.json node_modules/.package-lock.json
cp tsc.js node_modules/typescript/bin/tsc
`;
const TSC = `
const fs = require('node:fs');
fs.appendFileSync(process.env.LOG, 'tsc\\n');
const out = process.argv[process.argv.indexOf('--outDir') + 1];
fs.mkdirSync(out, { recursive: true });
for (const name of fs.readdirSync('src')) {
  const text = fs.readFileSync('src/' + name, 'utf8');
  if (text.includes('error')) { console.log(name + ': error TS1'); process.exit(2); }
  fs.writeFileSync(out + '/' + name.replace('.ts', '.js'), text);
}
if (process.env.COMMAND) {
  fs.mkdirSync(out + '/cli');
  fs.writeFileSync(out + '/cli/main.js', process.env.COMMAND);
}`;
const NATIVE = `
import fs from 'node:fs';
fs.appendFileSync(process.env.LOG, 'native\\n');
if (process.env.NATIVE_FAILS) { console.log('addon: cargo failed'); process.exit(1); }
if (process.env.NO_CARGO) { console.log('addon: no cargo here'); process.exit(0); }
fs.writeFileSync('crates/vsock-bridge/addon.node', '');`;
const GUEST = `
console.log('guest packages: missing qemu-system-x86 (qemu-system-x86_64)');
process.exit(process.argv.includes('--check') ? 1 : 0);`;

let root = '';

function write(file: string, text: string): void {
  fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
  fs.writeFileSync(path.join(root, file), text, { mode: 0o755 });
}

/** What npm, the compiler and the addon build wrote down, since the last call. */
function ran(): string[] {
  const log = path.join(root, 'log');
  const lines = fs.existsSync(log) ? fs.readFileSync(log, 'utf8').trim().split('\n') : [];
  fs.rmSync(log, { force: true });
  return lines.map((line) => line.split(' ').slice(0, 2).join(' '));
}

function environment(more: Record<string, string>): NodeJS.ProcessEnv {
  const { npm_execpath: _npm, ...env } = process.env;
  const PATH = `${path.join(root, 'bin')}${path.delimiter}${process.env.PATH}`;
  return { ...env, PATH, LOG: path.join(root, 'log'), NETPROXY_NO_INSTALL: '1', ...more };
}

function bootstrap(
  more: Record<string, string> = {},
  ...args: string[]
): { code: number | null; said: string } {
  const command = [path.join(root, 'scripts/bootstrap.mjs'), ...args];
  const result = spawnSync(process.execPath, command, {
    cwd: root,
    env: environment(more),
    encoding: 'utf8',
  });
  return { code: result.status, said: result.stderr };
}

beforeEach(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'netproxy-bootstrap-'));
  for (const name of ['bootstrap.mjs', 'bundle.mjs', 'lock.mjs', 'tools.mjs']) {
    write(`scripts/${name}`, fs.readFileSync(path.join(scripts, name), 'utf8'));
  }
  write('package-lock.json', LOCK);
  write('tsconfig.json', '{}');
  write('src/index.ts', 'one');
  write('bin/npm', NPM);
  write('tsc.js', TSC);
  write('scripts/build-native.mjs', NATIVE);
  write('scripts/guest-packages.mjs', GUEST);
  write('crates/vsock-bridge/Cargo.toml', '');
});

afterEach(() => fs.rmSync(root, { recursive: true, force: true }));

describe.skipIf(process.platform === 'win32')('bootstrap', () => {
  it('makes a bare clone ready, and does nothing twice', () => {
    const first = bootstrap();
    expect(first.code).toBe(0);
    expect(ran()).toEqual(['npm ci', 'tsc', 'native']);
    expect(first.said).toMatch(/packages installed in .*, TypeScript built in .*, addon built in /);
    expect(fs.readFileSync(path.join(root, 'dist/index.js'), 'utf8')).toBe('one');

    const second = bootstrap();
    expect(second.code).toBe(0);
    expect(ran()).toEqual([]);
    expect(second.said).toContain('up to date: packages, TypeScript build, addon');
  });

  it('builds again what changed, and leaves nothing of deleted sources', () => {
    write('src/gone.ts', 'x');
    bootstrap();
    ran();
    fs.rmSync(path.join(root, 'src/gone.ts'));
    write('src/index.ts', 'two');
    expect(bootstrap().code).toBe(0);
    expect(ran()).toEqual(['tsc']);
    expect(fs.readdirSync(path.join(root, 'dist'))).toEqual(['index.js']);

    write('crates/vsock-bridge/src/lib.rs', '//');
    expect(bootstrap().code).toBe(0);
    expect(ran()).toEqual(['native']);

    write('src/index.test.ts', 'tests are not built');
    expect(bootstrap().code).toBe(0);
    expect(ran()).toEqual([]);
  });

  it('leaves the commands as they are compiled where they cannot be bundled', () => {
    const { code, said } = bootstrap({ COMMAND: '#!/bin/sh\necho hello' });
    expect(code).toBe(0);
    expect(said).toMatch(/the commands are not bundled \(.*rolldown.*\): they work/);
    expect(fs.readdirSync(path.join(root, 'dist')).sort()).toEqual(['cli', 'index.js']);
    expect(spawnSync(path.join(root, 'dist/cli/main.js'), { encoding: 'utf8' }).stdout).toBe('hello\n');
  });

  it('builds again what somebody removed', () => {
    bootstrap();
    ran();
    fs.rmSync(path.join(root, 'dist'), { recursive: true });
    fs.rmSync(path.join(root, 'node_modules'), { recursive: true });
    fs.rmSync(path.join(root, 'crates/vsock-bridge/addon.node'));
    expect(bootstrap().code).toBe(0);
    expect(ran()).toEqual(['npm ci', 'tsc', 'native']);
  });

  it('takes node_modules that somebody else installed, without network', () => {
    write('node_modules/typescript/bin/tsc', TSC);
    write('node_modules/.package-lock.json', LOCK);
    expect(bootstrap({ NPM_FAILS: '1' }).code).toBe(0);
    expect(ran()).toEqual(['tsc', 'native']);
  });

  it('says clearly that npm ci failed, and brings the old packages back', () => {
    bootstrap();
    ran();
    write('package-lock.json', LOCK.replace('1.0.0', '2.0.0'));
    const { code, said } = bootstrap({ NPM_FAILS: '1' });
    expect(code).toBe(1);
    expect(said).toContain('the npm packages cannot be installed (npm ci: exit 1)');
    expect(said).toContain('npm error network');
    expect(said).toContain('was put back');
    expect(fs.existsSync(path.join(root, 'node_modules/typescript/bin/tsc'))).toBe(true);
    ran();
    expect(bootstrap().code).toBe(0);
    expect(ran()).toEqual(['npm ci', 'tsc']);
  });

  it('is not fooled by what an npm ci that failed on a bare clone left', () => {
    expect(bootstrap({ NPM_FAILS: '1' }).code).toBe(1);
    ran();
    expect(bootstrap().code).toBe(0);
    expect(ran()).toEqual(['npm ci', 'tsc', 'native']);
  });

  it('keeps the last good build where the sources do not compile', () => {
    bootstrap();
    write('src/index.ts', 'error');
    const { code, said } = bootstrap();
    expect(code).toBe(1);
    expect(said).toContain('the TypeScript build failed (tsc: exit 2).\nindex.ts: error TS1');
    expect(fs.readFileSync(path.join(root, 'dist/index.js'), 'utf8')).toBe('one');
  });

  it('leaves the addon out with the reason, and tries a failed build only once', () => {
    const { code, said } = bootstrap({ NATIVE_FAILS: '1' });
    expect(code).toBe(0);
    expect(said).toContain('left out: addon (addon: cargo failed)');
    ran();
    expect(bootstrap({ NATIVE_FAILS: '1' }).said).toContain('its build failed before');
    expect(ran()).toEqual([]);
    write('crates/vsock-bridge/src/lib.rs', '//');
    expect(bootstrap({ NO_CARGO: '1' }).said).toContain('left out: addon (addon: no cargo here)');
    ran();
    expect(bootstrap().said).toContain('addon built');
  });

  it('names the guest packages that it leaves out, and why', () => {
    if (process.platform !== 'linux') return;
    expect(bootstrap().said).toContain('left out: guest packages qemu-system-x86 (NETPROXY_NO_INSTALL=1)');
  });

  it('does one thing at a time when several start at once', async () => {
    const start = () =>
      new Promise<string>((resolve, reject) => {
        const command = [path.join(root, 'scripts/bootstrap.mjs')];
        execFile(process.execPath, command, { cwd: root, env: environment({}) }, (error, _out, said) =>
          error ? reject(new Error(said, { cause: error })) : resolve(said),
        );
      });
    const said = await Promise.all([start(), start(), start()]);
    expect(ran()).toEqual(['npm ci', 'tsc', 'native']);
    expect(said.join()).toContain('waiting for another bootstrap');
    expect(fs.readdirSync(path.join(root, '.cache')).filter((name) => name.includes('lock'))).toEqual([]);
  });

  it('takes over from a bootstrap that died', () => {
    const dead = spawnSync(process.execPath, ['-p', 'process.pid'], { encoding: 'utf8' }).stdout.trim();
    write('.cache/bootstrap.lock', `${dead}\n`);
    const { code, said } = bootstrap();
    expect(code).toBe(0);
    expect(said).not.toContain('waiting');
  });

  it('runs only the named steps, and refuses unknown ones', () => {
    expect(bootstrap({}, 'packages', 'typescript').code).toBe(0);
    expect(ran()).toEqual(['npm ci', 'tsc']);
    expect(bootstrap({}, 'typescript', '--force').code).toBe(0);
    expect(ran()).toEqual(['tsc']);
    const { code, said } = bootstrap({}, 'everything');
    expect(code).toBe(2);
    expect(said).toContain('unknown everything; allowed: packages typescript native guest');
  });
});
