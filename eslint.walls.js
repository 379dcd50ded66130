/**
 * The import walls of src/, as one table and the lint rule made from it.
 *
 * A folder may import from the tiers above its own, only through their index.ts, and only the Node modules that
 * its row allows. What it needs from below is handed in through an interface that it declares itself.
 * test/project/walls.test.ts shows that breaking a wall fails the lint.
 */
import path from 'node:path';

/** The order of src/, from the top down. Folders of one tier do not know each other. */
export const TIERS = [
  ['core'],
  ['ethernet'],
  ['arp', 'ipv4', 'ipv6'],
  ['icmp', 'udp'],
  ['tcp'],
  ['stack'],
  ['policy'],
  ['dhcp', 'dns', 'sntp', 'httpproxy', 'forwarder'],
  ['host'],
  ['link'],
  ['native'],
  ['observe'],
  // The glue: one network of all the parts above.
  ['network'],
  ['config'],
  // src/index.ts, the library; then what is built on it.
  ['index'],
  ['testing'],
  ['api'],
  ['client'],
  // Command lines and APIs of other programs, in front of the library.
  ['compat'],
  ['cli'],
];

/** Folders without I/O, clock, randomness or timers: all of that comes from outside. */
export const PURE = TIERS.slice(
  0,
  TIERS.findIndex((tier) => tier.includes('host')),
).flat();

/** Node modules that a pure folder may use nevertheless: streams and the HTTP parser do no I/O of their own. */
const PURE_MAY = { stack: ['stream'], dns: ['stream'], forwarder: ['stream'], httpproxy: ['stream', 'http'] };

const SOCKETS = ['net', 'dgram', 'dns', 'tls', 'http', 'https', 'http2'];
const THREADS = ['child_process', 'cluster', 'worker_threads'];

/** Node modules that a folder with I/O must not use. host/ alone may use them all. */
const IMPURE_MAY_NOT = {
  host: [],
  link: ['dgram', 'dns', ...THREADS],
  native: ['child_process', 'cluster', 'tls', 'http', 'https', 'http2'],
  observe: [...SOCKETS, ...THREADS],
  network: ['dgram', 'dns', ...THREADS],
  config: [...SOCKETS, ...THREADS],
  index: ['dgram', 'dns', ...THREADS],
  testing: [...SOCKETS, ...THREADS],
  api: ['dgram', 'dns', ...THREADS],
  client: ['dgram', 'dns', ...THREADS],
  compat: ['dgram', 'dns', 'cluster', 'worker_threads'],
  cli: ['dgram', 'dns', 'cluster', 'worker_threads'],
};

/** Globals that read a clock, arm a timer, draw randomness or reach outside. */
const IMPURE_GLOBALS = [
  'process',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'performance',
  'crypto',
  'fetch',
  'WebSocket',
  'console',
  'require',
];

const tierOf = new Map(TIERS.flatMap((names, tier) => names.map((name) => [name, tier])));

/** Splits an absolute path into the part of src/ that it lies in and the rest; undefined outside src/. */
function place(file, src) {
  const relative = path.relative(src, file);
  if (relative.startsWith('..') || path.isAbsolute(relative)) return undefined;
  const [first, ...rest] = relative.split(path.sep);
  return rest.length === 0
    ? { folder: first.replace(/\.[jt]s$/, ''), inside: '' }
    : { folder: first, inside: rest.join('/') };
}

/** Says why `from` (a folder of src/) may not import the Node module `name`, or undefined where it may. */
function judgeNodeModule(from, name) {
  const module = name.replace(/^node:/, '').split('/')[0];
  if (PURE.includes(from)) {
    return PURE_MAY[from]?.includes(module)
      ? undefined
      : `${from} does no I/O: node:${module} must come in through an interface`;
  }
  return IMPURE_MAY_NOT[from]?.includes(module)
    ? `${from} must not use node:${module}: host/ does, behind an interface`
    : undefined;
}

/** Says why `from` may not import the file that lies at `target`, or undefined where it may. */
function judgeFolder(from, target) {
  if (target.folder === from) return undefined;
  if (!tierOf.has(target.folder)) return `src/${target.folder} has no row in eslint.walls.js`;
  if (tierOf.get(target.folder) >= tierOf.get(from)) {
    return `${from} stands above or beside ${target.folder} and must not import it: hand it in through an interface`;
  }
  if (target.inside !== '' && target.inside !== 'index.js') {
    return `import ../${target.folder}/index.js: the other files of ${target.folder} are private`;
  }
  return undefined;
}

/** @type {import('eslint').Rule.RuleModule} */
const imports = {
  meta: { type: 'problem', schema: [], messages: { wall: 'Import wall: {{why}}.' } },
  create(context) {
    const src = path.join(context.cwd, 'src');
    const here = place(context.filename, src);
    if (!here) return {};
    const check = (node) => {
      if (node?.type !== 'Literal' || typeof node.value !== 'string') return;
      const name = node.value;
      let why;
      if (!tierOf.has(here.folder)) why = `src/${here.folder} has no row in eslint.walls.js`;
      else if (name.startsWith('node:')) why = judgeNodeModule(here.folder, name);
      else if (name.startsWith('.')) {
        const target = place(path.resolve(path.dirname(context.filename), name), src);
        why = target ? judgeFolder(here.folder, target) : 'src must not import from outside src';
      } else if (name === 'netproxy' || name.startsWith('netproxy/'))
        why = 'src imports its own files by path';
      if (why) context.report({ node, messageId: 'wall', data: { why } });
    };
    return {
      ImportDeclaration: (node) => check(node.source),
      ExportNamedDeclaration: (node) => check(node.source),
      ExportAllDeclaration: (node) => check(node.source),
      ImportExpression: (node) => check(node.source),
      TSImportType: (node) => check(node.source),
    };
  },
};

/**
 * The flat configuration: walls for all of src/, and no clock, timer or randomness in the pure folders.
 *
 * @type {import('eslint').Linter.Config[]}
 */
export const walls = [
  {
    files: ['src/**/*.ts'],
    ignores: ['src/**/*.test.ts', 'src/**/*.testutil.ts'],
    plugins: { walls: { rules: { imports } } },
    rules: { 'walls/imports': 'error' },
  },
  {
    files: PURE.map((name) => `src/${name}/**/*.ts`),
    ignores: ['src/**/*.test.ts', 'src/**/*.testutil.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        ...IMPURE_GLOBALS.map((name) => ({
          name,
          message: 'Import wall: it must come from outside this folder.',
        })),
      ],
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: 'Import wall: time is an argument here.' },
        { object: 'Math', property: 'random', message: 'Import wall: randomness is an argument here.' },
      ],
      'no-restricted-syntax': [
        'error',
        {
          selector: 'NewExpression[callee.name="Date"][arguments.length=0]',
          message: 'Import wall: time is an argument here.',
        },
        {
          selector: 'MemberExpression[object.name="globalThis"]',
          message: 'Import wall: no way round by globalThis.',
        },
      ],
    },
  },
];
