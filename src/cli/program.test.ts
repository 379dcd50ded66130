import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NetproxyError } from '../core/index.js';
import { FakeTerminal, netproxy } from './cli.testutil.js';
import { EXIT, exitCodeOf, formatError } from './exit.js';
import { commandLogger } from './logger.js';

describe('netproxy', () => {
  it('--version', async () => {
    expect(await netproxy('--version')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
    expect((await netproxy('-V')).code).toBe(0);
  });

  it.each([
    ['serve', '--qemu unix:/run/vm.sock'],
    ['run', 'netproxy run -- curl'],
    ['demo', 'netproxy demo --vm'],
    ['doctor', 'netproxy doctor'],
    ['explain', 'netproxy explain 169.254.169.254:80'],
    ['config schema', 'netproxy config schema >'],
    ['config check', 'netproxy config check /etc'],
  ])('%s --help has an example', async (command, example) => {
    const { code, out, err } = await netproxy(...command.split(' '), '--help');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain(example);
  });

  it('--help lists the commands and the exit codes', async () => {
    const { out } = await netproxy('--help');
    for (const word of ['serve', 'run', 'demo', 'doctor', 'explain', 'config', 'Exit codes: 0 '])
      expect(out).toContain(word);
  });

  it.each([
    [
      ['bogus'],
      'netproxy: there is no command "bogus".\nThe commands are serve, run, demo, doctor, bind-helper, explain, guests, leases, flows, ports, publish, unpublish, events, capture, stats, policy, dns, proxy, config, docker, vpnkit, docker-proxy, gvproxy.\n',
    ],
    [['--bogus'], "netproxy: unknown option '--bogus'.\n"],
    [['--qemi', 'x'], "netproxy: unknown option '--qemi'.\nDid you mean --qemu?\n"],
    [['serve', '--mtu'], "netproxy: option '--mtu <bytes>' argument missing.\n"],
    [['run'], "netproxy: missing required argument 'command'.\n"],
    [[], 'netproxy: no guest could attach: there is no link.\n'],
    [['--stdio', '--json'], 'netproxy: --json and --stdio both want standard output.\n'],
    [['--stdio', '--stdio'], 'netproxy: --stdio is there once'],
    [['--qemu', '/x', '--mac', '52:54:00:00:00:01'], 'netproxy: --mac needs --guest-ip'],
    [['demo', '--vm', '--netns'], "netproxy: option '--netns' cannot be used with option '--vm'.\n"],
    [['demo', '--size', 'big'], 'netproxy: --size: "big" is not allowed.\n'],
    [['demo', '--kernel', 'x'], 'netproxy: --kernel and --initrd belong together.\n'],
    [['explain', 'a b'], 'netproxy: "a b" is no destination.\n'],
    [
      ['config', 'check', '/nowhere/x'],
      'netproxy: cannot read the configuration /nowhere/x: it does not exist.\n',
    ],
  ])('%j is a usage error', async (args, expected) => {
    const { code, out, err } = await netproxy(...args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(expected);
  });

  it('config without a word shows what there is', async () => {
    expect((await netproxy('config')).code).toBe(2);
  });
});

describe('config', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'np-cli-'));
  });
  afterAll(() => {
    rmSync(dir, { recursive: true });
  });

  it('schema prints the JSON Schema', async () => {
    const { code, out } = await netproxy('config', 'schema');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      title: 'netproxy configuration, version 1',
      required: ['version'],
    });
  });

  it.each([
    ['version: 1\nlinks: [{kind: qemu, address: /run/x}]', 0, 'ok\n'],
    ['version: 1\nmtu: 1400', 0, 'ok\n'],
    ['version: 1\nlinks: []', 2, 'no guest could attach'],
    ['version: 1\nsubnet: 10.0.0.0/24\nguestIp: 10.0.1.2', 2, 'bad guestIp "10.0.1.2"'],
    ['version: 1\nlinks: [{kind: stdio}]\njson: true', 2, 'standard output'],
  ])('check %j gives %d', async (text, expected, words) => {
    const file = path.join(dir, 'net.yaml');
    writeFileSync(file, text);
    const { code, out, err } = await netproxy('config', 'check', file);
    expect(code).toBe(expected);
    expect(out + err).toContain(words);
  });
});

