/** `netproxy dns …`, as the command line knows it. */
import type { Command } from 'commander';
import { Collected } from './collect.js';
import { type DnsLogFlags, dnsLog, explainName } from './dns-explain.js';
import { addressFlags, configFlag } from './flags.js';
import { listZones, removeZones, setZones } from './dns-zones.js';
import { type RemoteOptions, remoteFlags } from './remote.js';
import { type Done, examples } from './remote-commands.js';
import type { Terminal } from './terminal.js';

export function dnsCommands(program: Command, terminal: Terminal, done: Done): void {
  const group = program
    .command('dns')
    .description("the gateway's DNS: how names are found, what is answered, zones of your own")
    .usage('explain NAME [TYPE] | log | zones');
  explainCommand(group, terminal, done);
  logCommand(group, terminal, done);
  zonesCommands(group, terminal, done);
}

function explainCommand(dns: Command, terminal: Terminal, done: Done): void {
  const to = new Collected();
  const command = dns
    .command('explain')
    .description('tell how a name is found, step by step, and what is found')
    .argument('<name>', 'DNS name')
    .argument('[type]', 'record type such as A, AAAA, MX or TYPE257', 'A');
  remoteFlags(command, 'as one JSON object', 'ask this running netproxy, whatever the other flags say');
  addressFlags(command, to, { mtu: '1500', alias: 'on, the last but one of the subnet' });
  command.optionsGroup('Process:');
  configFlag(command, to);
  examples(
    command,
    'netproxy dns explain host.docker.internal',
    'netproxy dns explain --api unix:/run/netproxy.sock corp.example MX',
  );
  command.action(async (name: string, type: string, options: RemoteOptions) => {
    done(await explainName(to.settle(), name, type, options, terminal));
  });
}

function logCommand(dns: Command, terminal: Terminal, done: Done): void {
  const command = dns
    .command('log')
    .description('tell what the DNS of a running netproxy answered guests lately')
    .option('-f, --follow', 'and what it answers from now on, until it ends')
    .option(
      '--last <n>',
      'begin with this many of those that were given already, 0 to 256 (default: 256; with -f: 0)',
    )
    .option('--guest <name>', 'only answers to this guest');
  remoteFlags(command, 'one JSON object per answer');
  examples(command, 'netproxy dns log -f', 'netproxy dns log --guest build --json');
  command.action(async (options: DnsLogFlags) => {
    done(await dnsLog(options, terminal));
  });
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
    .description(
      'add zones, or replace those of the same name; at once; kept over a restart where there is a state file',
    )
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
