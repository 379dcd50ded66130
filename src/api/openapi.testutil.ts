/** The OpenAPI document as a judge of answers. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Reply } from './api.testutil.js';
import { apiDocument } from './index.js';

interface Operation {
  readonly responses: Readonly<
    Record<string, { content?: Readonly<Record<string, unknown>>; $ref?: string }>
  >;
}

const document = JSON.parse(JSON.stringify(apiDocument())) as {
  paths: Record<string, Record<string, Operation>>;
};
// Keywords of OpenAPI and of people stand beside those of JSON Schema.
const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
ajv.addSchema(document, 'openapi');

const pointer = (...keys: readonly string[]): string =>
  keys.map((key) => `/${encodeURIComponent(key.replaceAll('~', '~0').replaceAll('/', '~1'))}`).join('');

/** What the document has against an answer to this endpoint, such as `GET` and `/v1/flows/{id}`; nothing: it fits. */
export function misfits(method: string, path: string, { status, headers, text, body }: Reply): string[] {
  const { responses } = document.paths[path]?.[method.toLowerCase()] ?? { responses: {} };
  const code = String(status) in responses ? String(status) : 'default';
  const response = responses[code];
  if (response === undefined) return [`no answer of ${method} ${path} is described`];
  if (status < 400 && code === 'default') return [`the status ${status} is not described`];
  const own = ['paths', path, method.toLowerCase(), 'responses', code];
  const shared = response.$ref?.split('/').slice(1);
  const content = shared === undefined ? response.content : { 'application/problem+json': {} };
  const type = (headers['content-type'] as string | undefined)?.split(';')[0] ?? '';
  if (content === undefined) return text === '' ? [] : ['an answer without content has some'];
  if (!(type in content)) return [`the type ${type} is not described`];
  const where = pointer(...(shared ?? own), 'content', type, 'schema');
  const validate = ajv.compile({ $ref: `openapi#${where}` });
  return validate(body) ? [] : (validate.errors ?? []).map((one) => `${one.instancePath} ${one.message}`);
}
