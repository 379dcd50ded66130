/** `netproxy dns …`, as the command line knows it. */
import type { Command } from 'commander';
import { listZones, removeZones, setZones } from './dns-zones.js';
import { type RemoteOptions, remoteFlags } from './remote.js';
import { type Done, examples } from './remote-commands.js';
import type { Terminal } from './terminal.js';

export function dnsCommands(program: Command, terminal: Terminal, done: Done): void {
  const group = program.command('dns').description("the gateway's DNS: zones of your own").usage('zones');
  zonesCommands(group, terminal, done);
}

function zonesCommands(dns: Command, terminal: Terminal, done: Done): void {
  const group = dns
    .command('zones')
    .description('zones of your own, of a running netproxy')
    .usage('[list] | set FILE | remove NAME…');
  const list = group.command('list', { isDefault: true }).description('list the zones with their records');
  remoteFlags(list, 'one JSON object per zone, as set takes it');
  examples(list, 'netproxy dns zones');
  list.action(async (options: RemoteOptions) => {
    done(await listZones(options, terminal));
  });
  const set = group
    .command('set')
    .description('add zones, or replace those of the same name; at once, until netproxy ends')
    .argument(
      '<file>',
      "YAML or JSON: a zone or a list of zones, as in the configuration's dns.zones or as gvproxy has them; -: standard input",
    );
  remoteFlags(set, 'one JSON object per zone');
  examples(set, 'netproxy dns zones set corp.yaml');
  set.action(async (file: string, options: RemoteOptions) => {
    done(await setZones(file, options, terminal));
  });
  const remove = group.command('remove').description('remove zones').argument('<name...>', 'name of a zone');
  remoteFlags(remove, 'one JSON object per zone');
  examples(remove, 'netproxy dns zones remove corp.example');
  remove.action(async (names: string[], options: RemoteOptions) => {
    done(await removeZones(names, options, terminal));
  });
}
