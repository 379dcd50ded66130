/** docs/configuration.md names every command, flag and key, and the example file is a good one. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { configJsonSchema } from '../config/index.js';
import { FakeTerminal, netproxy } from './cli.testutil.js';
import { createProgram } from './program.js';

const root = path.resolve(import.meta.dirname, '../..');
const text = readFileSync(path.join(root, 'docs/configuration.md'), 'utf8');

interface Node {
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly oneOf?: readonly Node[];
  readonly anyOf?: readonly Node[];
}

/** Every key of a schema, at any depth. */
function keys(node: Node): string[] {
  const own = Object.entries(node.properties ?? {}).flatMap(([key, child]) => [key, ...keys(child)]);
  const inner = [node.items, ...(node.oneOf ?? []), ...(node.anyOf ?? [])].flatMap((child) =>
    child === undefined ? [] : keys(child),
  );
  return [...own, ...inner];
}

describe('docs/configuration.md', () => {
  it('names every command and flag', () => {
    const program = createProgram(new FakeTerminal(), () => undefined);
    const words = program.commands.flatMap((command) => [
      command.name(),
      ...command.options.map((option) => option.long ?? ''),
    ]);
    expect(words.filter((word) => !text.includes(word))).toEqual([]);
  });

  it('names every key of the file', () => {
    const missing = keys(configJsonSchema() as Node).filter(
      (key) => !new RegExp(`[\`.]${key.replace('$', '\\$')}[\`.:\\s]`).test(text),
    );
    expect([...new Set(missing)]).toEqual([]);
  });
});

describe('examples/netproxy.yaml', () => {
  it('is accepted', async () => {
    expect(await netproxy('config', 'check', path.join(root, 'examples/netproxy.yaml'))).toMatchObject({
      code: 0,
    });
  });
});
