/** The flags, in groups that commands take as they need them. Each one sets the configuration's key of the same meaning. */
import { type Command, Option } from 'commander';
import { configSchema, field, switchSchema } from '../config/index.js';
import type { Collected } from './collect.js';

const { shape } = configSchema;

/** Adds a flag that has a value; `set` gets the text of each occurrence. */
export function add(
  command: Command,
  flags: string,
  description: string,
  set: (text: string, flag: string) => void,
): void {
  const option = new Option(flags, description);
  const name = option.long ?? flags;
  command.addOption(
    option.argParser((text) => {
      set(text, name);
      return text;
    }),
  );
}

/** A number where the text is one; what else stands there is refused by the schema with its own words. */
export function numberOf(text: string): number | string {
  return /^\d{1,15}$/.test(text) ? Number(text) : text;
}

/** How guests attach. */
export function linkFlags(command: Command, to: Collected): void {
  command.optionsGroup('Links (each may be given several times):');
  const kinds = [
    ['qemu', 'stream netdev of QEMU: unix:/PATH, tcp:HOST:PORT, fd:N; connect:… dials'],
    ['vpnkit', 'the vpnkit protocol, same addresses'],
    ['listen', 'POST /connect, vpnkit and the control API, same addresses'],
    ['vsock', 'AF_VSOCK: PORT or vsock://:PORT listens, CID:PORT dials (needs the addon)'],
    ['vfkit', 'unix datagrams of vfkit, libkrun, QEMU dgram: unix:/PATH (needs the addon)'],
    ['bess', 'unix seqpacket socket: unix:/PATH (needs the addon)'],
  ] as const;
  for (const [name, description] of kinds) {
    const kind = name === 'listen' ? 'connect' : name;
    add(command, `--${name} <address>`, description, (text, flag) => {
      to.links.push({ kind, address: to.check(flag, field.linkAddress(kind), text) });
    });
  }
  add(
    command,
    '--tap <name>',
    'TAP interface, made when it does not exist (needs the addon)',
    (text, flag) => {
      to.taps.push(to.check(flag, field.interfaceName, text));
    },
  );
  add(
    command,
    '--netns <path|name>',
    'network namespace in which --tap opens its interface',
    (text, flag) => {
      to.netns = to.check(flag, field.path, text);
    },
  );
  add(command, '--tap-fd <n>', 'TAP that the parent opened (needs the addon)', (text, flag) => {
    to.links.push({ kind: 'tap-fd', fd: to.check(flag, field.descriptor, numberOf(text)) });
  });
  add(command, '--fd <n>', 'connected socket of the parent, with --framing', (text, flag) => {
    to.fds.push(to.check(flag, field.descriptor, numberOf(text)));
  });
  add(command, '--framing <kind>', 'what --fd speaks: qemu, vpnkit or connect', (text, flag) => {
    to.framing = to.check(flag, field.oneOf('qemu', 'vpnkit', 'connect'), text);
  });
  command.option('--stdio', 'frames on standard input and output');
  command.on('option:stdio', () => {
    to.links.push({ kind: 'stdio' });
  });
  add(
    command,
    '--services <address>',
    'control API: unix:/PATH, tcp:HOST:PORT with --token-file, or default (where clients look)',
    (text, flag) => {
      to.config.services = to.check(flag, field.controlAddress, text);
    },
  );
  add(command, '--services-read-only <address>', 'the same for looking only', (text, flag) => {
    to.config.servicesReadOnly = to.check(flag, field.controlAddress, text);
  });
  command.option(
    '--guest-api',
    'guests may ask the control API at port 80 of the gateway for what rules grant (--allow api:self)',
  );
  command.on('option:guest-api', () => {
    to.config.guestApi = true;
  });
  add(
    command,
    '--token-file <file>',
    'token that the control API wants over TCP and on --listen sockets; made when it is missing',
    (text, flag) => {
      to.config.tokenFile = to.check(flag, field.path, text);
    },
  );
}

