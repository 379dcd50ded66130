/**
 * The package as its users get it: packed, installed elsewhere without scripts and without development packages, used
 * from strict TypeScript under both module resolutions.
 */
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const execute = promisify(execFile);
const root = path.resolve(import.meta.dirname, '../..');

let folder = '';
let packed: string[] = [];

/** Runs a program in the consumer's folder; its output, or an error that holds it. */
async function run(command: string, args: string[], cwd = folder): Promise<string> {
  try {
    return (await execute(command, args, { cwd, maxBuffer: 1 << 26, timeout: 150_000 })).stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${path.basename(command)} ${args.join(' ')}\n${stdout}\n${stderr}`, { cause: error });
  }
}

/** A compiler configuration as strict as it gets, which checks the package's declarations, too. */
function configuration(options: Record<string, unknown>): string {
  const compilerOptions = {
    target: 'ES2022',
    lib: ['ES2023', 'ESNext.Disposable'],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    verbatimModuleSyntax: true,
    skipLibCheck: false,
    typeRoots: [path.join(root, 'node_modules/@types')],
    types: ['node'],
    ...options,
  };
  return JSON.stringify({ compilerOptions, include: ['main.ts'] });
}

async function compile(options: Record<string, unknown>): Promise<void> {
  fs.writeFileSync(path.join(folder, 'tsconfig.json'), configuration(options));
  await run(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', '.']);
}

beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'netproxy-consumer-'));
  const pack = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], root);
  const [made] = JSON.parse(pack) as [{ filename: string; files: { path: string }[] }];
  packed = made.files.map((file) => file.path);
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "type": "module", "private": true }');
  fs.copyFileSync(path.join(root, 'test/project/consumer/main.ts'), path.join(folder, 'main.ts'));
  const quick = ['--prefer-offline', '--no-audit', '--no-fund'];
  await run('npm', ['install', '--ignore-scripts', '--omit=dev', ...quick, `./${made.filename}`]);
});

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

describe('the packed package', () => {
  it('holds what its users need', () => {
    expect(packed).toEqual(
      expect.arrayContaining([
        'LICENSE',
        'README.md',
        'CHANGELOG.md',
        'dist/index.js',
        'dist/index.d.ts',
        'dist/testing/index.js',
        'dist/api/index.d.ts',
        'dist/client/index.js',
        'dist/client/index.d.ts',
        'dist/testing/index.d.ts',
        'dist/cli/main.js',
        'dist/bundle/main.js',
        'dist/bundle/LICENSES.txt',
        'crates/vsock-bridge/Cargo.toml',
        'crates/vsock-bridge/Cargo.lock',
        'crates/vsock-bridge/src/lib.rs',
        'scripts/build-native.mjs',
      ]),
    );
  });

  it('holds nothing else', () => {
    const allowed =
      /^(LICENSE|README\.md|CHANGELOG\.md|package\.json|(dist|docs|scripts|crates\/vsock-bridge)\/.*)$/;
    expect(packed.filter((file) => !allowed.test(file))).toEqual([]);
    expect(packed.filter((file) => /\.(test|testutil)\.|\/target\/|node_modules|\.node$/.test(file))).toEqual(
      [],
    );
  });

  it('runs its command', async () => {
    const version = (
      JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }
    ).version;
    expect(await run(path.join(folder, 'node_modules/.bin/netproxy'), ['--version'])).toContain(version);
  });

  it('compiles in strict TypeScript, module resolution Bundler', async () => {
    await compile({ module: 'ESNext', moduleResolution: 'Bundler', noEmit: true });
  });

  it('compiles in strict TypeScript, module resolution NodeNext, and ends by itself', async () => {
    await compile({ module: 'NodeNext', moduleResolution: 'NodeNext' });
    const said = JSON.parse(await run(process.execPath, ['main.js'])) as object;
    expect(said).toEqual({ cycles: 200, left: 0, testing: true, client: true });
  });
});
