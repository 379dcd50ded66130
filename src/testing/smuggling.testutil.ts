/** Requests that two servers could read in two ways. */

const HOST = 'Host: origin.test\r\n';
const post = (fields: string, body: string, version = '1.1'): string =>
  `POST http://origin.test/ HTTP/${version}\r\n${HOST}${fields}\r\n${body}`;

const TABLE: readonly (readonly [name: string, request: string])[] = [
  [
    'Content-Length and Transfer-Encoding',
    post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
  ],
  [
    'Transfer-Encoding and Content-Length',
    post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n'),
  ],
  ['two lengths', post('Content-Length: 3\r\nContent-Length: 5\r\n', 'abcde')],
  ['two equal lengths', post('Content-Length: 3\r\nContent-Length: 3\r\n', 'abc')],
  ['a list of lengths', post('Content-Length: 3, 3\r\n', 'abc')],
  ['a signed length', post('Content-Length: +3\r\n', 'abc')],
  ['a hexadecimal length', post('Content-Length: 0x3\r\n', 'abc')],
  ['a negative length', post('Content-Length: -3\r\n', 'abc')],
  ['a length beyond numbers', post('Content-Length: 99999999999999999999\r\n', 'abc')],
  ['no length', post('Content-Length:\r\n', 'abc')],
  ['a folded field', post('X-A: b\r\n c\r\n', '')],
  ['a folded coding', post('Transfer-Encoding:\r\n chunked\r\n', '0\r\n\r\n')],
  ['white space before the first field', `GET http://origin.test/ HTTP/1.1\r\n Host: a\r\n${HOST}\r\n`],
  ['bare LF behind a field', `GET http://origin.test/ HTTP/1.1\r\n${HOST.replace('\r', '')}X: y\r\n\r\n`],
  ['bare LF everywhere', 'GET http://origin.test/ HTTP/1.1\nHost: origin.test\n\n'],
  ['bare CR', `GET http://origin.test/ HTTP/1.1\r\n${HOST}X: a\rY: b\r\n\r\n`],
  ['NUL', `GET http://origin.test/ HTTP/1.1\r\n${HOST}X: a\0b\r\n\r\n`],
  ['identity', post('Transfer-Encoding: identity\r\n', 'abc')],
  ['chunked, identity', post('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n')],
  ['gzip, chunked', post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n')],
  ['chunked twice', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
  ['xchunked', post('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n')],
  ['a vertical tab', post('Transfer-Encoding: \x0bchunked\r\n', '0\r\n\r\n')],
  ['white space before the colon', post('Transfer-Encoding : chunked\r\n', '0\r\n\r\n')],
  ['chunked in HTTP/1.0', post('Transfer-Encoding: chunked\r\n', '0\r\n\r\n', '1.0')],
  ['bare LF in a chunk', post('Transfer-Encoding: chunked\r\n', '1\nx\r\n0\r\n\r\n')],
  ['bare LF behind a chunk', post('Transfer-Encoding: chunked\r\n', '1\r\nx\n0\r\n\r\n')],
  ['bare LF in a chunk extension', post('Transfer-Encoding: chunked\r\n', '1;a\nb\r\nx\r\n0\r\n\r\n')],
  ['0x before a chunk', post('Transfer-Encoding: chunked\r\n', '0x1\r\nx\r\n0\r\n\r\n')],
  ['a chunk beyond numbers', post('Transfer-Encoding: chunked\r\n', '10000000000000001\r\nx\r\n0\r\n\r\n')],
  ['two hosts', `GET http://origin.test/ HTTP/1.1\r\n${HOST}Host: other.test\r\n\r\n`],
  ['a field without a colon', `GET http://origin.test/ HTTP/1.1\r\n${HOST}foo\r\n\r\n`],
  ['a field without a name', `GET http://origin.test/ HTTP/1.1\r\n${HOST}: x\r\n\r\n`],
  ['a control in the target', `GET http://origin.test/\x01 HTTP/1.1\r\n${HOST}\r\n`],
  ['a user in the target', `GET http://a:b@origin.test/ HTTP/1.1\r\n${HOST}\r\n`],
  ['HTTP/1.9', `GET http://origin.test/ HTTP/1.9\r\n${HOST}\r\n`],
  ['HTTP/2.0', `GET http://origin.test/ HTTP/2.0\r\n${HOST}\r\n`],
  ['HTTP/0.9', 'GET http://origin.test/\r\n\r\n'],
  [
    'more fields than anybody needs',
    `GET http://origin.test/ HTTP/1.1\r\n${HOST}${'X: y\r\n'.repeat(300)}\r\n`,
  ],
  ['a head that does not end', `GET http://origin.test/ HTTP/1.1\r\n${HOST}X: ${'y'.repeat(70_000)}\r\n\r\n`],
  ['CONNECT with a path', `CONNECT origin.test:80/ HTTP/1.1\r\n${HOST}\r\n`],
  ['CONNECT without a port', `CONNECT origin.test HTTP/1.1\r\n${HOST}\r\n`],
  [
    'CONNECT with a length',
    `CONNECT origin.test:80 HTTP/1.1\r\n${HOST}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`,
  ],
];

/** The same to another place. `url`: how they ask for it, `http://HOST/` of a proxy, `/` of the server itself. */
export function smugglingTable(
  authority: string,
  url: string,
): readonly (readonly [name: string, request: string])[] {
  return TABLE.map(([name, request]) => [
    name,
    request.replaceAll('http://origin.test/', url).replaceAll('origin.test', authority),
  ]);
}
