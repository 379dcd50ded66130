import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { LinearRegExp, MAX_PATTERN } from './regexp.js';

describe('linear regular expressions', () => {
  it.each([
    ['^web-[0-9]+$', ['web-1', 'web-42'], ['web-', 'web-1a', 'xweb-1']],
    ['db', ['db', 'mydb2'], ['d', 'd.b']],
    ['^(a|b.c)?x{2,3}$', ['xx', 'axx', 'bzcxxx'], ['x', 'bcxx', 'xxxx']],
    ['^[^.]+$', ['a', 'a-b'], ['', 'a.b']],
    ['^\\d{3}\\.[\\w-]+$', ['123.a_-'], ['12.a', '123a']],
    ['(?i)^WEB$', ['web', 'Web'], ['we']],
    ['(?i)^[^A]$', ['b', 'B'], ['a', 'A']],
    ['^(?P<host>[a-z]+)\\.(?:x|y)$', ['ab.x', 'c.y'], ['ab.z']],
    ['', ['', 'anything'], []],
    ['^a*?b+?$', ['b', 'aab'], ['a']],
    ['[]a-]', [']', 'a', '-'], ['b']],
    ['^a{0}$', [''], ['a']],
    ['a||b', ['', 'b'], []],
  ])('%s', (pattern, yes, no) => {
    const regexp = new LinearRegExp(pattern);
    for (const text of yes) expect([text, regexp.test(text)]).toEqual([text, true]);
    for (const text of no) expect([text, regexp.test(text)]).toEqual([text, false]);
  });

  it.each([
    ['(', '"(" without ")"'],
    ['a)', '")" without "("'],
    ['[a', '"[" without "]"'],
    ['*a', 'nothing stands before'],
    ['\\', 'ends in'],
    ['(a)\\1', '"\\1" is not known'],
    ['\\bx', '"\\b" is not known'],
    ['(?=a)', '"(?"'],
    ['[z-a]', 'range'],
    ['a{3,2}', 'ends before'],
    ['é', 'ASCII'],
    ['((a{99}){99}){99}', 'too many'],
    ['('.repeat(20) + ')'.repeat(20).replaceAll(')', '){99}'), 'too many'],
    ['('.repeat(40) + ')'.repeat(40), 'too deep'],
    ['a'.repeat(MAX_PATTERN + 1), 'longer than 256'],
  ])('refuses %s', (pattern, why) => {
    expect(() => new LinearRegExp(pattern)).toThrow(
      expect.objectContaining({
        code: 'ERR_NETPROXY_CONFIG',
        message: expect.stringContaining(why) as string,
      }),
    );
  });

  it('agrees with the engine of the language', () => {
    const atom = fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', '\\d', '(a|b)', '(?:ab)', 'x');
    const count = fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,2}', '{2,}');
    const pattern = fc
      .tuple(fc.boolean(), fc.array(fc.tuple(atom, count), { maxLength: 5 }), fc.boolean())
      .map(([begin, parts, end]) => `${begin ? '^' : ''}${parts.flat().join('')}${end ? '$' : ''}`);
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'x', '1', '.'), maxLength: 8 });
    fc.assert(
      fc.property(pattern, text, (source, input) => {
        expect(new LinearRegExp(source).test(input)).toBe(new RegExp(source).test(input));
      }),
    );
  });

  it('takes no longer for what makes others backtrack', () => {
    const regexp = new LinearRegExp('^(a+)+(a*)*(a|aa)+$');
    expect(regexp.test(`${'a'.repeat(253)}!`)).toBe(false);
  });
});
