/**
 * The thread in which a proxy auto-config file runs: QuickJS in WebAssembly, which has nothing of Node. It is text, as the sources of
 * this program are no JavaScript where tests run them.
 *
 * It gets `{ id, url, host, known }`, `known` being addresses of names and, under the name '', our own; it answers `{ id, text }`,
 * `{ id, missing: NAME }` when the script asked for what is not known (then the question comes again), or `{ id, error, kind }`. Waiting
 * for names in here would hold up the other questions.
 */
export const PAC_WORKER = String.raw`
const { parentPort, workerData } = require('node:worker_threads');
const { engine, wasm, helpers, script, memory, stack, millis, longest } = workerData;

let vm, find, known = new Map(), missing, stop = Infinity;

const interrupted = () => missing !== undefined || performance.now() > stop;

const lookup = (name) => {
  const found = known.get(name);
  if (found !== undefined) return found;
  missing ??= name;
  throw new Error('not known yet');
};

const kindOf = (error) => {
  const text = String(error);
  if (/interrupted/.test(text) && performance.now() > stop) return 'time';
  return /out of memory|stack size|stack overflow/i.test(text) ? 'memory' : 'script';
};

const start = async () => {
  const { QuickJS } = await import(engine);
  // Loading may take as long as an answer; so may each answer.
  stop = performance.now() + millis;
  vm = await QuickJS.create({
    wasm,
    memoryLimit: memory,
    maxStackSize: stack,
    interruptHandler: interrupted,
    // It has no output.
    wasi: () => ({ fd_write: () => 8 }),
  });
  const offer = (name, work) =>
    vm.setProp(vm.global, name, vm.newFunction(name, (value) => vm.newString(work(value))));
  const textOf = (value) => (value === undefined ? 'undefined' : String(value.toString()).slice(0, longest));
  offer('dnsResolveEx', (host) => lookup(textOf(host).toLowerCase()));
  offer('myIpAddressEx', () => lookup(''));
  offer('alert', (value) => {
    if (missing === undefined) parentPort.postMessage({ alert: textOf(value).slice(0, 200) });
    return '';
  });
  vm.evalCode(helpers, 'helpers').dispose();
  vm.evalCode(script, 'proxy.pac').dispose();
  find = ['FindProxyForURL', 'FindProxyForURLEx']
    .map((name) => vm.global.getProp(name))
    .find((value) => value.isFunction);
  if (find === undefined) throw new Error('it has no function FindProxyForURL');
};

const ask = ({ url, host }) => {
  const values = [vm.newString(url), vm.newString(host)];
  try {
    const result = vm.callFunction(find, vm.undefined, ...values);
    try {
      if (missing !== undefined) return { missing };
      if (result.isNull || result.isUndefined) return { text: '' };
      if (!result.isString) return { error: 'its answer is no text', kind: 'script' };
      return { text: result.toString().slice(0, longest) };
    } finally {
      result.dispose();
    }
  } finally {
    for (const value of values) value.dispose();
  }
};

const ready = start().then(() => undefined, (error) => ({ error: String(error).slice(0, 200), kind: kindOf(error), fatal: true }));

parentPort.on('message', async (question) => {
  const { id } = question;
  const broken = await ready;
  if (broken !== undefined) {
    parentPort.postMessage({ id, ...broken });
    return;
  }
  known = question.known;
  missing = undefined;
  stop = performance.now() + millis;
  try {
    parentPort.postMessage({ id, ...ask(question) });
  } catch (error) {
    if (missing !== undefined) parentPort.postMessage({ id, missing });
    // What is not an exception of the script's comes from the engine, which is not whole any more then.
    else parentPort.postMessage({ id, error: String(error).slice(0, 200), kind: kindOf(error), fatal: error?.constructor?.name !== 'JSException' });
  }
});
`;
