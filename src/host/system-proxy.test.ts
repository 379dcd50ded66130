/** What operating systems say about proxies, on output as their tools print it. */
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../core/index.js';
import { formatHost, parseHost } from '../httpproxy/index.js';
import { Pac } from './pac.js';
import { parseGsettingsProxy, parseRegistryProxy, parseScutilProxy } from './system-proxy.js';
import { SystemProxySettings, systemProxySource } from './system-proxy-settings.js';

const SCUTIL = `<dictionary> {
  ExceptionsList : <array> {
    0 : *.local
    1 : 169.254/16
    2 : 10.1.0.0/16
  }
  ExcludeSimpleHostnames : 1
  FTPPassive : 1
  HTTPEnable : 1
  HTTPPort : 8080
  HTTPProxy : proxy.corp.test
  HTTPSEnable : 1
  HTTPSPort : 8443
  HTTPSProxy : secure.corp.test
  ProxyAutoConfigEnable : 0
  ProxyAutoConfigURLString : http://old.corp.test/proxy.pac
  SOCKSEnable : 0
  __SCOPED__ : <dictionary> {
    en0 : <dictionary> {
      ExceptionsList : <array> {
        0 : scoped.test
      }
      HTTPEnable : 1
      HTTPPort : 1
      HTTPProxy : scoped.test
    }
  }
}
`;

const REGISTRY = [
  '',
  'HKEY_CURRENT_USER\\Software\\Microsoft\\Windows\\CurrentVersion\\Internet Settings',
  '    IE5_UA_Backup_Flag    REG_SZ    5.0',
  '    ProxyEnable    REG_DWORD    0x1',
  '    ProxyServer    REG_SZ    http=proxy.corp.test:8080;https=https://secure.corp.test:8443;socks=socks.corp.test:1080',
  '    ProxyOverride    REG_SZ    *.corp.test;10.*;<local>;<-loopback>',
  '    User Agent    REG_SZ    Mozilla/4.0 (compatible; MSIE 8.0; Win32)',
  '',
  'HKEY_CURRENT_USER\\Software\\Microsoft\\Windows\\CurrentVersion\\Internet Settings\\Connections',
  '',
].join('\r\n');

const GSETTINGS = `org.gnome.system.proxy autoconfig-url ''
org.gnome.system.proxy ignore-hosts ['localhost', '127.0.0.0/8', '::1', "o'hara.test"]
org.gnome.system.proxy mode 'manual'
org.gnome.system.proxy use-same-proxy true
org.gnome.system.proxy.ftp host ''
org.gnome.system.proxy.ftp port 0
org.gnome.system.proxy.http authentication-password 'p@ss'
org.gnome.system.proxy.http authentication-user 'me'
org.gnome.system.proxy.http enabled false
org.gnome.system.proxy.http host 'proxy.corp.test'
org.gnome.system.proxy.http port 8080
org.gnome.system.proxy.http use-authentication true
org.gnome.system.proxy.https host ''
org.gnome.system.proxy.https port 0
org.gnome.system.proxy.socks host 'socks.corp.test'
org.gnome.system.proxy.socks port 1080
`;

const NOTHING = { http: [], https: [], noProxy: [], pac: undefined };

describe('scutil --proxy', () => {
  it('lists, exceptions, names without a dot; not those of one interface', () => {
    expect(parseScutilProxy(SCUTIL)).toEqual({
      http: ['http://proxy.corp.test:8080'],
      https: ['http://secure.corp.test:8443'],
      noProxy: ['*.local', '169.254.0.0/16', '10.1.0.0/16', '<local>'],
      pac: undefined,
    });
  });

  it.each([
    ['<dictionary> {\n  FTPPassive : 1\n}\n', NOTHING],
    ['', NOTHING],
    ['No such key', NOTHING],
    ['<dictionary> {\n  HTTPEnable : 1\n  HTTPProxy : x\n}', NOTHING],
    [
      '<dictionary> {\n  ProxyAutoConfigEnable : 1\n  ProxyAutoConfigURLString : http://a.test/p.pac\n}',
      { ...NOTHING, pac: 'http://a.test/p.pac' },
    ],
    [
      '<dictionary> {\n  SOCKSEnable : 1\n  SOCKSPort : 1080\n  SOCKSProxy : fd00::1\n}',
      { ...NOTHING, http: ['socks5h://[fd00::1]:1080'], https: ['socks5h://[fd00::1]:1080'] },
    ],
  ])('%j', (text, expected) => {
    expect(parseScutilProxy(text)).toEqual(expected);
  });
});