describe('explain', () => {
  const explain = async (...args: string[]): Promise<Record<string, unknown>> => {
    const { code, out, err } = await netproxy('explain', '--json', ...args);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    return JSON.parse(out) as Record<string, unknown>;
  };

  it('tells decision, rule and why', async () => {
    const { code, out } = await netproxy(
      'explain',
      '--subnet',
      '10.9.0.0/24',
      '--deny',
      '10.0.0.0/8',
      '10.1.2.3:443',
    );
    expect(code).toBe(0);
    expect(out).toBe(
      '10.1.2.3:443 (tcp) from guest1: denied, the guest is told so\n' +
        '  rule: deny 10.0.0.0/8\n  why:  denied by the rule "deny 10.0.0.0/8"\n',
    );
  });

  it('uses the flags as serve does', async () => {
    expect(await explain('203.0.113.7:443')).toMatchObject({
      verdict: 'dial',
      via: 'direct',
      rule: 'default',
      protocol: 'tcp',
    });
    expect(await explain('169.254.169.254:80')).toMatchObject({
      verdict: 'deny',
      how: 'prohibited',
      rule: 'link-local',
    });
    expect(await explain('--default-policy', 'deny', '203.0.113.7')).toMatchObject({
      verdict: 'deny',
      rule: 'default',
    });
    const alias = ['--subnet', '10.9.0.0/24', '--host-alias', '10.9.0.100', '10.9.0.100:22'];
    expect(await explain(...alias)).toMatchObject({ verdict: 'dial', via: 'alias' });
    expect(await explain('--deny', 'host', ...alias)).toMatchObject({ verdict: 'deny', rule: 'deny host' });
    expect(await explain('--subnet', '10.9.0.0/24', '--protocol', 'udp', '10.9.0.1:53')).toMatchObject({
      verdict: 'service',
    });
    expect(await explain('--protocol', 'icmp', '203.0.113.7')).toMatchObject({
      protocol: 'icmp',
      verdict: 'dial',
    });
  });

  it('--guest asks for a guest', async () => {
    const rule = ['--deny', 'any@build'];
    expect(await explain(...rule, '--guest', 'build', '203.0.113.7:80')).toMatchObject({
      verdict: 'deny',
      guest: 'build',
    });
    expect(await explain(...rule, '203.0.113.7:80')).toMatchObject({ verdict: 'dial', guest: 'guest1' });
  });

  it('knows the built-in names', async () => {
    const args = ['--subnet', '10.9.0.0/24', 'host.netproxy.internal:80'];
    expect(await explain(...args)).toMatchObject({ address: '10.9.0.254', via: 'alias' });
  });

  it.each([
    [['--protocol', 'sctp', '10.0.0.1'], '--protocol: "sctp" is not allowed; allowed: tcp, udp, icmp'],
    [['--protocol', 'icmp', '10.0.0.1:80'], 'icmp has no ports'],
    [['--guest', 'a b', '10.0.0.1'], '--guest: "a b" is not allowed'],
    [['10.0.0.1:0'], '"10.0.0.1:0" is no destination'],
    [['10.0.0.1:65536'], '"10.0.0.1:65536" is no destination'],
  ])('%j is refused', async (args, words) => {
    const { code, err } = await netproxy('explain', ...args);
    expect(code).toBe(2);
    expect(err).toContain(words);
  });
});

describe('logs', () => {
  it('go to standard error, with the name of the network', () => {
    const terminal = new FakeTerminal();
    const logger = commandLogger({ version: 1, name: 'lab', log: { format: 'json' } }, terminal, {
      level: 'warn',
    });
    logger.info('not this');
    logger.warn('this');
    expect(JSON.parse(terminal.stderr)).toMatchObject({ level: 'warn', message: 'this', network: 'lab' });
    expect(terminal.stdout).toBe('');
  });
});

describe('errors', () => {
  it('end in a sentence, and the remedy is on the next line', () => {
    const error = new NetproxyError(
      'ERR_NETPROXY_PUBLISH',
      'cannot publish tcp 127.0.0.1:8080: address already in use (nginx, pid 812)',
      {
        remedy: 'stop it',
      },
    );
    expect(formatError(error)).toBe(
      'netproxy: cannot publish tcp 127.0.0.1:8080: address already in use (nginx, pid 812).\nStop it.\n',
    );
    expect(formatError(new Error('broke'))).toBe('netproxy: broke.\n');
    expect(formatError(new NetproxyError('ERR_NETPROXY_CONFIG', 'a\nb'))).toBe(
      'netproxy: a.\nnetproxy: b.\n',
    );
    expect(formatError('text!')).toBe('netproxy: text!\n');
  });

  it.each([
    ['ERR_NETPROXY_CONFIG', EXIT.usage],
    ['ERR_NETPROXY_LISTEN', EXIT.listen],
    ['ERR_NETPROXY_PUBLISH', EXIT.listen],
    ['ERR_NETPROXY_NATIVE', EXIT.missing],
    ['ERR_NETPROXY_NAMESPACE', EXIT.missing],
    ['ERR_NETPROXY_UNSUPPORTED', EXIT.missing],
    ['ERR_NETPROXY_LINK', EXIT.failure],
  ] as const)('%s exits with %d', (code, expected) => {
    expect(exitCodeOf(new NetproxyError(code, 'x'))).toBe(expected);
  });

  it('of any other kind exit with 1', () => {
    expect(exitCodeOf(new Error('x'))).toBe(1);
  });
});
