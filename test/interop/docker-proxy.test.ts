/** `netproxy docker-proxy` as dockerd starts it: descriptor 3, signals, exit codes; the port API is a plain HTTP server. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { within } from '../support/deadline.js';
import { Proc } from '../support/process.js';
import { CLI, requireBuild, requirements } from '../support/requirements.js';

const ready = requirements('docker-proxy', requireBuild());

describe.runIf(ready)('docker-proxy', () => {
  it('says 0 and stays until SIGTERM, or says 1 with the reason', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'np-docker-'));
    const asked: string[] = [];
    const server = createServer((request, response) => {
      let body = '';
      request
        .on('data', (chunk) => (body += String(chunk)))
        .on('end', () => {
          asked.push(`${request.method} ${request.url} ${body}`);
          response.statusCode = body.includes('8081') ? 400 : 200;
          response.end(response.statusCode === 200 ? '' : '{"message":"port is already allocated"}');
        });
    });
    const start = (port: number): { proc: Proc; said: Promise<string> } => {
      const flags = ['-control-pipe', join(folder, 'api'), '-proto', 'tcp', '-host-ip', '127.0.0.1'];
      const rest = ['-host-port', String(port), '-container-ip', '172.17.0.2', '-container-port', '80'];
      const proc = new Proc([process.execPath, CLI, 'docker-proxy', ...flags, ...rest], { extra: ['pipe'] });
      let text = '';
      const pipe = proc.pipe(3).setEncoding('utf8');
      pipe.on('data', (chunk: string) => (text += chunk));
      const ended = new Promise<string>((resolve) => void pipe.once('end', () => resolve(text)));
      return { proc, said: within(60_000, () => proc.describe(), ended) };
    };
    try {
      await new Promise<void>((resolve) => server.listen(join(folder, 'api'), resolve));
      const good = start(8080);
      expect(await good.said).toBe('0\n');
      expect(good.proc.ended).toBeUndefined();
      expect(await good.proc.kill('SIGTERM')).toEqual({ code: 0, signal: null });
      const port = '{"proto":"tcp","out_ip":"127.0.0.1","out_port":8080,"in_ip":"172.17.0.2","in_port":80}';
      expect(asked).toEqual([`PUT /forwards/expose/port ${port}`, `DELETE /forwards/unexpose/port ${port}`]);
      const bad = start(8081);
      expect(await bad.said).toBe('1\nport is already allocated');
      expect(await bad.proc.waitExit(60_000)).toEqual({ code: 1, signal: null });
    } finally {
      server.close();
      rmSync(folder, { recursive: true, force: true });
    }
  }, 180_000);
});
