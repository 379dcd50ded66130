/**
 * The layout of the sources: every folder of src/ has its index and its row in the walls, and no file grows long.
 */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { TIERS } from '../../eslint.walls.js';

const root = path.resolve(import.meta.dirname, '../..');
const LONGEST = 400;

const isTest = (file: string): boolean => /\.(test|testutil)\.ts$/.test(file);

/** All files of a folder of the checkout with one of the extensions, relative to the checkout. */
function files(folder: string, ...extensions: string[]): string[] {
  const top = path.join(root, folder);
  if (!fs.existsSync(top)) return [];
  return fs
    .readdirSync(top, { recursive: true, encoding: 'utf8' })
    .map((file) => path.join(folder, file))
    .filter((file) => extensions.includes(path.extname(file)) && !/(^|\/)(target|node_modules)\//.test(file));
}

const folders = fs
  .readdirSync(path.join(root, 'src'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

describe('layout', () => {
  it.each(folders)('src/%s has a row in the walls and an index', (folder) => {
    expect(TIERS.flat()).toContain(folder);
    expect(fs.existsSync(path.join(root, 'src', folder, 'index.ts'))).toBe(true);
  });

  it('an index only re-exports', () => {
    const busy = folders.filter((folder) => {
      const index = path.join(root, 'src', folder, 'index.ts');
      const text = fs.existsSync(index) ? fs.readFileSync(index, 'utf8') : '';
      const code = text
        .replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
        .replaceAll(/export\s[^;]*?from\s*'[^']*';/g, '');
      return code.trim() !== '';
    });
    expect(busy).toEqual([]);
  });

  it('only modules two folders below the package look from where they stand, as their bundle does', () => {
    const elsewhere = files('src', '.ts')
      .filter(
        (file) => !isTest(file) && fs.readFileSync(path.join(root, file), 'utf8').includes('import.meta'),
      )
      .filter((file) => file.split(path.sep).length !== 3);
    expect(elsewhere).toEqual([]);
  });

  it(`no source file is longer than ${LONGEST} lines`, () => {
    const sources = [
      ...files('src', '.ts').filter((file) => !isTest(file)),
      ...files('crates', '.rs'),
      ...files('scripts', '.mjs'),
      ...files('bench', '.ts', '.mjs'),
      ...files('examples', '.ts', '.mjs', '.js'),
    ];
    const long = sources
      .map((file) => ({ file, lines: fs.readFileSync(path.join(root, file), 'utf8').split('\n').length - 1 }))
      .filter(({ lines }) => lines > LONGEST)
      .map(({ file, lines }) => `${file}: ${lines}`);
    expect(long).toEqual([]);
  });

  it('the lock file names no registry', () => {
    const lock = JSON.parse(fs.readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { resolved?: string }>;
    };
    expect(Object.values(lock.packages).filter((entry) => entry.resolved !== undefined)).toEqual([]);
  });
});
