import { describe, expect, it } from 'vitest';
import { expandPublish, formatPublish, parsePublish } from './index.js';

describe('published ports as text', () => {
  it.each([
    ['8080:80', '127.0.0.1:8080:80/tcp'],
    ['127.0.0.1:8080:80/tcp', '127.0.0.1:8080:80/tcp'],
    ['0.0.0.0:53:5353/udp', '0.0.0.0:53:5353/udp'],
    ['[::1]:8080:192.168.127.3:80', '[::1]:8080:192.168.127.3:80/tcp'],
    ['build@0:22', 'build@127.0.0.1:0:22/tcp'],
    ['localhost:1:2', 'localhost:1:2/tcp'],
    ['*:1:2/udp', '*:1:2/udp'],
    ['unix:/run/web.sock:80', 'unix:/run/web.sock:80'],
    ['build@unix:/run/a:b@c/tcp:10.0.0.2:80', 'build@unix:/run/a:b@c/tcp:10.0.0.2:80'],
    ['52:54:00:AB:00:01@8080:80', '52:54:00:ab:00:01@127.0.0.1:8080:80/tcp'],
    ['52:54:00:ab:00:01@unix:/run/w:80', '52:54:00:ab:00:01@unix:/run/w:80'],
    ['8080:80,preserve-source', '127.0.0.1:8080:80/tcp,preserve-source'],
    ['a@*:53:53/udp,max-connections=7,preserve-source', 'a@*:53:53/udp,preserve-source,max-connections=7'],
    ['unix:/run/a,b:80,proxy-protocol=v1', 'unix:/run/a,b:80,proxy-protocol=v1'],
    ['1:2,proxy-protocol=v2', '127.0.0.1:1:2/tcp,proxy-protocol=v2'],
  ])('%s', (text, full) => {
    const spec = parsePublish(text);
    expect(formatPublish(spec)).toBe(full);
    expect(parsePublish(formatPublish(spec))).toEqual(spec);
  });

  it.each([
    '',
    '80',
    '80:',
    ':80',
    '1:2:3:4:5',
    '70000:80',
    '80:0',
    '80:70000',
    '1.2.3:80:80',
    '80:80/sctp',
    '80:1.2.3.400:80',
    '@80:80',
    'a b@80:80',
    'unix:web.sock:80',
    'unix:/run/web.sock',
    'unix:/run/web.sock:0',
    'unix:/run/web.sock:300.1.1.1:80',
    '01:00:5e:00:00:01@80:80',
    '52:54:00:ab:00:01@80:10.0.0.2:80',
    '80:80,',
    '80:80,preserve',
    '80:80,preserve-source=1',
    '80:80,proxy-protocol',
    '80:80,proxy-protocol=v3',
    '80:80/udp,proxy-protocol=v2',
    '80:80,max-connections=0',
    '80:80,max-connections=16385',
    '80:80,max-connections=x',
  ])('refuses "%s" and says the form', (text) => {
    expect(() => parsePublish(text)).toThrow(
      expect.objectContaining({
        code: 'ERR_NETPROXY_CONFIG',
        remedy: expect.stringContaining('HOSTPORT') as string,
      }) as Error,
    );
  });
});

describe('ranges of ports', () => {
  it.each([
    ['8000-8002:9000-9002', ['8000:9000', '8001:9001', '8002:9002']],
    [
      'build@[::1]:53-54:10.0.0.2:53-54/udp',
      ['build@[::1]:53:10.0.0.2:53/udp', 'build@[::1]:54:10.0.0.2:54/udp'],
    ],
    ['127.0.0.1:65535-65535:1-1', ['127.0.0.1:65535:1']],
    ['8080:80/tcp', ['8080:80/tcp']],
    [
      '52:54:00:00:00:01@1-2:3-4,preserve-source',
      ['52:54:00:00:00:01@1:3,preserve-source', '52:54:00:00:00:01@2:4,preserve-source'],
    ],
  ])('%s', (text, all) => expect(expandPublish(text)).toEqual(all));

  it('may be all ports', () => {
    expect(expandPublish('1-65535:1-65535')).toHaveLength(65_535);
  });

  it.each([
    '8000-8002:9000-9001',
    '9-8:9-8',
    '0-1:0-1',
    '65535-65536:1-2',
    '1-2:65535-65536',
    '1-2:0-1',
    '1-2:3',
    '1:2-3',
    'a b@1-2:1-2',
    '1-2:1-2/sctp',
  ])('refuses "%s" and says the form', (text) =>
    expect(() => expandPublish(text)).toThrow(
      expect.objectContaining({
        code: 'ERR_NETPROXY_CONFIG',
        remedy: expect.stringContaining('HOSTPORT') as string,
      }) as Error,
    ),
  );
});
