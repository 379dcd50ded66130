/**
 * The commands as few files: what Node reads and links at a start is what a start costs (some 570 modules: 520 ms until ready;
 * bundled: 200 ms). The compiled modules stay beside it for those who import netproxy, and as what the bundle is made from.
 */
import fs from 'node:fs';
import path from 'node:path';

/** Commands, each a file of dist/cli. */
export const COMMANDS = ['main', 'gvproxy'];
/** Loaded where they are needed, or not made for it. */
const APART = ['yaml', 'quickjs-wasi'];

/** The folders of the packages that modules come from. */
function packagesOf(modules) {
  const found = new Set();
  for (const module of modules) {
    const at = module.lastIndexOf('/node_modules/');
    if (at < 0) continue;
    const [scope, name] = module.slice(at + '/node_modules/'.length).split('/');
    const folder = scope.startsWith('@') ? `${scope}/${name}` : scope;
    found.add(`${module.slice(0, at)}/node_modules/${folder}`);
  }
  return [...found].sort();
}

/** The licenses of what was taken in: they ask to be passed on. */
function licenses(folders) {
  return folders.map((folder) => {
    const { name, version, license } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
    const file = fs.readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? '' : fs.readFileSync(path.join(folder, file), 'utf8').trim();
    return `${name} ${version} (${license})\n\n${text}\n`;
  });
}

/**
 * Bundles the commands (files of `dist`/cli) of a compiled tree in `dist`/bundle and lets them lead there. Rejects where the bundler cannot be
 * loaded or fails; then the tree is as it was, and runs as well, only that it starts later.
 */
export async function bundleCommands(dist, commands) {
  if (commands.length === 0) return;
  const { rolldown } = await import('rolldown');
  const folder = path.join(dist, 'bundle');
  const build = await rolldown({
    input: Object.fromEntries(commands.map((file) => [path.basename(file, '.js'), file])),
    platform: 'node',
    external: APART,
    logLevel: 'silent',
  });
  try {
    // import.meta.url of all files is two folders below the package, as that of the modules they are made from.
    const { output } = await build.write({
      dir: folder,
      format: 'esm',
      entryFileNames: '[name].js',
      chunkFileNames: '[name]-[hash].js',
    });
    const taken = packagesOf(output.flatMap((chunk) => chunk.moduleIds ?? []));
    fs.writeFileSync(path.join(folder, 'LICENSES.txt'), licenses(taken).join(`\n${'-'.repeat(80)}\n\n`));
    for (const file of commands) {
      fs.writeFileSync(
        file,
        `#!/usr/bin/env node\n/** The command, bundled; its modules begin at start.js. */\nimport '../bundle/${path.basename(file)}';\n`,
      );
    }
  } catch (error) {
    fs.rmSync(folder, { recursive: true, force: true });
    throw error;
  } finally {
    await build.close();
  }
}
