/**
 * Credentials for upstream proxies that have none in their URL: from a command, which is asked when they are needed and again when a
 * proxy refused them, or from the environment. They are kept in memory, and are in no log.
 *
 * The command is run by the shell. It reads `protocol=…` and `host=…` lines and prints `username=…` and `password=…` lines, as
 * git's credential helpers do, or just USER:PASSWORD.
 */
import { spawn } from 'node:child_process';
import { type Logger, type Millis, NetproxyError } from '../core/index.js';
import { type Credentials, type ProxyUpstream, formatHost } from '../httpproxy/index.js';

/** NETPROXY_PROXY_CREDENTIALS=USER:PASSWORD: other than a URL, it is not in the list of processes. */
export const CREDENTIALS_VARIABLE = 'NETPROXY_PROXY_CREDENTIALS';
const PATIENCE: Millis = 30_000;
/** It is not asked again for one proxy sooner than this, ms: a wrong password that is tried too often locks accounts. */
const ASK_AGAIN: Millis = 5000;
/** Proxies whose credentials are kept; characters of what a command prints. */
const MAX_KEPT = 64;
const MAX_OUTPUT = 64 * 1024;

interface Kept {
  readonly credentials: Promise<Credentials>;
  readonly askedAt: Millis;
}

export class ProxyCredentials {
  private readonly command: string | undefined;
  private readonly fixed: Credentials | undefined;
  private readonly logger: Logger;
  private readonly now: () => Millis;
  private readonly kept = new Map<string, Kept>();

  /** `fixed`: USER:PASSWORD of the environment, where there is no command. */
  constructor(
    command: string | undefined,
    fixed: string | undefined,
    logger: Logger,
    now: () => Millis = () => performance.now(),
  ) {
    this.command = command;
    this.fixed = fixed === undefined ? undefined : parseOutput(fixed);
    this.logger = logger;
    this.now = now;
  }

  /** Where they come from, for people. */
  get source(): 'command' | 'environment' | undefined {
    if (this.command !== undefined) return 'command';
    return this.fixed === undefined ? undefined : 'environment';
  }

  /** Rejects with ERR_NETPROXY_DIAL when the command fails; undefined: nobody knows any. */
  of(upstream: ProxyUpstream): Promise<Credentials | undefined> {
    if (this.command === undefined) return Promise.resolve(this.fixed);
    return this.kept.get(upstream.name)?.credentials ?? this.ask(upstream);
  }

  /** The proxy refused these: the command is asked again. True: it knows others now. */
  async refused(upstream: ProxyUpstream): Promise<boolean> {
    const there = this.kept.get(upstream.name);
    if (this.command === undefined || there === undefined) return false;
    const old = await there.credentials.catch(() => undefined);
    const { credentials: used } = upstream;
    // Somebody else was refused before, and asked.
    if (old !== undefined && !same(old, used)) return true;
    if (this.now() - there.askedAt < ASK_AGAIN) return false;
    return !same(await this.ask(upstream).catch(() => undefined), used);
  }

  private ask(upstream: ProxyUpstream): Promise<Credentials> {
    if (this.kept.size >= MAX_KEPT) this.kept.delete(this.kept.keys().next().value!);
    const credentials = this.run(upstream);
    const kept = { credentials, askedAt: this.now() };
    this.kept.set(upstream.name, kept);
    credentials.catch((error: unknown) => {
      this.logger.warn(`${upstream.name}: ${(error as Error).message}`, { every: 10_000 });
      // A failure holds for a while, too.
      setTimeout(() => {
        if (this.kept.get(upstream.name) === kept) this.kept.delete(upstream.name);
      }, ASK_AGAIN).unref();
    });
    return credentials;
  }

  private async run({ kind, host, port, name }: ProxyUpstream): Promise<Credentials> {
    const input = `protocol=${kind}\nhost=${formatHost(host)}:${port}\n\n`;
    const output = await runCommand(this.command!, input, { NETPROXY_PROXY: name });
    const credentials = parseOutput(output);
    if (credentials === undefined) throw failure('the command for credentials printed none');
    return credentials;
  }
}

/** `username=` and `password=` lines, or USER:PASSWORD in the first line; undefined where there is neither. */
export function parseOutput(text: string): Credentials | undefined {
  const lines = text.split(/\r?\n/);
  const value = (key: string): string | undefined =>
    lines.find((line) => line.startsWith(`${key}=`))?.slice(key.length + 1);
  const user = value('username');
  if (user !== undefined) return { user, password: value('password') ?? '' };
  const [first = ''] = lines;
  const colon = first.indexOf(':');
  return colon < 1 ? undefined : { user: first.slice(0, colon), password: first.slice(colon + 1) };
}

function same(a: Credentials | undefined, b: Credentials | undefined): boolean {
  return a?.user === b?.user && a?.password === b?.password;
}

/** What a command prints. What it says on its error output goes nowhere: secrets may be in it. */
function runCommand(command: string, input: string, more: Readonly<Record<string, string>>): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, {
      shell: true,
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...process.env, ...more },
      windowsHide: true,
      // A group of its own, so that all of it can be ended.
      detached: process.platform !== 'win32',
    });
    const end = (): void => {
      try {
        if (child.pid !== undefined && process.platform !== 'win32') process.kill(-child.pid, 'SIGKILL');
        else child.kill('SIGKILL');
      } catch {
        // It ended by itself.
      }
    };
    const timer = setTimeout(() => {
      end();
      reject(failure(`the command for credentials took more than ${PATIENCE / 1000} s`));
    }, PATIENCE);
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
      if (output.length > MAX_OUTPUT) end();
    });
    child.stdin.on('error', () => undefined).end(input);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(failure(`the command for credentials cannot be run: ${error.message}`));
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve(output);
      else reject(failure(`the command for credentials ended with ${signal ?? `code ${code ?? ''}`}`));
    });
  });
}

function failure(message: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_DIAL', message, { remedy: 'Run it by hand.' });
}
