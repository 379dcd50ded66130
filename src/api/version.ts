/** The version in package.json, two folders up from src/cli as from dist/cli. */
import { readFileSync } from 'node:fs';

let known: string | undefined;

export function packageVersion(): string {
  return (known ??= readVersion());
}

function readVersion(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
