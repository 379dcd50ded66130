/** gvproxy's configuration file (YAML). Unknown keys are refused: gvproxy leaves them out, and a typing error with them. */
import * as z from 'zod';
import { field, loadFile } from '../../config/index.js';

const text = z.string({ error: 'a text' });
const yesNo = z.boolean({ error: 'true or false' });
const map = z.record(z.string(), text, { error: 'keys with texts as values' });
const list = z.array(text, { error: 'a list of texts' });

const zone = z.strictObject({
  name: text,
  records: z
    .array(z.strictObject({ name: text.optional(), ip: field.ipv4, regexp: text.optional() }))
    .optional(),
  defaultIP: field.ipv4.optional(),
});

const fileSchema = z.strictObject({
  listen: list.optional(),
  'log-level': text.optional(),
  stack: z
    .strictObject({
      debug: yesNo.optional(),
      'capture-file': text.optional(),
      mtu: field.whole('bytes', 576, 65_520).optional(),
      subnet: field.subnet.optional(),
      gatewayIP: field.ipv4.optional(),
      gatewayMacAddress: field.mac.optional(),
      dns: z.array(zone, { error: 'a list of zones' }).optional(),
      dnsSearchDomains: list.optional(),
      forwards: map.optional(),
      nat: map.optional(),
      gatewayVirtualIPs: list.optional(),
      dhcpStaticLeases: map.optional(),
      vpnKitUUIDMacAddresses: map.optional(),
      ec2MetadataAccess: yesNo.optional(),
      blockAllOutbound: yesNo.optional(),
    })
    .optional(),
  interfaces: z
    .strictObject({
      vpnkit: text.optional(),
      qemu: text.optional(),
      bess: text.optional(),
      stdio: text.optional(),
      vfkit: text.optional(),
    })
    .optional(),
  forwards: z
    .array(z.strictObject({ socket: text, dest: text, user: text, identity: text }), {
      error: 'a list of socket, dest, user, identity',
    })
    .optional(),
  'pid-file': text.optional(),
  'log-file': text.optional(),
  services: text.optional(),
  'ec2-metadata-access': yesNo.optional(),
  notification: text.optional(),
});

export type GvproxyFile = z.output<typeof fileSchema>;

/** Reads and checks a file; throws ERR_NETPROXY_CONFIG naming file, line, key and value. */
export function loadGvproxyFile(file: string): GvproxyFile {
  return loadFile(file, fileSchema, 'docs/gvproxy.md lists the keys.');
}
