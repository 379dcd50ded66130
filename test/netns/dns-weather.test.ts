/** DNS in bad weather: name servers that are all silent and come back, settings that change under load. */
import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { count } from '../support/counts.js';
import { requireTool, requirements } from '../support/requirements.js';
import { Lab } from './lab.js';
import { scenarioReady } from './scenario.js';

const ready = scenarioReady('dns-weather') && requirements('dns-weather', requireTool('python3'));

const GATEWAY = '192.168.127.1';

/** A name server at an address: silent until a line comes on its standard input, then it gives every name its own address. */
const SERVER = `
import select, socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
s.bind((sys.argv[1], 53))
talks = sys.argv[2] == 'talks'
asked = False
print('bound', flush=True)
while True:
    for ready in select.select([s, sys.stdin] if not talks else [s], [], [])[0]:
        if ready is sys.stdin:
            sys.stdin.readline()
            talks = True
            continue
        query, who = s.recvfrom(4096)
        if not asked: print('asked', flush=True)
        asked = True
        if not talks: continue
        end = query.index(0, 12) + 5
        answer = b'\\xc0\\x0c' + struct.pack('>HHIH', 1, 1, 60, 4) + socket.inet_aton(sys.argv[1])
        s.sendto(query[:2] + struct.pack('>HHHHH', 0x8180, 1, 1, 0, 0) + query[12:end] + answer, who)
`;

/**
 * \`load RATE SECONDS\`: asks for other names at a rate and says how many of the questions were answered, by rcode.
 * \`wait\`: asks until there is an address; how long that took.
 */
const CLIENT = `
import json, select, socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
s.connect(('${GATEWAY}', 53))
s.setblocking(False)
def query(number):
    label = ('%s%d' % (sys.argv[1], number)).encode()
    name = bytes([len(label)]) + label + b'\\x04test\\0'
    return struct.pack('>HHHHHH', number & 0xffff, 0x100, 1, 0, 0, 0) + name + b'\\0\\x01\\0\\x01'
def take(rcodes, open):
    while True:
        try: answer = s.recv(4096)
        except BlockingIOError: return
        number = int(answer[13:13 + answer[12]][len(sys.argv[1]):])
        if open.pop(number, None) is None: continue
        rcodes[answer[3] & 15] = rcodes.get(answer[3] & 15, 0) + 1
rcodes, open = {}, {}
began = time.monotonic()
if sys.argv[1] == 'wait':
    number = 0
    while rcodes.get(0, 0) == 0 and number < 1000:
        open[number] = True
        s.send(query(number))
        number += 1
        select.select([s], [], [], 0.05)
        take(rcodes, open)
    print(json.dumps({'ms': (time.monotonic() - began) * 1000, 'rcodes': rcodes}))
else:
    rate, seconds = int(sys.argv[2]), int(sys.argv[3])
    sent = 0
    while sent < rate * seconds:
        due = min(int((time.monotonic() - began) * rate) + 1, rate * seconds)
        while sent < due:
            open[sent] = True
            s.send(query(sent))
            sent += 1
            take(rcodes, open)
        select.select([s], [], [], 0.001)
        take(rcodes, open)
    ended = time.monotonic()
    while open and time.monotonic() < ended + 20:
        select.select([s], [], [], 0.1)
        take(rcodes, open)
    print(json.dumps({'sent': sent, 'open': len(open), 'rcodes': rcodes}))
`;

interface Load {
  readonly sent: number;
  readonly open: number;
  readonly rcodes: Readonly<Record<string, number>>;
}

describe.runIf(ready)('DNS', () => {
  let lab: Lab;

  beforeEach(async () => {
    lab = await Lab.create();
  });

  afterEach(async () => {
    await lab?.destroy();
  });

  const nameServer = async (address: string, how: 'talks' | 'silent') => {
    const server = lab.spawn(lab.host, ['python3', '-c', SERVER, address, how]);
    await server.waitFor(/bound/, 10_000);
    return server;
  };
  const resolvConf = (...servers: string[]): void =>
    writeFileSync(
      `/etc/netns/${lab.host}/resolv.conf`,
      servers.map((server) => `nameserver ${server}\n`).join(''),
    );
  const client = async <T>(...args: string[]): Promise<T> => {
    const out = await lab.check(lab.guest, ['python3', '-c', CLIENT, ...args], { timeoutMs: 60_000 });
    return JSON.parse(out) as T;
  };

  it('answers everybody while all name servers are silent, and goes on when one is back', async () => {
    resolvConf('127.0.0.1');
    const server = await nameServer('127.0.0.1', 'silent');
    const netproxy = await lab.startNetproxy([
      'serve',
      '--tap',
      'tap0',
      '--netns',
      `/run/netns/${lab.guest}`,
    ]);
    await lab.dhcp();
    await client<Load>('warm', '500', '1');
    const before = netproxy.rssKiB();
    const { sent, open, rcodes } = await client<Load>(
      'load',
      String(count(1000, 10_000)),
      String(count(4, 12)),
    );
    const grown = (netproxy.rssKiB() - before) / 1024;
    expect(open).toBe(0);
    // SERVFAIL; REFUSED where the guest has too many on the way.
    expect((rcodes[2] ?? 0) + (rcodes[5] ?? 0)).toBe(sent);
    expect(rcodes[2]! / sent).toBeGreaterThan(0.5);
    expect(grown).toBeLessThan(40);
    server.child.stdin!.write('talk\n');
    const back = await client<{ readonly ms: number }>('wait');
    expect(back.ms).toBeLessThan(2000);
    console.log(
      `all silent: ${JSON.stringify(rcodes)}, ${grown.toFixed(1)} MiB more; back in ${back.ms.toFixed(0)} ms`,
    );
  });

  it('starts without any name server, answers its own names and recovers', async () => {
    resolvConf();
    await lab.startNetproxy(['serve', '--tap', 'tap0', '--netns', `/run/netns/${lab.guest}`]);
    await lab.dhcp();
    const none = await client<Load>('none', '10', '1');
    expect(none).toMatchObject({ open: 0, rcodes: { 2: 10 } });
    const own = await lab.check(lab.guest, ['dig', '+short', '@' + GATEWAY, 'gateway.docker.internal']);
    expect(own.trim()).toBe(GATEWAY);
    await nameServer('127.0.0.1', 'talks');
    resolvConf('127.0.0.1');
    const back = await client<{ readonly ms: number }>('wait');
    expect(back.ms).toBeLessThan(5000);
  });

  it('leaves nobody without an answer while the settings of the host change', async () => {
    resolvConf('127.0.0.1');
    const servers = [await nameServer('127.0.0.1', 'talks'), await nameServer('127.0.0.2', 'talks')];
    await lab.startNetproxy(['serve', '--tap', 'tap0', '--netns', `/run/netns/${lab.guest}`]);
    await lab.dhcp();
    let swaps = 0;
    const swapping = setInterval(() => {
      resolvConf(`127.0.0.${(++swaps % 2) + 1}`);
    }, 700);
    try {
      const { sent, open, rcodes } = await client<Load>('swap', '1000', String(count(5, 30)));
      expect(open).toBe(0);
      // The file may be read while it is empty: then nobody can be asked.
      expect((rcodes[0] ?? 0) / sent).toBeGreaterThan(0.9);
    } finally {
      clearInterval(swapping);
    }
    for (const server of servers) await server.waitFor(/asked/, 5000);
  });
});
