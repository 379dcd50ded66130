/**
 * What the documentation says is true as far as a program can see: links lead somewhere, flags exist, examples compile.
 */
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { CLI, PROJECT, requireBuild, requirements } from '../support/requirements.js';

const execute = promisify(execFile);

interface Page {
  /** Relative to the checkout. */
  readonly name: string;
  readonly text: string;
}

function pagesIn(folder: string, recursive: boolean): string[] {
  if (!fs.existsSync(path.join(PROJECT, folder))) return [];
  return fs
    .readdirSync(path.join(PROJECT, folder), { recursive, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => path.join(folder, name));
}

function read(name: string): Page {
  return { name, text: fs.readFileSync(path.join(PROJECT, name), 'utf8') };
}

/** What users read: its flags and examples are ours to keep true. */
const userPages = ['README.md', 'CHANGELOG.md', ...pagesIn('docs', true), ...pagesIn('examples', true)].map(
  read,
);
const otherPages = ['CONTRIBUTING.md', 'SECURITY.md', 'test/README.md', 'bench/README.md'];
const allPages = [
  ...userPages,
  ...otherPages.filter((name) => fs.existsSync(path.join(PROJECT, name))).map(read),
];

/** Text between fences, with the language behind the opening one. */
function blocks({ text }: Page): { readonly language: string; readonly code: string }[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map((match) => ({
    language: match[1] ?? '',
    code: match[2] ?? '',
  }));
}

const prose = ({ text }: Page): string => text.replaceAll(/^```[\s\S]*?^```$/gm, '');

describe('links', () => {
  /** The anchors of a page's headings, as hosting services make them. */
  function anchors(page: Page): Set<string> {
    const headings = [...prose(page).matchAll(/^#+ +(.+)$/gm)].map((match) => match[1] ?? '');
    const plain = headings.map((heading) => heading.replaceAll(/\]\([^)]*\)|[`[\]]/g, ''));
    return new Set(
      plain.map((heading) =>
        heading
          .toLowerCase()
          .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
          .replaceAll(' ', '-'),
      ),
    );
  }

  function broken(page: Page, target: string): string | undefined {
    const [file = '', anchor] = target.split('#');
    const found = file === '' ? page.name : path.join(path.dirname(page.name), file);
    if (!fs.existsSync(path.join(PROJECT, found))) return `${page.name}: ${target} does not exist`;
    if (anchor === undefined || !found.endsWith('.md') || anchors(read(found)).has(anchor)) return undefined;
    return `${page.name}: ${target} names no heading`;
  }

  it.each(allPages)('of $name lead somewhere', (page) => {
    const targets = [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '');
    const relative = targets.filter((target) => !/^[a-z]+:/.test(target));
    expect(relative.flatMap((target) => broken(page, target) ?? [])).toEqual([]);
  });

  it('the index names every page', () => {
    const index = read('docs/README.md').text;
    const pages = pagesIn('docs', false).map((name) => path.basename(name));
    expect(pages.filter((name) => name !== 'README.md' && !index.includes(`(${name})`))).toEqual([]);
  });
});

describe('docs/behaviour.md', () => {
  const { text } = read('docs/behaviour.md');
  const ROOTS = [
    ['netns/', 'test/netns/'],
    ['vm/', 'test/vm/'],
    ['testing/', 'src/testing/'],
  ] as const;

  function found(name: string): string | undefined {
    const root = ROOTS.find(([short]) => name.startsWith(short));
    const full =
      root === undefined ? [name, `src/${name}`, `test/${name}`] : [name.replace(root[0], root[1])];
    return full.find((one) => fs.existsSync(path.join(PROJECT, one)));
  }

  it('names tests that are there', () => {
    const wrong: string[] = [];
    // A file, then any number of titles in quotes, each behind a ›.
    for (const [, name = '', titles = ''] of text.matchAll(
      /`([^` ]+\.(?:test|testutil)\.ts)`((?:,? › "[^"]+")*)/g,
    )) {
      const file = found(name);
      const source = file === undefined ? '' : read(file).text;
      if (file === undefined) wrong.push(name);
      for (const [, title = ''] of titles.matchAll(/"([^"]+)"/g))
        if (!source.includes(title)) wrong.push(`${name}: ${title}`);
    }
    expect(wrong).toEqual([]);
  });
});

describe('flags', () => {
  const COMMANDS = [
    'serve',
    'run',
    'demo',
    'doctor',
    'explain',
    'flows',
    'guests',
    'leases',
    'ports',
    'publish',
    'unpublish',
    'events',
    'capture',
    'stats',
    'policy list',
    'policy allow',
    'policy remove',
    'policy default',
    'policy log',
    'policy answer',
    'proxy set',
    'config openapi',
    'config schema',
    'config check',
    'docker',
    'docker ports',
    'gvproxy',
    'vpnkit',
    'docker-proxy',
    'bind-helper',
  ];

  /** Lines of shell with continued ones joined, without what stands behind a lone `--`. */
  function ourCommands(page: Page): string[] {
    const shell = blocks(page).filter(({ language }) => language === 'sh' || language === '');
    const lines = shell.flatMap(({ code }) => code.replaceAll('\\\n', ' ').split('\n'));
    const inline = [...prose(page).matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? '');
    return [...lines, ...inline].map((line) => line.split(/ -- | #/)[0]?.trim() ?? '');
  }

  function flagsOf(page: Page): string[] {
    const ours = ourCommands(page).filter((line) => /^(netproxy|npx netproxy|--[a-z])/.test(line));
    return ours.flatMap((line) => [...line.matchAll(/(?<![\w-])--[a-z][a-z-]*/g)].map((match) => match[0]));
  }

  const ready = requirements('flags in the documentation', requireBuild());

  it.runIf(ready)('all exist', async () => {
    const asked = ['', ...COMMANDS].map((command) =>
      execute(process.execPath, [CLI, ...command.split(' ').filter(Boolean), '--help']),
    );
    const help = (await Promise.all(asked)).map(({ stdout }) => stdout).join('\n');
    const known = new Set([...help.matchAll(/(?<![\w-])--[a-z][a-z-]*/g)].map((match) => match[0]));
    const unknown = userPages.flatMap((page) =>
      flagsOf(page)
        .filter((flag) => !known.has(flag))
        .map((flag) => `${page.name}: ${flag}`),
    );
    expect(unknown).toEqual([]);
  });
});

describe('examples', () => {
  const examples = new Map(
    userPages.flatMap((page) =>
      blocks(page)
        .filter(({ language }) => language === 'ts')
        // As files beside the sources, in memory: an example is a module, also one without imports.
        .map(({ code }, i) => [
          path.join(PROJECT, `${page.name.replaceAll('/', '-')}-${i + 1}.ts`),
          `${code}\nexport {};\n`,
        ]),
    ),
  );

  it('are there', () => expect(examples.size).toBeGreaterThan(5));

  it('compile', () => {
    const file = path.join(PROJECT, 'tsconfig.json');
    const raw = ts.readConfigFile(file, (name) => ts.sys.readFile(name)).config as object;
    const { options } = ts.parseJsonConfigFileContent({ ...raw, files: [] }, ts.sys, PROJECT);
    const host = ts.createCompilerHost(options);
    const sourceFile = host.getSourceFile.bind(host);
    host.fileExists = (name) => examples.has(name) || ts.sys.fileExists(name);
    host.readFile = (name) => examples.get(name) ?? ts.sys.readFile(name);
    host.getSourceFile = (name, version, ...rest) => {
      const text = examples.get(name);
      return text === undefined
        ? sourceFile(name, version, ...rest)
        : ts.createSourceFile(name, text, version, true);
    };
    const program = ts.createProgram([...examples.keys()], options, host);
    const wrong = [...examples.keys()].flatMap((name) => {
      const source = program.getSourceFile(name);
      const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
      return found.map(({ start = 0, messageText }) => {
        const line = (source?.getLineAndCharacterOfPosition(start).line ?? 0) + 1;
        return `${path.basename(name)}:${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
      });
    });
    expect(wrong).toEqual([]);
  });
});
