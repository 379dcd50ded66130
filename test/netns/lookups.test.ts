/** Names that only the C library can look up: calls that hang delay nobody else. */
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireAddon, requireTool, requirements } from '../support/requirements.js';
import { Lab } from './lab.js';
import { scenarioReady } from './scenario.js';

const ready = scenarioReady('lookups') && requirements('lookups', requireAddon(), requireTool('python3'));

const GATEWAY = '192.168.127.1';
const STUCK = 16;

/** A name server that is silent about addresses and answers everything else with a text. */
const SERVER = `
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 53))
print('bound', flush=True)
asked = set()
while True:
    query, who = s.recvfrom(4096)
    end = query.index(0, 12) + 5
    kind = struct.unpack('>H', query[end - 4:end - 2])[0]
    if kind in (1, 28):
        asked.add(query[12:end - 4])
        print('silent', len(asked), flush=True)
        continue
    answer = b'\\xc0\\x0c' + struct.pack('>HHIH', 16, 1, 60, 6) + b'\\x05relay'
    s.sendto(query[:2] + struct.pack('>HHHHH', 0x8180, 1, 1, 0, 0) + query[12:end] + answer, who)
`;

/** Asks for many addresses without waiting, then for what must not wait; prints how long each took. */
const CLIENT = `
import json, socket, struct, sys, time
def query(number, name, kind):
    labels = b''.join(bytes([len(l)]) + l.encode() for l in name.split('.'))
    return struct.pack('>HHHHHH', number, 0x100, 1, 0, 0, 0) + labels + b'\\0' + struct.pack('>HH', kind, 1)
def timed(number, name, kind):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(8)
    began = time.monotonic()
    s.sendto(query(number, name, kind), ('${GATEWAY}', 53))
    answer = s.recv(4096)
    return {'ms': (time.monotonic() - began) * 1000, 'rcode': answer[3] & 15, 'answers': answer[7]}
stuck = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(${STUCK}):
    stuck.sendto(query(i, 'stuck%d.lab.example' % i, 1), ('${GATEWAY}', 53))
time.sleep(0.5)
result = {'relayed': [timed(100 + i, 'text%d.lab.example' % i, 16) for i in range(5)],
          'cached': [timed(200 + i, 'text1.lab.example', 16) for i in range(5)],
          'builtin': [timed(300 + i, 'gateway.docker.internal', 1) for i in range(5)],
          'failed': []}
stuck.settimeout(15)
while len(result['failed']) < ${STUCK}:
    result['failed'].append(stuck.recv(4096)[3] & 15)
print(json.dumps(result))
`;

interface Timed {
  readonly ms: number;
  readonly rcode: number;
  readonly answers: number;
}

describe.runIf(ready)('names of the C library', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await Lab.create();
    const etc = (file: string, text: string): void => writeFileSync(`/etc/netns/${lab.host}/${file}`, text);
    // A module that DNS alone does not speak for: addresses are asked of the C library.
    etc('nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files nosuchmodule dns\n');
    etc('resolv.conf', 'nameserver 127.0.0.1\noptions timeout:10 attempts:2\n');
  });

  afterAll(async () => {
    await lab?.destroy();
  });

  it(`${STUCK} calls that hang delay neither relayed nor cached answers, and get SERVFAIL in time`, async () => {
    const server = lab.spawn(lab.host, ['python3', '-c', SERVER], { stdin: 'ignore' });
    await server.waitFor(/bound/, 10_000);
    const netns = `/run/netns/${lab.guest}`;
    const netproxy = await lab.startNetproxy(['serve', '--tap', 'tap0', '--netns', netns]);
    await lab.dhcp();
    const out = await lab.check(lab.guest, ['python3', '-c', CLIENT], { timeoutMs: 30_000 });
    const result = JSON.parse(out) as {
      readonly relayed: Timed[];
      readonly cached: Timed[];
      readonly builtin: Timed[];
      readonly failed: number[];
    };
    for (const { ms, rcode, answers } of [...result.relayed, ...result.cached, ...result.builtin]) {
      expect({ rcode, answers }).toEqual({ rcode: 0, answers: 1 });
      expect(ms).toBeLessThan(1000);
    }
    expect(result.failed).toEqual(Array.from({ length: STUCK }, () => 2));
    // Four threads, so four names were asked for; the others gave up in the queue.
    expect(server.stdout).toMatch(/silent 4\n/);
    expect(server.stdout).not.toMatch(/silent 5\n/);
    // Threads that hang hold nothing up.
    const exit = await netproxy.stop();
    expect(exit).toMatchObject({ code: 0, signal: null });
    expect(exit.ms).toBeLessThan(2_500);
    await server.kill('SIGKILL');
  }, 60_000);
});
