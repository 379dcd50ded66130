/** Flows that wait for somebody's word. */
import { describe, expect, it } from 'vitest';
import type { AskQuestion } from '../index.js';
import type { PolicyOptions } from '../network/index.js';
import { testNetwork } from './index.js';
import { codeOf, readAll } from './testing.testutil.js';

const SERVER = '198.51.100.1';

async function asking(rules: readonly string[], policy: PolicyOptions = {}) {
  const lab = await testNetwork({ policy: { ...policy, rules } });
  lab.host.accept('*', (socket) => socket.end('ok'));
  lab.host.echoUdp('*');
  lab.host.name('www.example', SERVER);
  const questions: AskQuestion[] = [];
  const outcomes: string[] = [];
  lab.network.on('ask', (question) => questions.push(question));
  lab.network.on('answered', ({ id }, outcome) => outcomes.push(`${id} ${outcome}`));
  /** The code of what becomes of a connection; it has begun when this returns. */
  const dial = (port = 443, timeout = 60_000): Promise<string> =>
    codeOf(lab.guest.connect(SERVER, port, { timeout }).then(readAll));
  return { lab, questions, outcomes, dial };
}

describe('a connection that is asked about', () => {
  it('is answered when it is allowed, and the next one asks again', async () => {
    const { lab, questions, outcomes, dial } = await asking(['ask tcp:any:443']);
    await using _ = lab;
    await lab.run(lab.guest.query('www.example', 'A'));
    const first = dial();
    await lab.clock.advance(5000);
    expect(lab.host.counters.dials).toBe(0);
    expect(questions).toHaveLength(1);
    expect(questions[0]).toMatchObject({
      guest: 'guest1',
      protocol: 'tcp',
      address: SERVER,
      port: 443,
      name: 'www.example',
      rule: 'ask tcp:any:443',
    });
    expect(lab.network.policy.asks()).toEqual(questions);
    expect(questions[0]!.allow()).toBe(true);
    expect(questions[0]!.allow()).toBe(false);
    expect(await lab.run(first)).toBe('no error');
    const second = dial();
    await lab.clock.advance(100);
    expect(questions).toHaveLength(2);
    expect(lab.network.policy.answer(questions[1]!.id, 'deny')).toBe(true);
    expect(await lab.run(second)).not.toBe('no error');
    expect(outcomes).toEqual(questions.map(({ id }, i) => `${id} ${i === 0 ? 'allowed' : 'denied'}`));
    expect([...lab.network.policy.decisions()].map(({ verdict }) => verdict)).toEqual([
      'ask',
      'allow',
      'ask',
      'deny',
    ]);
  });

  it('is allowed without asking when the answer was to be remembered, by its name', async () => {
    const { lab, questions, dial } = await asking(['deny tcp:any:25', 'ask any']);
    await using _ = lab;
    await lab.run(lab.guest.query('www.example', 'A'));
    const first = dial();
    const other = dial(80);
    await lab.clock.advance(100);
    questions[0]!.allow({ remember: true });
    expect(await lab.run(first)).toBe('no error');
    expect(await lab.run(dial())).toBe('no error');
    expect(questions).toHaveLength(2);
    expect(lab.network.policy.rules().map(({ rule }) => rule)).toEqual([
      'deny tcp:any:25',
      'allow tcp:www.example:443@guest1',
      'ask any',
    ]);
    questions[1]!.deny({ remember: true });
    expect(await lab.run(other)).not.toBe('no error');
    expect(await lab.run(dial(80))).not.toBe('no error');
    expect(questions).toHaveLength(2);
    expect(await lab.network.explain({ host: SERVER, port: 80 })).toMatchObject({
      verdict: { kind: 'deny' },
      rule: 'deny tcp:www.example:80@guest1',
    });
    expect(await lab.network.explain({ host: SERVER, port: 81 })).toMatchObject({ verdict: { kind: 'ask' } });
  });

  it('is denied when nobody answers in time', async () => {
    const { lab, outcomes, dial } = await asking([], { default: 'ask', askTimeout: 3000 });
    await using _ = lab;
    const waiting = dial();
    await lab.clock.advance(2900);
    expect(outcomes).toEqual([]);
    await lab.clock.advance(200);
    expect(outcomes).toEqual([expect.stringMatching(/timedOut$/)]);
    expect(await lab.run(waiting)).not.toBe('no error');
    expect([...lab.network.policy.decisions()].at(-1)).toMatchObject({
      verdict: 'deny',
      why: expect.stringContaining('nobody answered') as string,
    });
  });

  it('waits no longer when the guest gives up, or leaves', async () => {
    const { lab, outcomes, questions, dial } = await asking(['ask any']);
    await using _ = lab;
    const socket = lab.guest.connect(SERVER, 443, { timeout: 1000 });
    await codeOf(lab.run(socket));
    const still = codeOf(dial(444));
    await lab.clock.advance(100);
    lab.network.guests()[0]!.detach();
    expect(outcomes.filter((outcome) => outcome.endsWith('gone'))).toHaveLength(questions.length);
    expect(lab.network.policy.asks()).toEqual([]);
    expect(questions.at(-1)!.allow()).toBe(false);
    await lab.clock.advance(70_000);
    await still;
  });

  it('is answered by a change of the rules, too', async () => {
    const { lab, outcomes, dial } = await asking(['ask any']);
    await using _ = lab;
    const waiting = dial();
    await lab.clock.advance(100);
    lab.network.policy.set({ rules: ['allow any'] });
    expect(await lab.run(waiting)).toBe('no error');
    expect(outcomes).toEqual([expect.stringMatching(/allowed$/)]);
  });

  it('is denied at once when 64 wait', async () => {
    const { lab, questions, dial } = await asking(['ask any']);
    await using _ = lab;
    const waiting = Array.from({ length: 64 }, (_none, n) => dial(1000 + n));
    await lab.clock.advance(100);
    expect(questions).toHaveLength(64);
    expect(await lab.run(dial(2000))).not.toBe('no error');
    expect(questions).toHaveLength(64);
    expect(lab.network.stats().asks).toMatchObject({ asked: 64, limit: 1 });
    for (const question of questions) question.deny();
    await lab.run(Promise.all(waiting));
    const again = dial(3000);
    await lab.clock.advance(100);
    expect(questions).toHaveLength(65);
    questions[64]!.allow();
    expect(await lab.run(again)).toBe('no error');
  });
});

