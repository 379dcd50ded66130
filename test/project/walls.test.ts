/**
 * The import walls of eslint.walls.js: each way to break one fails the lint, each way that is allowed passes.
 * The files are virtual; only the walls are linted here, `npm run lint` does the rest.
 */
import path from 'node:path';
import { ESLint } from 'eslint';
import tseslint from 'typescript-eslint';
import { describe, expect, it } from 'vitest';
import { TIERS, walls } from '../../eslint.walls.js';

const root = path.resolve(import.meta.dirname, '../..');

const eslint = new ESLint({
  cwd: root,
  overrideConfigFile: true,
  overrideConfig: [{ files: ['**/*.ts'], languageOptions: { parser: tseslint.parser } }, ...walls],
});

/** The walls' complaints about one line of code in a file of src/. */
async function complaints(file: string, code: string): Promise<string[]> {
  const [result] = await eslint.lintText(`${code}\n`, { filePath: path.join(root, 'src', file) });
  return (result?.messages ?? []).map((message) => message.message);
}

describe('import walls', () => {
  it.each([
    ['a folder from above', 'tcp/receive.ts', "import { seqLt } from '../core/index.js';"],
    ['the own folder', 'tcp/congestion/reno.ts', "import { mss } from '../options.js';"],
    ['a sub-folder of its own', 'tcp/connection.ts', "import { reno } from './congestion/reno.js';"],
    ['an index from deeper down', 'link/vsock/sniff.ts', "import type { Clock } from '../../core/index.js';"],
    ['a package', 'dns/wire.ts', "import packet from 'dns-packet';"],
    ['sockets in host', 'host/dial.ts', "import net from 'node:net';"],
    ['sockets in link', 'link/qemu.ts', "import net from 'node:net';"],
    ['the HTTP parser in httpproxy', 'httpproxy/server.ts', "import http from 'node:http';"],
    ['the library in the command', 'cli/serve.ts', "import { createNetwork } from '../index.js';"],
    ['timers below host', 'link/faults.ts', 'setTimeout(() => {}, Date.now());'],
    ['anything in a test', 'tcp/receive.test.ts', "import { guest } from '../testing/guest.js';"],
  ])('allows %s', async (_what, file, code) => {
    expect(await complaints(file, code)).toEqual([]);
  });

  it.each([
    ['a folder from below', 'tcp/receive.ts', "import { dial } from '../host/index.js';", 'must not import'],
    ['a neighbour', 'dhcp/server.ts', "import { zone } from '../dns/index.js';", 'must not import'],
    ['a private file', 'tcp/receive.ts', "import { seqLt } from '../core/sequence.js';", 'private'],
    [
      'a private file, as a type',
      'tcp/receive.ts',
      "import type { Seq } from '../core/sequence.js';",
      'private',
    ],
    ['a re-export', 'core/index.ts', "export { tcp } from '../tcp/index.js';", 'must not import'],
    ['a star re-export', 'core/index.ts', "export * from '../tcp/index.js';", 'must not import'],
    ['a dynamic import', 'core/late.ts', "void import('../tcp/index.js');", 'must not import'],
    ['a type import', 'core/late.ts', "export type T = import('../tcp/index.js').T;", 'must not import'],
    ['the command in the library', 'index.ts', "import { main } from './cli/index.js';", 'must not import'],
    [
      'test tools in the library',
      'index.ts',
      "import { guest } from './testing/index.js';",
      'must not import',
    ],
    ['a folder without a row', 'misc/thing.ts', "import { a } from '../core/index.js';", 'no row'],
    ['a target without a row', 'cli/main.ts', "import { a } from '../misc/index.js';", 'no row'],
    ['files outside src', 'core/late.ts', "import { a } from '../../scripts/tools.mjs';", 'outside src'],
    ['itself by name', 'cli/main.ts', "import { createNetwork } from 'netproxy';", 'by path'],
    ['sockets in stack', 'stack/network.ts', "import net from 'node:net';", 'no I/O'],
    ['datagrams in dhcp', 'dhcp/server.ts', "import dgram from 'node:dgram';", 'no I/O'],
    ['files in core', 'core/late.ts', "import fs from 'node:fs/promises';", 'no I/O'],
    ['name lookups in link', 'link/qemu.ts', "import dns from 'node:dns';", 'must not use'],
    ['sockets in config', 'config/load.ts', "import net from 'node:net';", 'must not use'],
    ['the clock', 'tcp/timers.ts', 'export const now = () => Date.now();', 'time is an argument'],
    ['the date', 'tcp/timers.ts', 'export const now = () => new Date();', 'time is an argument'],
    ['randomness', 'tcp/isn.ts', 'export const isn = () => Math.random();', 'randomness is an argument'],
    ['timers', 'tcp/timers.ts', 'setTimeout(() => {}, 1);', 'from outside'],
    ['the process', 'dns/zone.ts', 'export const home = process.env.HOME;', 'from outside'],
    ['a way round', 'dns/zone.ts', 'export const f = globalThis.fetch;', 'globalThis'],
  ])('refuses %s', async (_what, file, code, why) => {
    const found = await complaints(file, code);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain('Import wall');
    expect(found[0]).toContain(why);
  });

  it('holds between every two tiers', async () => {
    const folders = TIERS.flat().filter((name) => name !== 'index');
    const broken = await Promise.all(
      TIERS.flatMap((tier, at) => tier.map((name) => ({ name, at })))
        .filter(({ name }) => name !== 'index')
        .map(async ({ name, at }) => {
          const code = folders.map((other) => `import '../${other}/index.js';`).join('\n');
          const refused = (await complaints(`${name}/some.ts`, code)).length;
          const beside = TIERS.slice(at)
            .flat()
            .filter((other) => other !== 'index' && other !== name).length;
          return refused === beside ? [] : [name];
        }),
    );
    expect(broken.flat()).toEqual([]);
  });

  it('is part of the configuration that `npm run lint` uses', async () => {
    const config = (await new ESLint({ cwd: root }).calculateConfigForFile(
      path.join(root, 'src/core/late.ts'),
    )) as {
      rules: Record<string, unknown[]>;
    };
    expect(config.rules['walls/imports']?.[0]).toBe(2);
    expect(config.rules['no-restricted-globals']?.[0]).toBe(2);
  });
});
