/** `netproxy config schema` and `netproxy config check FILE`. */
import { apiDocument } from '../api/index.js';
import { configJsonSchema, loadConfig, networkConfig } from '../config/index.js';
import { resolveAddresses } from '../network/index.js';
import { EXIT } from './exit.js';
import { checkServe } from './serve.js';
import type { Terminal } from './terminal.js';

export function printSchema(terminal: Terminal): number {
  terminal.out(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
  return EXIT.ok;
}

/** Prints the OpenAPI document of the control API. */
export function printOpenApi(terminal: Terminal): number {
  terminal.out(`${JSON.stringify(apiDocument(), null, 2)}\n`);
  return EXIT.ok;
}

/** Checks a file as `serve` would, opening nothing; throws ERR_NETPROXY_CONFIG. */
export function checkFile(file: string, terminal: Terminal): number {
  const config = loadConfig(file);
  const { links, services, servicesReadOnly } = config;
  // A file without links is good for `run` and `explain`, or beside flags.
  if (links !== undefined || services !== undefined || servicesReadOnly !== undefined) checkServe(config);
  resolveAddresses(networkConfig(config), () => []);
  terminal.out(`${file}: ok\n`);
  return EXIT.ok;
}
