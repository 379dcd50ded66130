/** gvproxy's HTTP API: requests and the exact answers, on a network with a scripted guest. */
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { type Socket, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ask } from '../../api/api.testutil.js';
import { silentLogger } from '../../core/index.js';
import { type TestNetwork, realScheduler, testNetwork } from '../../testing/index.js';
import { gvproxyDropIn } from './drop-in.js';
import { parseGvproxy } from './flags.js';

const GUEST = '192.168.127.2';
const MAC = '5a:94:ef:e4:0c:ee';

let folder = '';
let lab: TestNetwork;
let stop: () => void | Promise<void>;
const at = (name: string): string => path.join(folder, name);

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'np-gv-'));
  const command = parseGvproxy(['-services', `unix://${at('api')}`, '-listen', `unix://${at('net')}`]);
  if (command.kind !== 'run') throw new TypeError(command.kind);
  const dropIn = gvproxyDropIn(command.settings);
  lab = await testNetwork({ dhcp: dropIn.config.dhcp }, { scheduler: realScheduler, guest: { mac: MAC } });
  await dropIn.begin(lab.network, silentLogger);
  await lab.network.listenLinks('connect', `unix://${at('net')}`);
  stop = () => dropIn.close();
});

afterEach(async () => {
  await stop();
  await lab.close();
  rmSync(folder, { recursive: true, force: true });
});

const call = (line: string, body?: string, door = 'api') => {
  const [method = '', where = ''] = line.split(' ');
  return ask({ socketPath: at(door), method, path: where }, body);
};
const post = (what: string, body: object | string) =>
  call(`POST /services/${what}`, typeof body === 'string' ? body : JSON.stringify(body));
const ALL = 'GET /services/forwarder/all';
const SSH = { local: '127.0.0.1:2222', remote: `${GUEST}:22`, protocol: 'tcp' };

