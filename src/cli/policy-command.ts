/** `netproxy policy …` as the command line knows it. */
import type { Command } from 'commander';
import { EXIT_HELP } from './exit.js';
import { type AddOptions, type ChangeOptions, type LogOptions } from './policy.js';
import * as policy from './policy.js';
import { type AnswerOptions, answer, asks, learn } from './policy-asks.js';
import { type RemoteOptions, remoteFlags } from './remote.js';
import type { Terminal } from './terminal.js';

const END = 'end flows that are not allowed any more, TCP with RST on both sides';
const RULE = '[tcp:|udp:|icmp:|dns:]TARGET[:PORTS][@GUEST]; TARGET: IP, CIDR, name, *.name, host, any';

/** Adds the commands; `done` takes the exit code of one. */
export function policyCommand(program: Command, terminal: Terminal, done: (code: number) => void): void {
  const group = program
    .command('policy')
    .description('the policy of a running netproxy: what guests may reach')
    .usage('list | allow | deny | ask | redirect | remove | default | log | asks | answer | learn');
  listCommand(group, terminal, done);
  ruleCommands(group, terminal, done);
  removeCommand(group, terminal, done);
  defaultCommand(group, terminal, done);
  logCommand(group, terminal, done);
  askCommands(group, terminal, done);
  learnCommand(group, terminal, done);
}

type Done = (code: number) => void;

function examples(command: Command, ...lines: readonly string[]): void {
  command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  ${line}\n`).join('')}${EXIT_HELP}`);
}

function listCommand(group: Command, terminal: Terminal, done: Done): void {
  const command = group
    .command('list', { isDefault: true })
    .description('list the rules, and how often each decided');
  remoteFlags(command, 'as one JSON object');
  examples(command, 'netproxy policy list');
  command.action(async (options: RemoteOptions) => {
    done(await policy.list(options, terminal));
  });
}

function ruleCommands(group: Command, terminal: Terminal, done: Done): void {
  for (const action of ['allow', 'deny', 'ask'] as const) {
    const command = group
      .command(action)
      .description(action === 'ask' ? 'add rules that let somebody decide' : `add rules that ${action}`)
      .argument('<rule...>', RULE);
    addFlags(command);
    examples(
      command,
      `netproxy policy ${action} tcp:*.example.com:443`,
      `netproxy policy ${action} 10.0.0.0/8@build --before 3`,
    );
    command.action(async (rules: string[], options: AddOptions) => {
      done(
        await policy.add(
          rules.map((rule) => `${action} ${rule}`),
          options,
          terminal,
        ),
      );
    });
  }
  const redirect = group
    .command('redirect')
    .description('add a rule that leads flows elsewhere, behind all others')
    .argument('<rule>', RULE)
    .argument('<to>', 'IP or host, with :PORT or without');
  addFlags(redirect);
  examples(redirect, 'netproxy policy redirect tcp:203.0.113.7:80 host:8080');
  redirect.action(async (rule: string, to: string, options: AddOptions) => {
    done(await policy.add([`redirect ${rule} to ${to}`], options, terminal));
  });
}

function addFlags(command: Command): void {
  command
    .option('--before <id>', 'before the rule of this id: the first rule that fits decides')
    .option('--first', 'before all rules')
    .option('--end', END);
  remoteFlags(command, 'one JSON object per rule');
}

function removeCommand(group: Command, terminal: Terminal, done: Done): void {
  const command = group
    .command('remove')
    .description('take rules away')
    .argument('<id...>', 'as netproxy policy list shows it')
    .option('--end', END);
  remoteFlags(command, 'one JSON object per rule');
  examples(command, 'netproxy policy remove 3');
  command.action(async (ids: string[], options: ChangeOptions) => {
    done(await policy.remove(ids, options, terminal));
  });
}

function defaultCommand(group: Command, terminal: Terminal, done: Done): void {
  const command = group
    .command('default')
    .description('say what happens where no rule fits')
    .argument('<allow|deny|ask>')
    .option('--end', END);
  remoteFlags(command, 'the policy as one JSON object');
  examples(command, 'netproxy policy default deny --end');
  command.action(async (action: string, options: ChangeOptions) => {
    done(await policy.setDefault(action, options, terminal));
  });
}

function logCommand(group: Command, terminal: Terminal, done: Done): void {
  const command = group
    .command('log')
    .description('print the audit log: what was denied lately')
    .option('-f, --follow', 'and what is decided from now on, until it ends')
    .option('--guest <name>', 'only decisions about this guest')
    .option('--tell <denied|all>', 'from now on the log tells what is denied, or all decisions');
  remoteFlags(command, 'one JSON object per decision');
  examples(command, 'netproxy policy log -f', 'netproxy policy log --tell all');
  command.action(async (options: LogOptions) => {
    done(await policy.log(options, terminal));
  });
}

function askCommands(group: Command, terminal: Terminal, done: Done): void {
  const list = group.command('asks').description('list the flows that wait for an answer');
  remoteFlags(list, 'one JSON object per question');
  examples(list, 'netproxy policy asks', 'netproxy events -f --types ask');
  list.action(async (options: RemoteOptions) => {
    done(await asks(options, terminal));
  });
  const reply = group
    .command('answer')
    .description('answer for flows that wait')
    .argument('<allow|deny>')
    .argument('<id...>', 'as netproxy policy asks shows it')
    .option('--remember', 'make a rule of it, before the one that asked');
  remoteFlags(reply, 'one JSON object per answer');
  examples(reply, 'netproxy policy answer allow 17', 'netproxy policy answer deny 18 19 --remember');
  reply.action(async (verdict: string, ids: string[], options: AnswerOptions) => {
    done(await answer(verdict, ids, options, terminal));
  });
}

function learnCommand(group: Command, terminal: Terminal, done: Done): void {
  const command = group
    .command('learn')
    .description('write the rules that the flows so far needed; the first time it begins to look');
  remoteFlags(command, 'as one JSON object');
  examples(command, 'netproxy policy learn', 'netproxy policy learn > rules.yaml');
  command.action(async (options: RemoteOptions) => {
    done(await learn(options, terminal));
  });
}
