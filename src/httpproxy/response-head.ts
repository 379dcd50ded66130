/** The head of an answer to CONNECT, read strictly (RFC 9112 sections 2 to 5): an upstream's words decide what a guest is told. */
import { MAX_FIELDS, MAX_HEAD } from './headers.js';

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  /** Name and value in turn. */
  readonly headers: readonly string[];
  /** Bytes of the head. */
  readonly length: number;
}

const END = Buffer.from('\r\n\r\n');

/** Undefined: incomplete. Throws an error with the code HPE_HEAD for what is no head. */
export function parseResponseHead(bytes: Buffer): ResponseHead | undefined {
  const end = bytes.indexOf(END);
  if (end < 0 || end > MAX_HEAD) {
    if (bytes.length > MAX_HEAD) throw bad(`its answer has more than ${MAX_HEAD} bytes of head`);
    // Whoever speaks something else is not waited for.
    const start = bytes.subarray(0, 5).toString('latin1');
    if (!'HTTP/'.startsWith(start)) throw bad('its answer is not HTTP');
    return undefined;
  }
  const [first = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n');
  const status = /^HTTP\/1\.[01] ([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/.exec(first);
  if (status === null) throw bad('its answer has no status line');
  if (lines.length > MAX_FIELDS) throw bad(`its answer has more than ${MAX_FIELDS} fields`);
  const headers = lines.flatMap((line) => {
    const field = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*?)[\t ]*$/.exec(line);
    if (field === null) throw bad('its answer has a field that is none');
    return [field[1]!, field[2]!];
  });
  return { status: Number(status[1]), reason: status[2] ?? '', headers, length: end + END.length };
}

function bad(message: string): Error {
  return Object.assign(new Error(message), { code: 'HPE_HEAD' });
}