describe('forwards', () => {
  it('are listed by local address and protocol, JSON with a newline', async () => {
    expect((await call(ALL)).text).toBe(`[${JSON.stringify(SSH)}]\n`);
    for (const [protocol, local] of [
      ['udp', ':53'],
      ['tcp', ':53'],
      ['tcp', '127.0.0.1:10'],
    ] as const) {
      const answer = await post('forwarder/expose', { local, remote: `${GUEST}:53`, protocol });
      expect(answer).toMatchObject({ status: 200, text: '' });
    }
    expect((await call(ALL)).body).toEqual([
      { local: '127.0.0.1:10', remote: `${GUEST}:53`, protocol: 'tcp' },
      SSH,
      { local: ':53', remote: `${GUEST}:53`, protocol: 'tcp' },
      { local: ':53', remote: `${GUEST}:53`, protocol: 'udp' },
    ]);
    expect(await post('forwarder/unexpose', { local: '127.0.0.1:2222' })).toMatchObject({
      status: 200,
      text: '',
    });
    expect((await call(ALL)).body).toHaveLength(3);
  });

  it('are an empty list, not null', async () => {
    await post('forwarder/unexpose', { local: '127.0.0.1:2222' });
    expect((await call(ALL)).text).toBe('[]\n');
  });

  it('lead into the guest: tcp on both families, and a unix socket', async () => {
    lab.guest.listen(80, (socket) => socket.end('hello'));
    await post('forwarder/expose', { local: ':8080', remote: `${GUEST}:80` });
    for (const host of ['0.0.0.0', '::'])
      expect(await readText(lab.host.connect(host, 8080) as unknown as Socket)).toBe('hello');
    const unix = { local: '/run/web.sock', remote: `tcp://${GUEST}:80`, protocol: 'unix' };
    expect(await post('forwarder/expose', unix)).toMatchObject({ status: 200 });
    expect(await readText(lab.host.connect('/run/web.sock', 0) as unknown as Socket)).toBe('hello');
  });

  it.each([
    ['', 400, 'EOF'],
    ['{', 400, 'invalid character in JSON'],
    ['[]', 400, 'json: cannot unmarshal array into Go value of type types.ExposeRequest'],
    [
      '{"local":1}',
      400,
      'json: cannot unmarshal number into Go struct field ExposeRequest.local of type string',
    ],
    ['{"remote":"192.168.127.2"}', 400, 'address 192.168.127.2: missing port in address'],
    ['{"remote":"a:b:80"}', 400, 'address a:b:80: too many colons in address'],
    ['{"remote":":80","local":":80"}', 400, 'address @: missing port in address'],
    ['{"remote":"192.168.127.2:x","local":":1"}', 500, 'strconv.ParseUint: parsing "x": invalid syntax'],
    [
      '{"remote":"192.168.127.2:70000","local":":1"}',
      500,
      'strconv.ParseUint: parsing "70000": value out of range',
    ],
    ['{"remote":"fish:80","local":":1"}', 500, 'invalid remote addr'],
    ['{"remote":"[::1]:80","local":":1"}', 500, 'invalid remote addr'],
    ['{"remote":"192.168.127.2:80","local":"80"}', 500, 'listen tcp: address 80: missing port in address'],
    [
      '{"remote":"192.168.127.2:80","local":"x.example:80"}',
      500,
      'listen tcp: lookup "x.example": no such host',
    ],
    ['{"remote":"192.168.127.2:80","local":":1","protocol":"sctp"}', 500, 'unknown protocol sctp'],
    [
      '{"LOCAL":"127.0.0.1:2222","remote":"192.168.127.2:1","x":1}',
      500,
      'proxy already running for tcp on 127.0.0.1:2222',
    ],
    [
      '{"remote":"http://192.168.127.2:80","local":"/run/x","protocol":"unix"}',
      500,
      'remote protocol for unix forwarder is not implemented: http',
    ],
  ])('expose %s', async (body, status, text) => {
    const answer = await post('forwarder/expose', body);
    expect(answer).toMatchObject({ status, text: `${text}\n` });
    expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
    expect((await call(ALL)).body).toEqual([SSH]);
  });

  it.each([
    ['ssh-tunnel://core@192.168.127.2/run/x', 'key not provided for unix-ssh connection'],
    ['ssh-tunnel://core@192.168.127.2?key=/k', 'remote uri must contain a path to a socket file'],
    ['ssh-tunnel://core@192.168.127.2/x?key=/k&passphrase=p', 'keys with a passphrase are not supported'],
    ['ssh-tunnel://%zz@192.168.127.2/x?key=/k', 'invalid URL escape in "%zz"'],
    ['ssh-tunnel://-oX@192.168.127.2/x?key=/k', '"-oX" is no user name for ssh'],
  ])('expose %s', async (remote, text) => {
    const answer = await post('forwarder/expose', { remote, local: at('x'), protocol: 'unix' });
    expect(answer).toMatchObject({ status: 500, text: `${text}\n` });
    expect((await call(ALL)).body).toEqual([SSH]);
  });

  it('that are taken say so, and name the address', async () => {
    await lab.network.publish('127.0.0.1:9000:80');
    expect(await post('forwarder/expose', { local: '127.0.0.1:9000', remote: `${GUEST}:80` })).toMatchObject({
      status: 500,
      text: 'listen tcp 127.0.0.1:9000: bind: address already in use\n',
    });
  });

  it('asked for twice at once run once', async () => {
    const wanted = { local: ':7', remote: `${GUEST}:7` };
    const answers = await Promise.all(Array.from({ length: 8 }, () => post('forwarder/expose', wanted)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array<number>(7).fill(500)]);
  });

  it.each([
    ['{"local":":1"}', 500, 'proxy not found'],
    ['{"local":"127.0.0.1:2222","protocol":"udp"}', 500, 'proxy not found'],
    ['nonsense', 400, 'invalid character in JSON'],
  ])('unexpose %s', async (body, status, text) => {
    expect(await post('forwarder/unexpose', body)).toMatchObject({ status, text: `${text}\n` });
  });

  it.each(['expose', 'unexpose'])('%s wants POST', async (what) => {
    expect(await call(`GET /services/forwarder/${what}`)).toMatchObject({ status: 400, text: 'post only\n' });
  });
});

