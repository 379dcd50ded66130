/** A published port in the configuration: Docker's text, or a section with options. */
import * as z from 'zod';
import { formatOptions } from '../forwarder/index.js';
import * as field from './fields.js';
import { section } from './section.js';

/** Both ways of writing one, as one text. */
export const publishSchema = z.union([
  field.publish,
  section({ ports: field.publish.describe("In Docker's syntax, ranges too"), ...field.publishOptions })
    .transform(({ ports, ...options }) => `${ports}${formatOptions(options)}`)
    .pipe(field.publish),
]);
