/** Names in the configuration: zones of one's own. The control API takes them in the same form. */
import * as z from 'zod';
import { NetproxyError } from '../core/index.js';
import { ZONE_TYPES, Zones, type ZoneConfig } from '../dns/index.js';
import * as field from './fields.js';
import { list, section } from './section.js';

/** RFC 2181 section 8. */
const ttl = field.whole('seconds', 0, 2_147_483_647);
const TEXT = 'a text, or a list of texts';

const record = section({
  name: z
    .string({ error: 'a name relative to the zone, @ for the zone itself' })
    .optional()
    .describe('Relative to the zone: www, *.apps; @ for the zone itself; whole with a dot at its end'),
  regexp: z
    .string({ error: 'a regular expression such as ^web-[0-9]+$' })
    .optional()
    .describe('Instead of name: fits names without the zone'),
  type: field.oneOf(...ZONE_TYPES),
  value: z
    .union([z.string({ error: TEXT }), list(z.string({ error: TEXT }))], { error: TEXT })
    .describe('As in zone files, names whole: 10.0.0.1, 10 mail.example; a list: as many records'),
  ttl: ttl.optional().describe("Seconds. Default the zone's"),
});

const zoneShape = section({
  name: field.dnsName,
  ttl: ttl.optional().describe('Seconds, of records that do not say. Default 60'),
  defaultIp: field.ipv4.optional().describe('Address of every name in the zone that has no records'),
  records: list(record).optional(),
});

const servers = list(field.dnsServer).min(1, { error: 'a list of servers as IP or IP#PORT' });

/** Servers of single domains. */
export const domainsSchema = list(
  section({
    names: list(field.dnsName).min(1, { error: 'a list of names' }).describe('With all names below them'),
    servers,
    order: field
      .oneOf('strict', 'race')
      .optional()
      .describe('One after the other, or all at once. Default strict'),
    timeout: field
      .whole('milliseconds', 50, 60_000)
      .optional()
      .describe('Until fallback is asked. Default: half of what is left'),
    fallback: servers.optional().describe('Asked when servers failed or kept silent'),
  }),
);

/** One zone. */
export const zoneSchema = zoneShape.superRefine((zone, context) => {
  complain([zone], context);
});

/** All zones of a file. */
export const zonesSchema = list(zoneShape).superRefine(complain);

/** Says in the words of the zones what is wrong. */
function complain(zones: readonly ZoneConfig[], context: z.core.$RefinementCtx): void {
  try {
    new Zones(zones);
  } catch (error) {
    if (!(error instanceof NetproxyError)) throw error;
    const { message, remedy } = error;
    context.addIssue({
      code: 'custom',
      message,
      params: { allowed: remedy ?? 'a zone that can be answered from' },
    });
  }
}
