/** vpnkit's port API: requests and the exact answers; dockerd's proxy on top of it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ask } from '../../api/api.testutil.js';
import { silentLogger } from '../../core/index.js';
import { type TestNetwork, realScheduler, testNetwork } from '../../testing/index.js';
import { dockerProxy } from '../docker-proxy.js';
import type { DropIn } from '../drop-in.js';
import { vpnkitDropIn } from './drop-in.js';

let folder = '';
let lab: TestNetwork;
let dropIn: DropIn;
const at = (name: string): string => path.join(folder, name);

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'np-vpnkit-'));
  dropIn = vpnkitDropIn(['--port', at('ports')])!;
  lab = await testNetwork({ subnet: '192.168.65.0/24' }, { scheduler: realScheduler });
  await dropIn.begin(lab.network, silentLogger);
});

afterEach(async () => {
  await dropIn.close();
  await lab.close();
  rmSync(folder, { recursive: true, force: true });
});

const call = (line: string, body?: object | string) => {
  const [method = '', where = ''] = line.split(' ');
  const text = typeof body === 'object' ? JSON.stringify(body) : body;
  const headers = text === undefined ? {} : { 'content-length': Buffer.byteLength(text) };
  return ask({ socketPath: at('ports'), method, path: `/forwards/${where}`, headers }, text);
};
const WEB = { proto: 'tcp', out_ip: '127.0.0.1', out_port: 8080, in_ip: '192.168.65.2', in_port: 80 };

describe('ports', () => {
  it.each([
    ['PUT', 'DELETE', 'port'],
    ['POST', 'POST', 'pipe'],
  ])('come by %s and go by %s, as often as one likes', async (expose, unexpose, what) => {
    expect((await call('GET list')).text).toBe('[]\n');
    for (let i = 0; i < 2; i++)
      expect(await call(`${expose} expose/${what}`, WEB)).toMatchObject({ status: 200, text: '' });
    expect((await call('GET list')).body).toEqual([WEB]);
    expect((await call('GET dump')).text).toContain('127.0.0.1:8080:192.168.65.2:80/tcp');
    for (let i = 0; i < 2; i++)
      expect(await call(`${unexpose} unexpose/${what}`, WEB)).toMatchObject({ status: 200, text: '' });
    expect((await call('GET list')).body).toEqual([]);
  });

  it('that the host chooses show in the list', async () => {
    await call('PUT expose/port', { in_port: 80 });
    const [port] = lab.network.ports();
    expect(port?.port).toBeGreaterThan(0);
    expect((await call('GET list')).body).toEqual([{ proto: 'tcp', in_port: 80, out_port: port?.port }]);
    await call('DELETE unexpose/port', { out_port: port?.port });
    expect(lab.network.ports()).toEqual([]);
  });

  it.each([
    ['127.0.0.1', '0.0.0.0:8080:80/tcp'],
    ['172.17.0.2', '0.0.0.0:8080:8080/tcp'],
    ['192.168.65.9', '0.0.0.0:8080:192.168.65.9:80/tcp'],
  ])('to %s in the guest', async (in_ip, spec) => {
    await call('PUT expose/port', { out_port: 8080, in_ip, in_port: 80 });
    expect(lab.network.ports()).toMatchObject([{ spec }]);
  });

  it('may be unix sockets of the host', async () => {
    const pipe = { proto: 'unix', out_path: '/run/a.sock', in_port: 80 };
    expect(await call('PUT expose/pipe', pipe)).toMatchObject({ status: 200 });
    expect((await call('GET list')).body).toEqual([pipe]);
  });

  it.each([
    ['', 'EOF'],
    ['{', 'invalid character in JSON'],
    [
      '{"out_port":70000}',
      'json: cannot unmarshal number 70000 into Go struct field Port.out_port of type uint16',
    ],
    ['{"proto":"sctp","in_port":1}', 'unknown proto sctp'],
    ['{"out_port":1}', 'in_port is missing'],
    ['{"out_ip":"fish","in_port":1}', 'out_ip "fish" is no IP address'],
    ['{"in_ip":"fish","in_port":1}', 'in_ip "fish" is no IPv4 address'],
    ['{"proto":"unix","out_path":"x","in_port":1}', 'out_path must be an absolute path'],
    [
      '{"proto":"unix","out_path":"/x","in_path":"/y"}',
      'in_path needs an agent in the guest, which netproxy does not have; give in_port',
    ],
  ])('%s is refused', async (body, message) => {
    expect(await call('PUT expose/port', body)).toMatchObject({
      status: 400,
      text: `${JSON.stringify({ message })}\n`,
    });
  });

  it('that are taken say so', async () => {
    await lab.network.publish('127.0.0.1:8080:80');
    const taken = await call('PUT expose/port', WEB);
    const message = 'Ports are not available: listen tcp 127.0.0.1:8080: address already in use';
    expect(taken).toMatchObject({ status: 400, body: { message } });
    await call('PUT expose/port', { ...WEB, out_port: 8081 });
    const other = await call('PUT expose/port', { ...WEB, out_port: 8081, in_port: 81 });
    expect(other.body).toEqual({ message: 'Bind for 127.0.0.1:8081 failed: port is already allocated' });
  });

  it.each([
    ['GET expose/port', 405],
    ['POST list', 405],
    ['GET nowhere', 404],
  ])('%s is %i', async (line, status) => expect(await call(line)).toMatchObject({ status }));
});

describe('http_proxy.json', () => {
  const proxy = (method: string, body?: string) => {
    const headers = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
    return ask({ socketPath: at('ports'), method, path: '/http_proxy.json', headers }, body);
  };

  it('is set, holds at once, and is shown without passwords', async () => {
    expect(await proxy('GET')).toMatchObject({ status: 200, body: {} });
    const set = {
      http: 'user:secret@proxy.corp:3128',
      https: 'other.corp:8080',
      exclude: '.corp,10.0.0.0/8',
    };
    expect(await proxy('POST', JSON.stringify(set))).toMatchObject({ status: 200, text: '' });
    const { status, text, body } = await proxy('GET');
    expect(status).toBe(200);
    expect(body).toMatchObject({ https: 'http://other.corp:8080', exclude: '.corp,10.0.0.0/8' });
    expect(text).toContain('proxy.corp:3128');
    expect(text).not.toContain('secret');
    const { upstreams } = await lab.network.proxy.explain('http://example.org/');
    expect(upstreams).toEqual(['http://proxy.corp:3128']);
  });

  it.each([
    ['POST', '{', 400, 'http_proxy.json is no JSON'],
    ['POST', '[]', 400, 'http_proxy.json holds no object'],
    ['POST', '{"http":7}', 400, '"http" must be text'],
    ['POST', '{"transparent_http_ports":[0]}', 400, '"transparent_http_ports" must be a list of ports'],
    ['PUT', '{}', 405, 'Method Not Allowed'],
  ])('%s %s is %i', async (method, body, status, message) => {
    expect(await proxy(method, body)).toMatchObject({
      status,
      body: { message: expect.stringContaining(message) as string },
    });
  });
});

describe("dockerd's proxy", () => {
  const proxy = (port: number) =>
    dockerProxy(
      [
        '-proto',
        'tcp',
        '-host-ip',
        '127.0.0.1',
        '-host-port',
        String(port),
        '-container-ip',
        '192.168.65.2',
        '-container-port',
        '80',
        '-use-listen-fd',
      ],
      { NETPROXY_PORT_API: at('ports') },
    )!;

  it('publishes and withdraws its port', async () => {
    await proxy(8080).expose();
    expect(lab.network.ports()).toMatchObject([{ spec: '127.0.0.1:8080:192.168.65.2:80/tcp' }]);
    await proxy(8080).unexpose();
    expect(lab.network.ports()).toEqual([]);
  });

  it('hands on why it cannot', async () => {
    await lab.network.publish('127.0.0.1:8080:80');
    await expect(proxy(8080).expose()).rejects.toThrow(/^Ports are not available: .*address already in use$/);
  });
});

describe('flags and files', () => {
  it("come to vpnkit's network", () => {
    writeFileSync(at('dhcp.json'), '{"searchDomains":["corp.example"],"domainName":"vm.example"}');
    const { config } = vpnkitDropIn([
      '--ethernet',
      '/run/vm.sock',
      '--dhcp-json',
      at('dhcp.json'),
      '--mtu=1400',
      '--http',
      '/run/p.json',
    ])!;
    expect(config).toMatchObject({
      subnet: '192.168.65.0/24',
      gatewayIp: '192.168.65.1',
      hostAlias: '192.168.65.2',
      guestIp: '192.168.65.3',
      gatewayMac: 'f6:16:36:bc:f9:c6',
      mtu: 1400,
      httpProxy: { file: '/run/p.json' },
      dhcp: { domain: 'vm.example', search: ['corp.example'] },
      links: [{ kind: 'vpnkit', address: '/run/vm.sock' }],
    });
    expect(vpnkitDropIn(['-h'])).toBeUndefined();
  });

  it.each([
    ['[{"protocol":"icmp","external_port":1}]', /protocol: "icmp" is not allowed/],
    ['[{"protocol":"tcp"}]', /external_port: is missing/],
    ['{}', /a list of forwards/],
  ])('gateway forwards %s are refused', (text, why) => {
    writeFileSync(at('forwards.json'), text);
    expect(() => vpnkitDropIn(['--gateway-forwards', at('forwards.json')])).toThrow(why);
  });

  it.each(['tcp', 'udp'] as const)('%s ports of the gateway lead to the host', async (protocol) => {
    const forward = { protocol, external_port: 5300, internal_ip: '127.0.0.1', internal_port: 53 };
    writeFileSync(at('forwards.json'), JSON.stringify([forward]));
    const other = vpnkitDropIn(['--gateway-forwards', at('forwards.json')])!;
    await other.begin(lab.network, silentLogger);
    const { gateway } = lab.network.addresses;
    if (protocol === 'tcp') {
      lab.host.accept('127.0.0.1:53', (socket) => socket.end('hello'));
      const socket = await lab.guest.connect(gateway, 5300);
      expect(Buffer.concat(await socket.toArray()).toString()).toBe('hello');
      // Nobody is there: refused, as by the host itself.
      lab.host.fail('127.0.0.1:53', 'ECONNREFUSED');
      await expect(lab.guest.connect(gateway, 5300)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    } else {
      lab.host.echoUdp('127.0.0.1:53');
      const socket = lab.guest.udp(5000);
      socket.send(Buffer.from('ping'), gateway, 5300);
      const { ip, port, bytes } = await socket.recv({ timeout: 10_000 });
      expect([ip, port, Buffer.from(bytes).toString()]).toEqual([gateway, 5300, 'ping']);
    }
    const explained = await lab.network.explain({ host: gateway, port: 5300, protocol });
    expect(explained).toMatchObject({ verdict: { kind: 'dial', port: 53, via: 'redirect' } });
    await expect(other.begin(lab.network, silentLogger)).rejects.toThrow('taken already');
  });
});