describe('the registry', () => {
  it('lists by protocol, and what goes past them', () => {
    expect(parseRegistryProxy(REGISTRY)).toEqual({
      http: ['http://proxy.corp.test:8080'],
      https: ['https://secure.corp.test:8443'],
      noProxy: ['*.corp.test', '10.*', '<local>'],
      pac: undefined,
    });
  });

  it.each([
    ['', NOTHING],
    ['    ProxyEnable    REG_DWORD    0x0\r\n    ProxyServer    REG_SZ    proxy:8080\r\n', NOTHING],
    [
      '    ProxyEnable    REG_DWORD    0x1\r\n    ProxyServer    REG_SZ    proxy:8080\r\n    ProxyOverride    REG_SZ    \r\n',
      { ...NOTHING, http: ['http://proxy:8080'], https: ['http://proxy:8080'] },
    ],
    [
      '    ProxyEnable    REG_DWORD    0x1\r\n    ProxyServer    REG_SZ    socks=s:1\r\n',
      { ...NOTHING, http: ['socks5h://s:1'], https: ['socks5h://s:1'] },
    ],
    [
      '    AutoConfigURL    REG_SZ    http://a.test/p.pac?x=1\r\n',
      { ...NOTHING, pac: 'http://a.test/p.pac?x=1' },
    ],
    ['    ProxyServer    REG_SZ    ;;=;\r\n    ProxyEnable    REG_DWORD    0x1', NOTHING],
  ])('%j', (text, expected) => {
    expect(parseRegistryProxy(text)).toEqual(expected);
  });
});

describe('gsettings', () => {
  it('lists with a user; socks for what has no other', () => {
    expect(parseGsettingsProxy(GSETTINGS)).toEqual({
      http: ['http://me:p%40ss@proxy.corp.test:8080'],
      https: ['socks5h://socks.corp.test:1080'],
      noProxy: ['localhost', '127.0.0.0/8', '::1', "o'hara.test"],
      pac: undefined,
    });
  });

  it.each([
    [GSETTINGS.replace("'manual'", "'none'"), NOTHING],
    [GSETTINGS.replace("'manual'", "'auto'"), NOTHING],
    [
      "org.gnome.system.proxy mode 'auto'\norg.gnome.system.proxy autoconfig-url 'file:///etc/p.pac'\n",
      { ...NOTHING, pac: 'file:///etc/p.pac' },
    ],
    ["org.gnome.system.proxy mode 'manual'\norg.gnome.system.proxy ignore-hosts @as []\n", NOTHING],
    ['No schemas installed', NOTHING],
  ])('%#', (text, expected) => {
    expect(parseGsettingsProxy(text)).toEqual(expected);
  });
});

describe('the settings of the system', () => {
  function system(said: () => string | undefined) {
    const state = { now: 0, runs: 0 };
    const settings = new SystemProxySettings(
      {
        name: 'the system',
        run: () => {
          state.runs++;
          return Promise.resolve(said());
        },
        parse: parseScutilProxy,
      },
      (where) =>
        new Pac(
          { where, failure: 'direct' },
          {
            logger: silentLogger,
            now: () => state.now,
            resolve: () => Promise.resolve([]),
            ownAddresses: () => Promise.resolve([]),
            fetch: () => Promise.resolve('function FindProxyForURL() { return "PROXY by-file:1" }'),
          },
        ),
      silentLogger,
      () => state.now,
    );
    const ask = async (name: string): Promise<string> => {
      const route = await settings.find({ scheme: 'http', host: parseHost(name)!, port: 80 });
      return route.upstreams.map((one) => (one.kind === 'direct' ? 'direct' : formatHost(one.host))).join();
    };
    return { state, settings, ask };
  }

  it('are asked when a request comes, at most once a second', async () => {
    let text: string | undefined = SCUTIL;
    const { state, settings, ask } = system(() => text);
    expect(settings.active).toBe(false);
    expect(await Promise.all([ask('a.test'), ask('b.local'), ask('b')])).toEqual([
      'proxy.corp.test',
      'direct',
      'direct',
    ]);
    expect(state.runs).toBe(1);
    expect(settings.active).toBe(true);
    text = SCUTIL.replace('proxy.corp.test', 'other.corp.test');
    state.now = 999;
    expect(await ask('a.test')).toBe('proxy.corp.test');
    state.now = 1000;
    expect(await ask('a.test')).toBe('other.corp.test');
    expect(state.runs).toBe(2);
    // What fails says nothing new, and is not asked again so soon.
    text = undefined;
    state.now = 2000;
    expect(await ask('a.test')).toBe('other.corp.test');
    state.now = 20_000;
    expect(await ask('a.test')).toBe('other.corp.test');
    expect(state.runs).toBe(3);
  });

  it('may name a file, which decides by itself', async () => {
    const { settings, ask } = system(() =>
      SCUTIL.replace('ProxyAutoConfigEnable : 0', 'ProxyAutoConfigEnable : 1'),
    );
    expect(await ask('b.local')).toBe('by-file');
    settings.close();
  });

  it.each([
    ['darwin', {}, 'scutil'],
    ['win32', {}, 'registry'],
    ['linux', { PATH: '/nowhere', DBUS_SESSION_BUS_ADDRESS: 'unix:' }, undefined],
    ['linux', {}, undefined],
    ['freebsd', {}, undefined],
  ] as const)('of %s are asked by its tool', (platform, env, name) => {
    const source = systemProxySource(platform, env);
    if (name === undefined) expect(source).toBeUndefined();
    else expect(source?.name).toContain(name);
  });
});
