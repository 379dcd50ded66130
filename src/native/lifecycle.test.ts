/** Nothing leaks: descriptors after many opens, worker threads that end in the middle, pollers that nobody closed. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { Rig, missingAddon, openDescriptors } from './addon.testutil.js';
import { READ, WRITE } from './constants.js';

const FILE = fileURLToPath(
  new URL(`../../crates/vsock-bridge/vsock-bridge.${process.platform}-${process.arch}.node`, import.meta.url),
);
const LOAD = `
  const addon = require(${JSON.stringify(FILE)});
  const ready = new Int32Array(64);
  const open = (onReady = () => {}) => {
    const poller = new addon.Poller(onReady, ready);
    const listener = poller.tcpListen('127.0.0.1', 0, 4, false);
    const client = poller.tcpConnect4(0x7f000001, poller.address(listener, false).port);
    poller.register(new Uint8Array(100000));
    return { poller, listener, client };
  };
`;

/** Runs a script in a Node process of its own; resolves with its exit code and output. */
async function node(script: string, ...flags: string[]): Promise<{ code: number | null; text: string }> {
  const child = spawn(process.execPath, [...flags, '-e', LOAD + script], { stdio: 'pipe' });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (text += String(data)));
  const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  clearTimeout(timer);
  return { code, text };
}

describe.skipIf(missingAddon())('native lifecycle', () => {
  it('leaves no descriptor after 10,000 opens and closes', async () => {
    const before = await openDescriptors();
    const rig = new Rig();
    const { poller } = rig;
    const listener = poller.tcpListen('127.0.0.1', 0, 128, false);
    const { port } = poller.address(listener, false)!;
    const path = `\0lifecycle-${process.pid}`;
    const unix = poller.unixListen(path, 64);
    const base = await openDescriptors();
    for (let i = 0; i < 10_000; i += 4) {
      const udp = poller.udpOpen('127.0.0.1', 0, false);
      const client = poller.unixConnect(path);
      const accepted = poller.accept(unix, 0);
      expect(Math.min(udp, client, accepted)).toBeGreaterThan(0);
      poller.streamToLink(accepted, 1, 0, 0, 0);
      for (const handle of [udp, client, accepted]) poller.closeHandle(handle);
      if (i % 100 === 0) {
        const tcp = poller.tcpConnect4(0x7f000001, port);
        await rig.wait(tcp, WRITE);
        await rig.wait(listener, READ);
        const server = poller.accept(listener, 0);
        poller.reset(tcp);
        poller.closeHandle(server);
      }
    }
    expect(poller.handleCount()).toBe(2);
    expect(await openDescriptors()).toBe(base);
    poller.close();
    expect(await openDescriptors()).toBe(before);
  }, 20_000);

  it('makes and closes 200 pollers', async () => {
    const before = await openDescriptors();
    for (let i = 0; i < 200; i++) {
      const rig = new Rig();
      rig.bytes(1000);
      rig.poller.udpOpen('127.0.0.1', 0, false);
      rig.poller.close();
      if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await new Promise((resolve) => setImmediate(resolve));
    expect(await openDescriptors()).toBe(before);
  });

  it('cleans up after worker threads, however they end', async () => {
    const before = await openDescriptors();
    for (const end of [
      'process.exit(0)',
      'open().poller.unref(), poller.unref()',
      'throw new Error("end")',
      '',
    ]) {
      for (let i = 0; i < 3; i++) {
        const code = `${LOAD} const { poller } = open(() => { ${end} }); postMessage('up');`;
        const worker = new Worker(
          code.replace('postMessage', "require('worker_threads').parentPort.postMessage"),
          {
            eval: true,
          },
        );
        worker.on('error', () => undefined);
        // Both awaited from the start: a worker that ends at once tells of its message and its end in one turn.
        const exited = new Promise((resolve) => worker.once('exit', resolve));
        await new Promise((resolve) => worker.once('message', resolve));
        if (end === '') await worker.terminate();
        await exited;
      }
    }
    expect(await openDescriptors()).toBeLessThanOrEqual(before);
  }, 20_000);

  it('keeps the process alive while it is referenced, and not longer', async () => {
    expect(await node('open().poller.unref()')).toEqual({ code: 0, text: '' });
    expect(await node('const { poller } = open(() => { poller.close(); console.log("closed"); });')).toEqual({
      code: 0,
      text: 'closed\n',
    });
    expect(await node('open(() => process.exit(3));')).toEqual({ code: 3, text: '' });
    const thrown = await node('open(() => { throw new Error("oops"); });');
    expect(thrown.code).toBe(1);
    expect(thrown.text).toContain('oops');
  });

  it('survives pollers and buffers that the garbage collector finds', async () => {
    const script = `
      for (let i = 0; i < 50; i++) { const { poller } = open(); poller.unref(); if (i % 2) poller.close(); }
      setImmediate(() => { gc(); setImmediate(() => { gc(); console.log('fine'); }); });
    `;
    expect(await node(script, '--expose-gc')).toEqual({ code: 0, text: 'fine\n' });
  });
});