/** Addresses and the MTU. `mtu` and `alias` are the defaults as the help tells them. */
export function addressFlags(
  command: Command,
  to: Collected,
  defaults: { readonly mtu: string; readonly alias: string },
): void {
  command.optionsGroup('Network:');
  add(
    command,
    '--subnet <cidr>',
    'network of the guests (default: 192.168.127.0/24, or the next one that is free)',
    (text, flag) => {
      to.config.subnet = to.check(flag, field.subnet, text);
    },
  );
  add(command, '--gateway-ip <ip>', 'default: the first address of the subnet', (text, flag) => {
    to.config.gatewayIp = to.check(flag, field.ipv4, text);
  });
  add(
    command,
    '--guest-ip <ip>',
    'address of the first guest (default: the second of the subnet)',
    (text, flag) => {
      to.config.guestIp = to.check(flag, field.ipv4, text);
    },
  );
  add(
    command,
    '--host-alias <ip|on|off>',
    `address by which guests reach this host's loopback (default: ${defaults.alias})`,
    (text, flag) => {
      to.config.hostAlias = to.check(flag, field.hostAlias, text);
    },
  );
  add(
    command,
    '--mtu <bytes>',
    `largest IP packet, 576 to 65520 (default: ${defaults.mtu})`,
    (text, flag) => {
      to.config.mtu = to.check(flag, shape.mtu, numberOf(text));
    },
  );
  add(
    command,
    '--mac <mac>',
    'MAC address for which --guest-ip is kept; run: of the interface',
    (text, flag) => {
      to.config.guestMac = to.check(flag, field.mac, text);
    },
  );
  add(
    command,
    '--dns-server <ip>',
    "ask this DNS server instead of the system's: IP, IP#PORT, tls://IP#NAME, https://IP/PATH#NAME; DOMAIN=… only for names in DOMAIN (repeatable)",
    (text, flag) => {
      const [, domain, server = text] = /^([^=:/#]+)=(.*)$/s.exec(text) ?? [];
      const checked = to.check(flag, field.dnsServer, server);
      if (domain === undefined) {
        to.dnsServers.push(checked);
        return;
      }
      const name = to.check(flag, field.dnsName, domain);
      to.dnsDomains.set(name, [...(to.dnsDomains.get(name) ?? []), checked]);
    },
  );
  add(
    command,
    '--dns-cache <bytes>',
    'DNS answers that are kept, in bytes; 0 for none (default: 4194304)',
    (text, flag) => {
      to.dns.cacheBytes = to.check(flag, shape.dns.unwrap().shape.cacheBytes, numberOf(text));
    },
  );
  add(
    command,
    '--dns-stale <seconds>',
    'give DNS answers so long after their end when no server answers (default: 0)',
    (text, flag) => {
      to.dns.staleSeconds = to.check(flag, shape.dns.unwrap().shape.staleSeconds, numberOf(text));
    },
  );
}

/** How a guest's datagrams leave. */
export function natFlags(command: Command, to: Collected): void {
  add(
    command,
    '--udp-nat <kind>',
    'who may answer a guest by UDP: full-cone, anybody; symmetric, only whom it talks to (default: full-cone)',
    (text, flag) => {
      to.config.udpNat = to.check(flag, field.oneOf('full-cone', 'symmetric'), text);
    },
  );
}

/** Published ports. */
export function publishFlags(command: Command, to: Collected): void {
  command.optionsGroup('Ports and policy:');
  add(
    command,
    '-p, --publish <spec>',
    '[GUEST@][HOSTIP:]HOSTPORT:[GUESTIP:]PORT[/tcp|udp][,OPTION…], also ranges: 8000-8009:8000-8009; OPTION: preserve-source, proxy-protocol=v1|v2, max-connections=N (repeatable)',
    (text, flag) => {
      to.publish.push(to.check(flag, field.publish, text));
    },
  );
  add(
    command,
    '--bind-helper <path>',
    'socket of netproxy bind-helper, asked for ports that this user may not bind (needs the addon)',
    (text, flag) => {
      to.config.bindHelper = to.check(flag, field.path, text);
    },
  );
}

/** Sockets of the host that lead to sockets of guests. */
export function sshForwardFlags(command: Command, to: Collected): void {
  add(
    command,
    '--ssh-forward <spec>',
    '/SOCKET=USER@GUEST[:PORT]:/PATH,identity=FILE[,known-hosts=FILE]: a unix socket of the host that leads to one of a guest, by ssh (repeatable)',
    (text, flag) => {
      to.sshForwards.push(to.check(flag, field.sshForward, text));
    },
  );
}

/** --allow and --deny: one list in the order in which they stand; the first that fits decides. */
export function policyFlags(command: Command, to: Collected): void {
  command.optionsGroup('Ports and policy:');
  for (const action of ['allow', 'deny', 'ask'] as const) {
    const description = `${action} [tcp:|udp:|icmp:|dns:]TARGET[:PORTS][@GUEST]; TARGET: IP, CIDR, name, *.name, host, any (repeatable; the first of all rules that fits decides)`;
    add(command, `--${action} <rule>`, description, (text, flag) => {
      to.rules.push(to.check(flag, field.rule, `${action} ${text}`));
    });
  }
  add(
    command,
    '--redirect <rule>',
    'lead flows elsewhere: RULE to IP[:PORT] or host[:PORT] (repeatable; in one list with --allow and --deny)',
    (text, flag) => {
      to.rules.push(to.check(flag, field.rule, `redirect ${text}`));
    },
  );
  add(
    command,
    '--default-policy <allow|deny|ask>',
    'what happens where no rule fits (default: allow)',
    (text, flag) => {
      to.defaultPolicy = to.check(flag, field.oneOf('allow', 'deny', 'ask'), text);
    },
  );
}

/** Guests among each other, and how fast they may be. */
export function switchFlags(command: Command, to: Collected): void {
  command.optionsGroup('Guests:');
  const { shape: keys } = switchSchema;
  command.option('--isolation', 'guests see the gateway and not each other; clones with one address work');
  command.on('option:isolation', () => {
    to.switch.isolation = true;
  });
  command.option('--no-anti-spoof', "guests may take over each other's addresses");
  command.on('option:no-anti-spoof', () => {
    to.switch.antiSpoof = false;
  });
  add(
    command,
    '--floods <frames>',
    'broadcasts a second of one guest that reach others; as many multicasts and unknown addresses (default: 1000)',
    (text, flag) => {
      to.switch.floods = to.check(flag, keys.floods, numberOf(text));
    },
  );
  for (const [name, key, side] of [
    ['--rate-up', 'rateUp', 'from'],
    ['--rate-down', 'rateDown', 'to'],
  ] as const) {
    const description = `bits per second ${side} each guest at most, such as 100mbit (default: no limit)`;
    add(command, `${name} <rate>`, description, (text, flag) => {
      to.switch[key] = to.check(flag, keys[key], numberOf(text));
    });
  }
}

/** Captures and faults. */
export function debugFlags(command: Command, to: Collected): void {
  command.optionsGroup('Looking closer:');
  add(command, '--pcap <file>', 'write all frames to FILE, pcap or pcapng by its extension', (text, flag) => {
    to.config.pcap = to.check(flag, field.path, text);
  });
  add(
    command,
    '--faults <list>',
    'a bad cable: loss=2%,reorder=2%,duplicate=1%,corrupt=1%,delay=20ms,jitter=5ms,rate=10mbit',
    (text, flag) => {
      to.config.faults = to.check(flag, field.faults, text);
    },
  );
}

/** The configuration file. */
export function configFlag(command: Command, to: Collected): void {
  add(command, '--config <file>', 'YAML or JSON; flags win over it', (text, flag) => {
    to.file = to.check(flag, field.path, text);
  });
}

/** Logs on stderr. */
export function logFlags(command: Command, to: Collected, level: string): void {
  command.optionsGroup('Output:');
  add(
    command,
    '--log-level <level>',
    `debug, info, warn, error or silent (default: ${level})`,
    (text, flag) => {
      to.log.level = to.check(flag, field.oneOf('debug', 'info', 'warn', 'error', 'silent'), text);
    },
  );
  add(command, '--log-format <format>', 'text or json, on standard error (default: text)', (text, flag) => {
    to.log.format = to.check(flag, field.oneOf('text', 'json'), text);
  });
}

/** How `serve` lives under a supervisor. */
export function processFlags(command: Command, to: Collected): void {
  command.optionsGroup('Process:');
  configFlag(command, to);
  add(
    command,
    '--state-file <file>',
    'keeps leases, and ports, zones and rules that were set live, over a restart; made when it does not exist',
    (text, flag) => {
      to.config.stateFile = to.check(flag, field.path, text);
    },
  );
  add(command, '--pid-file <file>', 'holds the process id while it runs', (text, flag) => {
    to.config.pidFile = to.check(flag, field.path, text);
  });
  add(
    command,
    '--ready-fd <n>',
    'write one line of JSON to this descriptor when everything listens',
    (text, flag) => {
      to.config.readyFd = to.check(flag, field.descriptor, numberOf(text));
    },
  );
  command.option('--exit-with-parent', 'end when the parent process does');
  command.on('option:exit-with-parent', () => {
    to.config.exitWithParent = true;
  });
}