describe('names, leases, counters', () => {
  it('zones have their records in the order in which they hold', async () => {
    const gateway = { Name: 'gateway', IP: '192.168.127.1' };
    const host = { Name: 'host', IP: '192.168.127.254' };
    expect((await call('GET /services/dns/all')).text).toBe(
      `${JSON.stringify([
        { Name: 'containers.internal.', Records: [gateway, host], DefaultIP: '' },
        { Name: 'docker.internal.', Records: [gateway, host], DefaultIP: '' },
      ])}\n`,
    );
    const more = { Name: 'docker.internal.', Records: [{ Name: 'web', IP: GUEST }], DefaultIP: '10.0.0.1' };
    expect(await post('dns/add', more)).toMatchObject({ status: 200, text: '' });
    const own = {
      name: 'apps.example.',
      records: [
        { name: 'a', ip: '10.0.0.2' },
        { regexp: '^b+$', ip: '10.0.0.3' },
      ],
    };
    expect(await post('dns/add', own)).toMatchObject({ status: 200 });
    expect((await call('GET /services/dns/all')).body).toMatchObject([
      {},
      { Records: [{ Name: 'web', IP: GUEST }, gateway, host], DefaultIP: '10.0.0.1' },
      {
        Records: [
          { Name: 'a', IP: '10.0.0.2' },
          { Name: '', IP: '10.0.0.3', Regexp: '^b+$' },
        ],
      },
    ]);
    for (const [name, ip] of [
      ['web.docker.internal', GUEST],
      ['host.docker.internal', '192.168.127.254'],
      ['nobody.docker.internal', '10.0.0.1'],
      ['a.apps.example', '10.0.0.2'],
      ['bbb.apps.example', '10.0.0.3'],
    ] as const) {
      const answer = await lab.guest.query(name);
      expect(answer.answers.map(({ data }) => data)).toEqual([ip]);
    }
  });

  it.each([
    ['', 400, 'EOF'],
    ['{"Records":[]}', 400, 'a zone needs a Name'],
    ['{"Name":"a.","Records":[{"Name":"x","IP":"fish"}]}', 400, 'invalid IP address: "fish"'],
    [
      '{"Name":"a.","Records":7}',
      400,
      'json: cannot unmarshal number into Go struct field Zone.Records of type []types.Record',
    ],
  ])('add %s', async (body, status, text) => {
    expect(await post('dns/add', body)).toMatchObject({ status, text: `${text}\n` });
  });

  it.each(['/leases', '/services/dhcp/leases'])('%s has addresses and MACs', async (where) => {
    expect((await call(`GET ${where}`)).text).toBe(`{"${GUEST}":"${MAC}"}\n`);
  });

  it('cam has MACs and ports of the switch', async () => {
    expect((await call('GET /cam')).body).toEqual({ [MAC]: lab.network.guests()[0]?.id });
  });

  it('stats are nested', async () => {
    const { body } = await call('GET /stats');
    expect(body).toMatchObject({ IP: {}, TCP: {}, UDP: {}, ARP: {}, ICMP: {} });
    const { BytesSent, BytesReceived } = body as Record<string, number>;
    expect([BytesSent! > 0, BytesReceived! > 0]).toEqual([true, true]);
  });

  it.each(['/', '/connect', '/services', '/__proto__', '/services/forwarder/all/'])(
    '%s is not there',
    async (where) => {
      expect(await call(`GET ${where}`)).toMatchObject({ status: 404, text: '404 page not found\n' });
    },
  );
});

describe.each(['api', 'net'])('a tunnel through %s', (door) => {
  const open = (query: string): Socket => {
    const socket = connect({ path: at(door), allowHalfOpen: true });
    socket.write(`POST /tunnel${query} HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n`);
    return socket;
  };

  it('is OK and then bytes, both ways, to their ends', async () => {
    lab.guest.listen(22, (socket) => {
      socket.write('SSH-2.0\n');
      socket.on('data', (bytes) => socket.write(bytes)).on('end', () => socket.end('bye'));
    });
    const socket = open(`?ip=${GUEST}&port=22`);
    socket.write('early');
    socket.end();
    expect(await readText(socket)).toBe('OKSSH-2.0\nearlybye');
  });

  it('ends without OK where the guest refuses', async () => {
    expect(await readText(open(`?ip=${GUEST}&port=9`)).catch(() => '')).toBe('');
  });

  it.each([
    ['?port=22', 'ip is mandatory'],
    ['?ip=192.168.127.2', 'strconv.Atoi: parsing "": invalid syntax'],
    ['?ip=192.168.127.2&port=x', 'strconv.Atoi: parsing "x": invalid syntax'],
    ['?ip=192.168.127.2&port=99999', 'invalid port'],
  ])('%s is refused', async (query, text) => {
    const answer = await readText(open(query));
    expect(answer).toMatch(/^HTTP\/1\.1 500 Internal Server Error\r\n/);
    expect(answer.endsWith(`\r\n\r\n${text}\n`)).toBe(true);
  });
});

