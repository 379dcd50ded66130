/**
 * The same scripts of segments played against a Linux kernel and against our stack: each answer is the same, or the
 * difference is meant, has its reason in segments/differences.ts, and is exactly the one that is written there.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROJECT, requireAddon, requireNamespaces, requirements } from '../support/requirements.js';
import { Lab } from './lab.js';
import { DEVIATIONS, type Difference, formatDeviations } from './segments/differences.js';
import { play, type Script, type Step } from './segments/play.js';
import { SCRIPTS } from './segments/scripts.js';
import { linuxSide, ownSide, type Side } from './segments/sides.js';

const ready = requirements('differential test', requireNamespaces(), requireAddon());
/** Scripts at a time against the kernel, where they wait for answers. */
const TOGETHER = 8;
const FIRST_PORT = 20_000;

const MEANT = DEVIATIONS.flatMap(({ cases }) => cases);

/** Plays all scripts against one kernel; each has a port of its own. */
async function playLinux(side: Side): Promise<Map<string, readonly Step[]>> {
  const played = new Map<string, readonly Step[]>();
  for (let at = 0; at < SCRIPTS.length; at += TOGETHER)
    await Promise.all(
      SCRIPTS.slice(at, at + TOGETHER).map(async (script, i) => {
        played.set(script.name, await play(side, script, FIRST_PORT + at + i));
      }),
    );
  return played;
}

/** A stack of its own for the script, for flows of one guest share their windows. */
async function playOurs(script: Script): Promise<readonly Step[]> {
  const side = ownSide();
  try {
    // The peer's ARP announcement arrives.
    await side.settle();
    return await play(side, script, FIRST_PORT);
  } finally {
    await side.close();
  }
}

function differences(script: Script, linux: readonly Step[], ours: readonly Step[]): Difference[] {
  expect(
    ours.map((step) => step.did),
    script.name,
  ).toEqual(linux.map((step) => step.did));
  return ours.flatMap(({ did, answers }, i) => {
    const found = {
      script: script.name,
      step: did,
      linux: linux[i]!.answers.join('; '),
      ours: answers.join('; '),
    };
    return found.linux === found.ours ? [] : [found];
  });
}

describe('the scripts', () => {
  it('have names of their own, and every deviation has one that shows it', () => {
    const names = SCRIPTS.map((script) => script.name);
    expect(new Set(names).size).toBe(names.length);
    for (const { what, why, cases } of DEVIATIONS) {
      expect(what).not.toBe('');
      expect(why).not.toBe('');
      expect(cases).not.toEqual([]);
    }
    expect(MEANT.map((d) => d.script).filter((name) => !names.includes(name))).toEqual([]);
  });

  it('docs/conformance.md shows the deviations', () => {
    const text = readFileSync(join(PROJECT, 'docs/conformance.md'), 'utf8');
    expect(text).toContain(formatDeviations());
  });
});

describe.runIf(ready)('answers to the same segments, Linux and ours', () => {
  let lab: Lab;
  let linux: Map<string, readonly Step[]>;

  beforeAll(async () => {
    lab = await Lab.create();
    const kernel = await linuxSide(lab);
    linux = await playLinux(kernel);
    await kernel.close();
  });

  afterAll(async () => {
    await lab.destroy();
  });

  it.each(SCRIPTS.map((script) => [script.name, script] as const))('%s', async (name, script) => {
    const found = differences(script, linux.get(name)!, await playOurs(script));
    expect(found).toEqual(MEANT.filter((d) => d.script === name));
  });
});
