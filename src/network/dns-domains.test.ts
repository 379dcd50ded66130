import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { domainGroups, withSearch } from './dns-domains.js';

describe('servers of single domains', () => {
  it('become groups with tiers', () => {
    const [group] = domainGroups([
      {
        names: ['Corp.example.', '10.in-addr.arpa'],
        servers: ['10.0.0.1', '::1#5353'],
        order: 'race',
        timeout: 500,
        fallback: ['10.0.0.9'],
      },
    ]);
    expect(group).toEqual({
      from: 'configuration',
      domains: ['corp.example', '10.in-addr.arpa'],
      tiers: [
        {
          servers: [
            { host: '10.0.0.1', port: 53 },
            { host: '::1', port: 5353 },
          ],
          order: 'race',
          timeout: 500,
        },
        { servers: [{ host: '10.0.0.9', port: 53 }], order: 'race', timeout: undefined },
      ],
    });
  });

  it.each([
    { names: ['corp.example'], servers: ['dns.example'] },
    { names: ['corp.example'], servers: [] },
    { names: ['a..b'], servers: ['10.0.0.1'] },
    { names: ['a'], servers: ['10.0.0.1'], fallback: ['nobody'] },
  ])('refuse %j', (domain) => {
    expect(() => domainGroups([domain])).toThrow(expect.objectContaining({ code: 'ERR_NETPROXY_CONFIG' }));
  });

  it('bring search domains for DHCP, unless those are configured', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'np-search-'));
    const serversFile = path.join(folder, 'servers');
    writeFileSync(serversFile, 'nameserver 10.0.0.1\nsearch corp.example lab.example\n');
    const dns = { serversFile };
    expect(withSearch({ dns }).dhcp?.search).toEqual(['corp.example', 'lab.example']);
    expect(withSearch({ dns, dhcp: { search: ['own.example'] } }).dhcp?.search).toEqual(['own.example']);
    expect(withSearch({ dns: { serversFile: path.join(folder, 'none') } }).dhcp).toBeUndefined();
    expect(withSearch({})).toEqual({});
    rmSync(folder, { recursive: true });
  });
});
