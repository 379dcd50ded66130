import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type GoFlags, goUsage, parseGoFlags } from './go-flags.js';

const FLAGS = {
  text: { kind: 'string', help: 'a text' },
  many: { kind: 'strings', help: 'texts' },
  n: { kind: 'int', help: 'a number' },
  on: { kind: 'bool', help: 'a switch' },
} as const satisfies GoFlags;

describe("Go's flags", () => {
  it.each([
    [[], {}, []],
    [['-text', 'a', '--text', 'b'], { text: 'b' }, []],
    [['-text=a=b', '--many=1', '-many', '-2'], { text: 'a=b', many: ['1', '-2'] }, []],
    [['-text='], { text: '' }, []],
    [['-on', 'rest', '-text', 'x'], { on: true }, ['rest', '-text', 'x']],
    [['-on=false', '--on=T'], { on: true }, []],
    [['-n', '-1'], { n: -1 }, []],
    [['--n=0x10', '--', '-n'], { n: 16 }, ['-n']],
    [['-'], {}, ['-']],
  ])('%j', (argv, values, rest) => {
    expect(parseGoFlags(FLAGS, argv)).toEqual({ values, rest, help: false });
  });

  it.each([['-h'], ['--help'], ['-on', '-help', '-nix']])('%s asks for help', (...argv) => {
    expect(parseGoFlags(FLAGS, argv).help).toBe(true);
  });

  it.each([
    [['-nix'], 'flag provided but not defined: -nix'],
    [['--__proto__'], 'flag provided but not defined: -__proto__'],
    [['-text'], 'flag needs an argument: -text'],
    [['-n', 'x'], 'invalid value "x" for flag -n: parse error'],
    [['-n=99999999999999999999'], 'invalid value "99999999999999999999" for flag -n: value out of range'],
    [['-on=maybe'], 'invalid boolean value "maybe" for -on: parse error'],
    [['-=x'], 'bad flag syntax: -=x'],
    [['---text'], 'bad flag syntax: ---text'],
  ])('refuses %j', (argv, message) => {
    expect(() => parseGoFlags(FLAGS, argv)).toThrow(
      expect.objectContaining({ code: 'ERR_NETPROXY_CONFIG', message }) as Error,
    );
  });

  it('take any words or refuse them by name', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (argv) => {
        try {
          parseGoFlags(FLAGS, argv);
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_NETPROXY_CONFIG' });
        }
      }),
    );
  });

  it('are listed with their kinds', () => {
    expect(goUsage(FLAGS)).toBe(
      '  -text string\n      a text\n  -many value\n      texts\n  -n int\n      a number\n  -on\n      a switch\n',
    );
  });
});
