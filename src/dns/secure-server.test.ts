import { describe, expect, it } from 'vitest';
import { parseSecureServer } from './secure-server.js';

describe('servers behind TLS', () => {
  it.each([
    ['tls://9.9.9.9', { kind: 'tls', host: '9.9.9.9', port: 853, name: undefined, path: undefined }],
    ['tls://9.9.9.9:8853#DNS.quad9.net', { kind: 'tls', host: '9.9.9.9', port: 8853, name: 'dns.quad9.net' }],
    ['TLS://[2620:fe::fe]#dns.quad9.net', { kind: 'tls', host: '2620:fe::fe', port: 853 }],
    [
      'https://9.9.9.9#dns.quad9.net',
      { kind: 'https', port: 443, path: '/dns-query', name: 'dns.quad9.net' },
    ],
    ['https://9.9.9.9:8443/a/b?c', { kind: 'https', port: 8443, path: '/a/b?c', name: undefined }],
  ])('%s', (text, expected) => {
    expect(parseSecureServer(text)).toMatchObject(expected);
  });

  it.each([
    'tls://dns.quad9.net',
    'tls://9.9.9.9/path',
    'tls://9.9.9.999',
    'tls://9.9.9.9:0',
    'tls://9.9.9.9:70000',
    'tls://[9.9.9.9]',
    'tls://9.9.9.9#',
    'tls://9.9.9.9#a..b',
    'http://9.9.9.9',
    '9.9.9.9',
    'https://9.9.9.9/with space',
  ])('not %s', (text) => {
    expect(parseSecureServer(text)).toBeUndefined();
  });
});