describe('who may ask', () => {
  /** A request of a guest to the gateway. */
  async function fromGuest(what: string, body?: object): Promise<string> {
    const socket = await lab.guest.connect('192.168.127.1', 80);
    const text = body === undefined ? '' : JSON.stringify(body);
    const method = body === undefined ? 'GET' : 'POST';
    socket.write(
      `${method} /services/forwarder/${what} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
    );
    const answer = await readText(socket as unknown as Socket);
    return `${answer.slice(9, 12)} ${answer.slice(answer.indexOf('\r\n\r\n') + 4)}`.trim();
  }

  it('a guest: its own ports, and nothing else', async () => {
    expect(await fromGuest('all')).toBe('200 []');
    expect(await fromGuest('expose', { local: ':8080', remote: ':80' })).toBe('200');
    expect(await fromGuest('all')).toBe(
      `200 ${JSON.stringify([{ local: ':8080', remote: `${GUEST}:80`, protocol: 'tcp' }])}`,
    );
    expect(await fromGuest('expose', { local: ':8081', remote: '192.168.127.3:80' })).toMatch(/^403 /);
    expect(await fromGuest('expose', { local: '/x', remote: `tcp://${GUEST}:80`, protocol: 'unix' })).toMatch(
      /^403 /,
    );
    expect(await fromGuest('unexpose', { local: '127.0.0.1:2222' })).toBe('500 proxy not found');
    expect(await fromGuest('unexpose', { local: ':8080' })).toBe('200');
    expect(await fromGuest('../dns/all')).toMatch(/^404 /);
    const socket = await lab.guest.connect('192.168.127.1', 80);
    socket.write('GET /leases HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    expect(await readText(socket as unknown as Socket)).toMatch(/^HTTP\/1\.1 404 /);
  });

  it('no browser for a page of anybody', async () => {
    const headers = { origin: 'http://evil.example' };
    const answer = await ask({ socketPath: at('api'), path: '/leases', headers });
    expect(answer.status).toBe(403);
  });
});

describe('hostile bodies', () => {
  it('too long: refused, and the next request is answered', async () => {
    expect(await post('forwarder/expose', 'x'.repeat(70_000))).toMatchObject({ status: 413 });
    expect(await post('forwarder/expose', '\ud800')).toMatchObject({ status: 400 });
    const deep = `${'['.repeat(30_000)}${']'.repeat(30_000)}`;
    expect(await post('forwarder/expose', `{"local":${deep}}`)).toMatchObject({ status: 400 });
    expect(await call(ALL)).toMatchObject({ status: 200 });
  });

  it('broken off: nobody else notices', async () => {
    const sent = request({
      socketPath: at('api'),
      method: 'POST',
      path: '/services/forwarder/expose',
      headers: { 'content-length': 100 },
    });
    sent.on('error', () => undefined).write('{');
    await new Promise((resolve) => sent.once('socket', (socket) => socket.once('connect', resolve)));
    sent.destroy();
    expect(await call(ALL)).toMatchObject({ status: 200 });
  });

  it('heads without an end, and connections that say nothing', async () => {
    const socket = connect(at('api'));
    socket.write('POST /tunnel' + 'x'.repeat(9000));
    expect(await readText(socket)).toBe('');
    connect(at('api')).destroy();
    connect(at('api')).end();
    expect(await call(ALL)).toMatchObject({ status: 200 });
  });
});

describe('notifications', () => {
  it('are one line for each event', async () => {
    const lines: string[] = [];
    let came: () => void = () => undefined;
    const server = createServer((socket) => {
      let text = '';
      socket
        .on('data', (chunk) => (text += String(chunk)))
        .on('end', () => {
          lines.push(text);
          came();
        });
    });
    await new Promise<void>((resolve) => server.listen(at('notes'), resolve));
    const upTo = async (count: number): Promise<void> => {
      while (lines.length < count) await new Promise<void>((resolve) => (came = resolve));
    };
    try {
      const command = parseGvproxy([
        '-notification',
        `unix://${at('notes')}`,
        '-ssh-port',
        '-1',
        '-guest-api=false',
      ]);
      if (command.kind !== 'run') throw new TypeError(command.kind);
      const dropIn = gvproxyDropIn(command.settings);
      await dropIn.begin(lab.network, silentLogger);
      dropIn.ready();
      await upTo(1);
      const { attached } = await lab.plug({ mac: '02:00:00:00:00:07' });
      await upTo(2);
      attached.detach();
      await upTo(3);
      await dropIn.close();
      expect(lines).toEqual([
        '{"notification_type":"ready"}\n',
        '{"notification_type":"connection_established","mac_address":"02:00:00:00:00:07"}\n',
        '{"notification_type":"connection_closed","mac_address":"02:00:00:00:00:07"}\n',
      ]);
    } finally {
      server.close();
    }
  });
});

function readText(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    socket
      .once('close', () => resolve(text))
      .once('end', () => resolve(text))
      .once('error', reject);
  });
}
