import { describe, expect, it } from 'vitest';
import {
  FakeResolver,
  FakeUpstream,
  ask,
  extendedError,
  query,
  respond,
  serverWith,
} from './dns.testutil.js';
import type { DnsConfig } from './index.js';

/** The rcode of a server with the protection whose name server gives every name `address`. */
async function rcodeOf(name: string, address: string, config: Partial<DnsConfig> = {}): Promise<string> {
  const type = address.includes(':') ? 'AAAA' : 'A';
  const upstream = new FakeUpstream((asked) =>
    respond(asked, [
      { type: 'CNAME', name, ttl: 60, data: 'other.example' },
      { type, name: 'other.example', ttl: 60, data: address },
    ]),
  );
  const server = serverWith({ upstream, privateNames: [], ...config });
  return (await ask(server, query(name, type))).rcode;
}

describe('rebinding', () => {
  it.each([
    ...['0.0.0.0', '10.1.2.3', '100.64.0.1', '127.0.0.1', '169.254.169.254', '172.31.0.1', '192.168.1.1'],
    ...['::', '::1', 'fc00::1', 'fd12::1', 'fe80::1', '::ffff:10.0.0.1', '::10.0.0.1'],
  ])('to %s is refused', async (address) => {
    expect(await rcodeOf('www.example', address)).toBe('REFUSED');
    expect(await rcodeOf('www.example', address, { privateNames: undefined })).toBe('NOERROR');
  });

  it.each([
    ...[
      '198.51.100.1',
      '100.63.0.1',
      '100.128.0.1',
      '172.15.0.1',
      '172.32.0.1',
      '192.169.0.1',
      '169.253.0.1',
    ],
    ...['2001:db8::1', '::ffff:198.51.100.1', 'fec0::1'],
  ])('is not seen in %s', async (address) => {
    expect(await rcodeOf('www.example', address)).toBe('NOERROR');
  });

  it('is nothing that a local name, an allowed domain or one with servers of its own does', async () => {
    const address = '10.1.2.3';
    expect(await rcodeOf('printer', address)).toBe('NOERROR');
    const privateNames = ['corp.example'];
    expect(await rcodeOf('a.corp.example', address, { privateNames })).toBe('NOERROR');
    expect(await rcodeOf('acorp.example', address, { privateNames })).toBe('REFUSED');
    const upstream = new FakeUpstream((asked) =>
      respond(asked, [{ type: 'A', name: 'vpn.example', ttl: 60, data: address }]),
    );
    expect(await rcodeOf('vpn.example', address, { upstream, route: () => upstream })).toBe('NOERROR');
  });

  it('says so, also of what the resolver found', async () => {
    const resolver = new FakeResolver({ 'www.example/4': ['10.1.2.3'] });
    const server = serverWith({ resolver, privateNames: [] });
    const { rcode, bytes } = await ask(server, query('www.example', 'A', { edns: 1232 }));
    expect(rcode).toBe('REFUSED');
    expect(extendedError(bytes)).toMatchObject({ code: 15 });
    expect(server.counters.sources.policy).toBe(1);
  });
});
