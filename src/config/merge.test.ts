import { describe, expect, it } from 'vitest';
import { mergeConfig, networkConfig } from './merge.js';
import type { Config } from './schema.js';

const file: Config = {
  version: 1,
  mtu: 1400,
  subnet: '10.0.0.0/24',
  links: [{ kind: 'stdio' }],
  publish: ['80:80'],
  policy: { default: 'deny', rules: ['allow host'] },
  dns: { deadline: 1000, servers: ['10.0.0.53'] },
  log: { level: 'debug' },
};

describe('mergeConfig', () => {
  it('lets flags win, merges sections, adds lists up', () => {
    const flags: Config = {
      version: 1,
      mtu: 9000,
      subnet: undefined,
      links: [{ kind: 'tap-fd', fd: 3 }],
      publish: ['81:81'],
      policy: { rules: ['deny any'] },
      dns: { servers: ['10.0.0.54'] },
      log: { format: 'json', level: undefined },
    };
    expect(mergeConfig(file, flags)).toEqual({
      version: 1,
      mtu: 9000,
      subnet: '10.0.0.0/24',
      links: [{ kind: 'stdio' }, { kind: 'tap-fd', fd: 3 }],
      publish: ['80:80', '81:81'],
      policy: { default: 'deny', rules: ['deny any', 'allow host'] },
      dns: { deadline: 1000, servers: ['10.0.0.54'] },
      log: { level: 'debug', format: 'json' },
    });
  });

  it('changes nothing without flags', () => {
    expect(mergeConfig(file, { version: 1 })).toEqual(file);
    expect(mergeConfig({ version: 1 }, file)).toEqual(file);
  });
});

describe('networkConfig', () => {
  it.each([
    [undefined, undefined],
    [true, undefined],
    ['on', undefined],
    [false, false],
    ['off', false],
    ['10.0.0.9', '10.0.0.9'],
  ] as const)('host alias %s is %s', (hostAlias, expected) => {
    expect(networkConfig({ version: 1, hostAlias }).hostAlias).toBe(expected);
  });

  it('keeps the first address for the MAC of the first guest', () => {
    const config = networkConfig({ version: 1, guestIp: '10.0.0.7', guestMac: '52:54:00:00:00:01' });
    expect(config.dhcp?.statics).toEqual([{ ip: '10.0.0.7', mac: '52:54:00:00:00:01' }]);
    expect(networkConfig({ version: 1, guestIp: '10.0.0.7' }).dhcp?.statics).toBeUndefined();
  });
});
