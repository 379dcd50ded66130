/** The flags of the HTTP proxy. */
import type { Command } from 'commander';
import { field, httpProxySchema } from '../config/index.js';
import type { Collected } from './collect.js';
import { add, numberOf } from './flags.js';

/** Upstream proxies, what goes past them, and the proxy on the gateway. */
export function proxyFlags(command: Command, to: Collected): void {
  command.optionsGroup('HTTP proxy:');
  const { shape: keys } = httpProxySchema;
  for (const [name, key, what] of [
    [
      '--http-proxy',
      'http',
      "upstream proxy instead of the environment's: [http|https|socks5|socks5h://][USER:PASSWORD@]HOST[:PORT], or direct (repeatable; the next one when one fails)",
    ],
    ['--https-proxy', 'https', 'the same for CONNECT (default: those of --http-proxy)'],
  ] as const) {
    add(command, `${name} <url>`, what, (text, flag) => {
      to.httpProxy[key] = [...(to.httpProxy[key] ?? []), to.check(flag, field.upstream, text)];
    });
  }
  add(
    command,
    '--proxy-exclude <list>',
    'what goes past the upstream: example.org,10.0.0.0/8,<local> (repeatable)',
    (text, flag) => {
      to.httpProxy.noProxy = [...(to.httpProxy.noProxy ?? []), to.check(flag, field.noProxy, text)];
    },
  );
  add(
    command,
    '--proxy-pac <url>',
    'proxy auto-config file: a path, or a URL with http, https, file or data',
    (text, flag) => {
      to.httpProxy.pac = to.check(flag, field.pac, text);
    },
  );
  add(
    command,
    '--proxy-pac-failure <what>',
    'while it does not work: direct or deny (default: direct)',
    (text, flag) => {
      to.httpProxy.pacFailure = to.check(flag, keys.pacFailure, text);
    },
  );
  add(
    command,
    '--proxy-file <file>',
    "vpnkit's http_proxy.json instead; read again when it changes",
    (text, flag) => {
      to.httpProxy.file = to.check(flag, field.path, text);
    },
  );
  add(command, '--proxy-ca <file>', 'certificates (PEM) for upstreams by https', (text, flag) => {
    to.httpProxy.caFile = to.check(flag, field.path, text);
  });
  add(
    command,
    '--proxy-transparent <auto|on|off>',
    'connections to web servers go by the proxy, too (default: auto, where an upstream is set)',
    (text, flag) => {
      to.httpProxy.transparent = to.check(flag, keys.transparent, text);
    },
  );
  for (const [name, key, what] of [
    ['--proxy-http-port', 'httpPorts', 'port of such connections, http (repeatable; default: 80)'],
    ['--proxy-https-port', 'httpsPorts', 'port of such connections, TLS (repeatable; default: 443)'],
  ] as const) {
    add(command, `${name} <port>`, what, (text, flag) => {
      to.httpProxy[key] = [...(to.httpProxy[key] ?? []), to.check(flag, keys.port.unwrap(), numberOf(text))];
    });
  }
  add(
    command,
    '--proxy-credentials <command>',
    'command that prints USER:PASSWORD for upstreams that have none in their URL',
    (text, flag) => {
      to.httpProxy.credentialsCommand = to.check(flag, keys.credentialsCommand, text);
    },
  );
  command.option('--no-proxy-system', 'do without the proxies that are set in the operating system');
  command.on('option:no-proxy-system', () => {
    to.httpProxy.system = false;
  });
  add(
    command,
    '--proxy-port <port|off>',
    'port of the HTTP proxy on the gateway (default: 3128)',
    (text, flag) => {
      if (text === 'off') to.httpProxy.explicit = false;
      else to.httpProxy.port = to.check(flag, keys.port, numberOf(text));
    },
  );
}
