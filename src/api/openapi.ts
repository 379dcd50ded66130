/** The OpenAPI 3.1 document, made from the table of endpoints and their schemas. */
import * as z from 'zod';
import { pageQuery } from './page.js';
import type { Answer, Route } from './route.js';
import * as policy from './policy-schemas.js';
import * as dns from './dns-schemas.js';
import * as schemas from './schemas.js';
import { packageVersion } from './version.js';
import { PROBLEM_TYPE } from './problem.js';

type Json = Readonly<Record<string, unknown>>;

/** Schemas with a name of their own in the document. */
const NAMES: readonly (readonly [string, z.ZodType])[] = [
  ['Version', schemas.versionSchema],
  ['Health', schemas.healthSchema],
  ['Network', schemas.networkSchema],
  ['Guest', schemas.guestSchema],
  ['Lease', schemas.leaseSchema],
  ['Port', schemas.portSchema],
  ['Publish', schemas.publishSchema],
  ['PublishRange', schemas.publishRangeSchema],
  ['Flow', schemas.flowSchema],
  ['Stats', schemas.statsSchema],
  ['Policy', policy.policySchema],
  ['PolicyChange', policy.policyChangeSchema],
  ['Rule', policy.ruleSchema],
  ['RuleAdd', policy.ruleAddSchema],
  ['Decision', policy.decisionSchema],
  ['Question', policy.questionSchema],
  ['Answer', policy.answerSchema],
  ['Learned', policy.learnedSchema],
  ['Explanation', policy.explanationSchema],
  ['Zone', schemas.zoneSchema],
  ['DnsExplanation', dns.dnsExplanationSchema],
  ['DnsAnswer', dns.dnsAnswerSchema],
  ['LogLevel', schemas.logLevelSchema],
  ['Event', schemas.eventSchema],
  ['Problem', schemas.problemSchema],
];

/** What clients send, where it has a name. */
const SENT: ReadonlySet<z.ZodType> = new Set([
  schemas.publishSchema,
  schemas.publishRangeSchema,
  policy.policyChangeSchema,
  policy.ruleAddSchema,
  policy.answerSchema,
]);

/** The document of these endpoints. */
export function openApiDocument(routes: readonly Route[]): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes) (paths[route.path] ??= {})[route.method.toLowerCase()] = operation(route);
  return {
    openapi: '3.1.0',
    info: {
      title: 'netproxy control API',
      version: packageVersion(),
      summary: 'Look at a running netproxy and change it',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'http://netproxy', description: 'A unix socket, or TCP with a token' }],
    security: [{}, { token: [] }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'Over TCP and behind links' },
      },
      schemas: Object.fromEntries(NAMES.map(([name, schema]) => [name, schemaOf(schema)])),
      responses: {
        Problem: {
          description: 'Refused: problem details (RFC 9457)',
          content: { [PROBLEM_TYPE]: { schema: ref('Problem') } },
        },
      },
    },
  };
}

function operation(route: Route): Json {
  const query = { ...route.query?.shape, ...(route.answer.kind === 'page' ? pageQuery.shape : {}) };
  const parameters = [...parametersOf('path', route.params?.shape ?? {}), ...parametersOf('query', query)];
  const refused = (description: string): Json => ({
    description,
    content: { [PROBLEM_TYPE]: { schema: ref('Problem') } },
  });
  return {
    operationId: operationId(route),
    summary: route.summary,
    'x-rights': route.rights,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: named(route.body) } } } }),
    responses: {
      [route.status]: { description: 'Done', ...contentOf(route.answer) },
      ...Object.fromEntries(Object.entries(route.refusals ?? {}).map(([code, why]) => [code, refused(why)])),
      default: { $ref: '#/components/responses/Problem' },
    },
  };
}

/** `getFlowsById` of `GET /v1/flows/{id}`. */
function operationId({ method, path }: Route): string {
  const words = path
    .split(/[/.-]/)
    .slice(2)
    .map((part) => (part.startsWith('{') ? `by-${part.slice(1, -1)}` : part))
    .join('-');
  return `${method.toLowerCase()}-${words}`.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

function parametersOf(place: 'path' | 'query', shape: Readonly<Record<string, unknown>>): Json[] {
  return Object.entries(shape).map(([name, value]) => {
    const schema = value as z.ZodType;
    const { description, ...rest } = schemaOf(schema) as { description?: string };
    const required = !(schema instanceof z.ZodOptional);
    return { name, in: place, required, ...(description === undefined ? {} : { description }), schema: rest };
  });
}

function contentOf(answer: Answer): Json {
  switch (answer.kind) {
    case 'none':
      return {};
    case 'json':
      return { content: { 'application/json': { schema: named(answer.schema) } } };
    case 'page': {
      const next = { type: 'integer', description: 'Cursor of the next page; absent: this was the last one' };
      const properties = { items: { type: 'array', items: named(answer.item) }, next };
      const schema = { type: 'object', properties, required: ['items'] };
      return { content: { 'application/json': { schema } } };
    }
    case 'stream':
      return { content: { [answer.type]: { schema: answer.item === undefined ? {} : named(answer.item) } } };
  }
}

function ref(name: string): Json {
  return { $ref: `#/components/schemas/${name}` };
}

function named(schema: z.ZodType): Json {
  const name = NAMES.find(([, one]) => one === schema)?.[0];
  return name === undefined ? schemaOf(schema) : ref(name);
}

/** As JSON Schema. What netproxy answers may get more members: only what it is sent is closed. */
function schemaOf(schema: z.ZodType): Json {
  const document: Record<string, unknown> = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      if (jsonSchema.additionalProperties === false && !SENT.has(schema))
        delete jsonSchema.additionalProperties;
      // zod bounds every whole number by what JavaScript can count.
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
    },
  });
  delete document['$schema'];
  return document;
}
