/** The configuration file: its schema, how it is read, and how flags are laid over it. */
export { checkFlag, configError, describeIssue, showValue } from './errors.js';
export { zoneSchema } from './dns-names.js';
export * as field from './fields.js';
export { MAX_CONFIG_SIZE, loadConfig, loadFile, parseConfig } from './load.js';
export { mergeConfig, networkConfig } from './merge.js';
export {
  type Config,
  type GuestConfig,
  type LinkConfig,
  configJsonSchema,
  configSchema,
  dockerSchema,
  httpProxySchema,
  switchSchema,
} from './schema.js';
