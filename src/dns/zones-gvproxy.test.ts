import { describe, expect, it } from 'vitest';
import { fromGvproxy, isGvproxyZone } from './zones-gvproxy.js';
import { Zones } from './zones.js';

const given = {
  Name: 'crc.testing.',
  Records: [
    { Name: 'host', IP: '192.168.127.254' },
    { Name: '', IP: '192.168.126.11', Regexp: '^api-[0-9]+$' },
  ],
  DefaultIP: '192.168.127.2',
};

describe('zones of gvproxy', () => {
  it('become ours', () => {
    const zone = fromGvproxy(given);
    expect(isGvproxyZone(given)).toBe(true);
    expect(isGvproxyZone(zone)).toBe(false);
    expect(zone).toEqual({
      name: 'crc.testing.',
      ttl: 0,
      defaultIp: '192.168.127.2',
      records: [
        { type: 'A', name: 'host', value: '192.168.127.254' },
        { type: 'A', regexp: '^api-[0-9]+$', value: '192.168.126.11' },
      ],
    });
    const ask = (name: string) =>
      new Zones([zone]).resolve({ name, type: 1, class: 1 })?.answers?.[0]?.data.join('.');
    expect(ask('host.crc.testing')).toBe('192.168.127.254');
    expect(ask('api-7.crc.testing')).toBe('192.168.126.11');
    expect(ask('any.crc.testing')).toBe('192.168.127.2');
  });

  it('have one record for a name: the first', () => {
    const Records = [
      { Name: 'HOST', IP: '10.0.0.1' },
      { Name: 'b', IP: '10.0.0.2' },
      { Name: 'host', IP: '10.0.0.3' },
    ];
    const { records, ...zone } = fromGvproxy({ Name: 'crc.testing.', Records, DefaultIP: '' });
    expect(zone).toEqual({ name: 'crc.testing.', ttl: 0 });
    expect(records?.map(({ name, value }) => [name, value])).toEqual([
      ['HOST', '10.0.0.1'],
      ['b', '10.0.0.2'],
    ]);
    expect(fromGvproxy({ Name: 'z', Records: null }).records).toEqual([]);
  });

  it('may have addresses of their own', () => {
    const zone = fromGvproxy({ Name: 'crc.testing.', Records: [{ Name: '', IP: '10.0.0.1' }] });
    const found = new Zones([zone]).resolve({ name: 'crc.testing', type: 1, class: 1 });
    expect(found?.answers?.map(({ data }) => data.join('.'))).toEqual(['10.0.0.1']);
  });

  it.each([[{ Name: 'a' }], [{ Name: '' }], [{ Name: 'a', IP: '10.0.0.1', Regexp: 'b' }]])(
    'refuse %j',
    (record) => {
      expect(() => fromGvproxy({ Name: 'z', Records: [record] })).toThrow('is not complete');
    },
  );
});