describe('datagrams and pings that are asked about', () => {
  it('go on when they are allowed: the first one was kept', async () => {
    const { lab, questions } = await asking(['ask udp:any', 'ask icmp:any']);
    await using _ = lab;
    const socket = lab.guest.udp();
    for (const text of ['one', 'two', 'three']) socket.send(text, SERVER, 7);
    await lab.clock.advance(100);
    expect(questions).toHaveLength(1);
    questions[0]!.allow();
    expect(Buffer.from((await lab.run(socket.recv())).bytes).toString()).toBe('one');
    socket.send('four', SERVER, 7);
    expect(Buffer.from((await lab.run(socket.recv())).bytes).toString()).toBe('four');
    expect(questions).toHaveLength(1);
    expect(lab.network.stats().asks).toMatchObject({ waiting: 2 });
    const ping = codeOf(lab.guest.ping(SERVER, { timeout: 2000 }));
    await lab.clock.advance(100);
    expect(questions[1]).toMatchObject({ protocol: 'icmp', address: SERVER, port: undefined });
    questions[1]!.deny();
    expect(await lab.run(ping)).not.toBe('no error');
  });
});

describe('what was learned', () => {
  it('allows what was allowed, by name where there was one', async () => {
    const { lab, dial } = await asking([], { log: 'all' });
    await using _ = lab;
    await lab.run(lab.guest.query('www.example', 'A'));
    await lab.run(dial(443));
    await lab.run(dial(443));
    const socket = lab.guest.udp();
    socket.send('x', '203.0.113.9', 123);
    await lab.run(socket.recv());
    await lab.run(codeOf(lab.guest.connect(lab.network.addresses.hostAlias!, 5432).then(readAll)));
    const rules = lab.network.policy.learned();
    expect(rules).toEqual(['allow tcp:host:5432', 'allow tcp:www.example:443', 'allow udp:203.0.113.9:123']);
    lab.network.policy.set({ default: 'deny', rules });
    expect(await lab.run(dial(443))).toBe('no error');
    expect(await lab.run(dial(444))).not.toBe('no error');
    expect((await lab.run(lab.guest.query('www.example', 'A'))).rcode).toBe('NOERROR');
  });
});
