/** `netproxy docker` as people use it: the real docker on the host, an engine of the tests' own behind a port of a kernel guest. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Transform, pipeline } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MockEngine, framed } from '../../src/compat/docker/mock-engine.testutil.js';
import { count } from '../support/counts.js';
import { until } from '../support/deadline.js';
import type { ExecResult, Proc } from '../support/process.js';
import { CLI } from '../support/requirements.js';
import { digestOf, pieces } from './bytes.mjs';
import { Lab } from './lab.js';
import type { Netproxy } from './netproxy.js';
import { GUEST, scenarioReady, serveTap } from './scenario.js';

const ready = scenarioReady('netproxy docker', 'docker', 'curl', 'socat');
const MIB = 1 << 20;

describe.runIf(ready)('docker', () => {
  let lab: Lab;
  let engine: MockEngine;
  let netproxy: Netproxy;
  let socket: string;

  /** The engine's port of the guest, which leads to the engine in this process. */
  async function startGuest(...args: string[]): Promise<void> {
    netproxy = await serveTap(lab, args);
    await lab.dhcp();
    const relay = `UNIX-CONNECT:${lab.path('engine')}`;
    lab.spawn(lab.guest, ['socat', '-t', '60', 'TCP-LISTEN:2375,fork,reuseaddr,backlog=64', relay]);
    await until(30_000, 'the port of the engine', async () =>
      (await lab.check(lab.guest, ['ss', '-Hltn', 'sport', '= 2375'])).includes(':2375'),
    );
    // What a container's port leads to.
    await lab.serve({ web: { kind: 'http', address: '0.0.0.0', port: 8080 } }, lab.guest);
  }

  beforeEach(async () => {
    lab = await Lab.create();
    engine = new MockEngine();
    engine.stdin = (stream) => {
      const framing = new Transform({
        transform: (chunk: Buffer, _encoding, done) => done(null, framed(1, chunk)),
      });
      pipeline(stream, framing, stream, () => undefined);
    };
    await engine.listen(lab.path('engine'));
    socket = lab.path('docker.sock');
    mkdirSync(lab.path('home'));
  });

  afterEach(async () => {
    await lab?.destroy();
    await engine?.close();
  });

  const docker = (args: readonly string[], input?: Buffer): Promise<ExecResult> =>
    lab.exec(lab.host, ['docker', '-H', `unix://${socket}`, ...args], {
      env: { HOME: lab.path('home'), DOCKER_CONFIG: lab.path('home'), DOCKER_BUILDKIT: '0' },
      timeoutMs: 100_000,
      ...(input === undefined ? {} : { input }),
    });
  const curl = (url: string): Promise<ExecResult> =>
    lab.exec(lab.host, ['curl', '-sS', '-m', '30', '-g', url]);
  const refused = (url: string): Promise<boolean> => curl(url).then(({ code }) => code === 7);

  it('runs, lists, logs and ends containers, whose ports come and go', async () => {
    await startGuest('--docker-guest-sock', `tcp:${GUEST}:2375`, '--docker-listen', socket);
    expect(await docker(['run', '-d', '--name', 'web', '-p', '8080:80', 'nginx'])).toMatchObject({ code: 0 });
    for (const host of ['127.0.0.1', '198.18.0.1', '[::1]'])
      expect((await curl(`http://${host}:8080/`)).stdout).toContain('hello');
    expect((await docker(['ps', '--format', '{{.Names}} {{.Ports}}'])).stdout).toMatch(
      /^web 0\.0\.0\.0:8080->80\/tcp, (\[::\]|::):8080->80\/tcp\n$/,
    );
    const list = await lab.check(lab.host, [process.execPath, CLI, 'docker', 'ports', socket, '--json']);
    expect(JSON.parse(list)).toMatchObject({ name: 'web', host: '*', port: 8080, state: 'published' });
    engine.logs = ['one\n', 'two\n'];
    expect((await docker(['logs', '-f', 'web'])).stdout).toBe('one\ntwo\n');
    expect(await docker(['rm', '-f', 'web'])).toMatchObject({ code: 0 });
    await until(30_000, 'the port to go', () => refused('http://127.0.0.1:8080/'));
  });

  it('says whose port it is, and starts nothing', async () => {
    await startGuest('--docker-guest-sock', `tcp:${GUEST}:2375`, '--docker-listen', socket);
    await lab.serve({ other: { kind: 'http', address: '0.0.0.0', port: 8080 } });
    const { code, stderr } = await docker(['run', '--name', 'web', '-p', '8080:80', 'nginx']);
    expect(stderr).toMatch(
      /Error response from daemon: Ports are not available: listen tcp 0\.0\.0\.0:8080: address already in use \(.+, pid \d+\)/,
    );
    expect(code).toBe(125);
    expect((await docker(['ps', '-aq'])).stdout).not.toBe('');
    expect(engine.find('web')?.running).toBe(false);
    expect(engine.requests.filter((line) => line.endsWith('/start'))).toEqual([]);
  });

  it('carries streams and uploads byte by byte, and keeps nothing of them', async () => {
    await startGuest('--docker-guest-sock', `tcp:${GUEST}:2375`, '--docker-listen', socket);
    await docker(['run', '-di', '--name', 'web', 'nginx']);
    const size = count(2 * MIB, 32 * MIB);
    const input = Buffer.concat([...pieces(size)]);
    writeFileSync(lab.path('in'), input);
    // A file for what comes back: text in a variable would not be these bytes.
    for (const command of ['exec -i web cat', 'attach --sig-proxy=false web', 'run -i nginx cat']) {
      const line = `docker -H unix://${socket} ${command} < ${lab.path('in')} > ${lab.path('out')}`;
      await lab.check(lab.host, ['sh', '-c', line], {
        env: { HOME: lab.path('home'), DOCKER_CONFIG: lab.path('home') },
        timeoutMs: 100_000,
      });
      expect(
        createHash('sha256')
          .update(readFileSync(lab.path('out')))
          .digest('hex'),
      ).toBe(digestOf(size));
    }

    const before = netproxy.rssKiB();
    const upload = count(16 * MIB, 1024 * MIB);
    await lab.check(lab.host, ['sh', '-c', `yes netproxy | head -c ${upload} > ${lab.path('image')}`], {
      timeoutMs: 100_000,
    });
    const sum = (await lab.check(lab.host, ['sha256sum', lab.path('image')], { timeoutMs: 100_000 })).slice(
      0,
      64,
    );
    expect((await docker(['load', '-i', lab.path('image')])).code).toBe(0);
    expect(engine.uploads.at(-1)).toEqual({ size: upload, digest: sum });
    mkdirSync(lab.path('context'));
    writeFileSync(lab.path('context/Dockerfile'), 'FROM scratch\n');
    writeFileSync(lab.path('context/data'), input);
    const built = await docker(['build', '-t', 'x', lab.path('context')]);
    expect(built.stdout).toContain('Successfully built');
    expect(engine.uploads.at(-1)?.size).toBeGreaterThan(size);
    expect(netproxy.rssKiB() - before).toBeLessThan(192 * 1024);
  });

  it('works beside a netproxy that runs already, which outlives it', async () => {
    await startGuest('--services', `unix:${lab.path('api')}`);
    const argv = [process.execPath, CLI, 'docker', '--guest-sock', `tcp:${GUEST}:2375`, '--listen', socket];
    const beside = async (): Promise<Proc> => {
      const proc = lab.spawn(lab.host, [...argv, '--api', `unix:${lab.path('api')}`], {
        label: 'netproxy docker',
      });
      await proc.waitFor(/the engine is there/, 60_000, 'stderr');
      return proc;
    };
    const first = await beside();
    expect(await docker(['run', '-d', '--name', 'web', '-p', '127.0.0.1:8080:80', 'nginx'])).toMatchObject({
      code: 0,
    });
    expect((await curl('http://127.0.0.1:8080/')).stdout).toContain('hello');
    // What one that was killed left is the next one's.
    await first.kill('SIGKILL');
    const second = await beside();
    const ports = (): Promise<string> =>
      lab.check(lab.host, [process.execPath, CLI, 'docker', 'ports', socket]);
    await until(30_000, 'the port', async () => (await ports()).includes('published'));
    expect((await curl('http://127.0.0.1:8080/')).stdout).toContain('hello');
    expect(await second.kill('SIGTERM')).toMatchObject({ code: 0 });
    expect(await refused('http://127.0.0.1:8080/')).toBe(true);
  });
});
