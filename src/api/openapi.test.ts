/** The OpenAPI document says what the API does, and is the one in docs/. */
import { type SpecData, Validator } from '@seriousme/openapi-schema-validator';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { apiLab } from './api.testutil.js';
import { apiDocument } from './index.js';
import { ROUTES } from './routes.js';

const DOCUMENT = path.resolve(import.meta.dirname, '../../docs/openapi.json');

const name = ({ method, path: where }: { method: string; path: string }): string => `${method} ${where}`;

describe('the OpenAPI document', () => {
  const document = apiDocument() as {
    paths: Record<
      string,
      Record<string, { operationId: string; parameters?: { name: string; in: string }[] }>
    >;
  };
  const text = JSON.stringify(document);

  it('is docs/openapi.json (npx netproxy config openapi > docs/openapi.json)', () => {
    expect(JSON.parse(readFileSync(DOCUMENT, 'utf8'))).toEqual(JSON.parse(text));
  });

  it('is what the API serves', async () => {
    await using api = await apiLab();
    expect((await api.ask('GET /v1/openapi.json')).body).toEqual(JSON.parse(text));
  });

  it('is a valid one of version 3.1', async () => {
    const validator = new Validator();
    expect(await validator.validate(JSON.parse(text) as SpecData)).toMatchObject({ valid: true });
    expect(validator.version).toBe('3.1');
  });

  it('has every endpoint, each under a name of its own', () => {
    const operations = Object.entries(document.paths).flatMap(([where, methods]) =>
      Object.entries(methods).map(([method, { operationId }]) => ({
        id: operationId,
        name: `${method.toUpperCase()} ${where}`,
      })),
    );
    expect(operations.map((one) => one.name).toSorted()).toEqual(ROUTES.map(name).toSorted());
    expect(new Set(operations.map(({ id }) => id)).size).toBe(ROUTES.length);
  });

  it('has every parameter of a path, and every schema that it names', () => {
    for (const [where, methods] of Object.entries(document.paths)) {
      const wanted = [...where.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      for (const { parameters = [] } of Object.values(methods))
        expect(parameters.filter((one) => one.in === 'path').map((one) => one.name)).toEqual(wanted);
    }
    const resolve = (ref: string): unknown =>
      ref
        .split('/')
        .slice(1)
        .reduce<unknown>((node, key) => (node as Record<string, unknown> | undefined)?.[key], document);
    for (const [, ref = ''] of text.matchAll(/"\$ref":"(#[^"]+)"/g)) expect(resolve(ref), ref).toBeDefined();
  });
});
