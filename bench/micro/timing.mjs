/** Timing loops: nanoseconds and bytes of JavaScript heap for one operation. */
import v8 from 'node:v8';

const used = () => v8.getHeapStatistics().used_heap_size;

/**
 * Runs `work(n)`, which does n operations, until its optimised form is there, then in `samples` equal pieces; the median
 * counts. Bytes come from a piece in which no collection ran: run with a large nursery and --expose-gc.
 *
 * @param {string} name
 * @param {(n: number) => void} work
 * @param {{ seconds?: number, samples?: number, bytes?: number }} [options] `bytes`: payload of one operation
 */
export function time(name, work, { seconds = 0.5, samples = 7, bytes } = {}) {
  let n = 16;
  for (;;) {
    const start = process.hrtime.bigint();
    work(n);
    const took = Number(process.hrtime.bigint() - start) / 1e9;
    if (took > seconds / samples) break;
    n = Math.max(n + 1, Math.min(n * 8, Math.ceil((n * seconds) / samples / Math.max(took, 1e-7) / 0.9)));
  }
  const spent = [];
  const allocated = [];
  for (let i = 0; i < samples; i++) {
    globalThis.gc?.();
    const before = used();
    const start = process.hrtime.bigint();
    work(n);
    spent.push(Number(process.hrtime.bigint() - start) / n);
    allocated.push((used() - before) / n);
  }
  const middle = (list) => list.sort((a, b) => a - b)[list.length >> 1];
  const ns = middle(spent);
  return {
    name,
    ns,
    heap: Math.max(0, middle(allocated)),
    ...(bytes === undefined ? {} : { gbps: (bytes * 8) / ns }),
  };
}
