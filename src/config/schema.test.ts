import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { configJsonSchema } from './schema.js';

const committed = path.resolve(import.meta.dirname, '../../docs/config.schema.json');

describe('configJsonSchema', () => {
  it('is docs/config.schema.json (npx netproxy config schema > docs/config.schema.json)', () => {
    expect(JSON.parse(readFileSync(committed, 'utf8'))).toEqual(
      JSON.parse(JSON.stringify(configJsonSchema())),
    );
  });

  it('refuses unknown keys and wants the version', () => {
    const schema = configJsonSchema();
    expect(schema['additionalProperties']).toBe(false);
    expect(schema['required']).toEqual(['version']);
    expect(schema['$schema']).toContain('2020-12');
  });

  it('describes every key of the first level, or leads into a section', () => {
    const properties = configJsonSchema()['properties'] as Record<
      string,
      { description?: string; properties?: object }
    >;
    for (const [key, value] of Object.entries(properties)) {
      expect(value.description ?? value.properties, key).toBeDefined();
    }
  });
});
