/**
 * Regular expressions that match in linear time, for patterns of zones: what a guest asks for must not decide how long
 * the gateway thinks, as it does with an engine that backtracks.
 *
 * Theory of operation. The text is parsed into instructions of a non-deterministic automaton (Thompson 1968), and all of
 * its states advance together over the input. Known: literals, `.`, classes with ranges and negation, `\d \w \s` and
 * their opposites, escaped punctuation, `^ $`, groups, `|`, `* + ? {n} {n,} {n,m}` (lazy forms too: they match the
 * same), and `(?i)` at the beginning. Not known, and refused: back references, look-around, `\b`.
 */
import { NetproxyError } from '../core/index.js';

/** Characters of a pattern at most. */
export const MAX_PATTERN = 256;
/** Instructions at most: counted repetitions multiply. */
const MAX_PROGRAM = 2000;
/** Groups in groups at most. */
const MAX_DEPTH = 32;

/** The byte values that an instruction takes. */
type Chars = ReadonlySet<number>;

type Instruction =
  | { readonly op: 'chars'; readonly chars: Chars }
  | { readonly op: 'split'; first: number; second: number }
  | { readonly op: 'jump'; to: number }
  | { readonly op: 'begin' | 'end' | 'match' };

/** Appends the instructions of a part to a program. */
type Part = (program: Instruction[]) => void;

export class LinearRegExp {
  readonly source: string;
  private readonly program: readonly Instruction[];

  /** Throws ERR_NETPROXY_CONFIG naming what is not understood. */
  constructor(source: string) {
    this.source = source;
    if (source.length > MAX_PATTERN) throw bad(source, `it is longer than ${MAX_PATTERN} characters`);
    const program: Instruction[] = [];
    new Parser(source).parse()(program);
    program.push({ op: 'match' });
    this.program = program;
  }

  /** Whether the pattern matches somewhere in the text, which is ASCII. */
  test(text: string): boolean {
    let current = new Set<number>();
    for (let at = 0; ; at++) {
      this.enter(0, current, at, text.length);
      const next = new Set<number>();
      for (const index of current) {
        const instruction = this.program[index]!;
        if (instruction.op === 'match') return true;
        if (instruction.op === 'chars' && at < text.length && instruction.chars.has(text.charCodeAt(at)))
          this.enter(index + 1, next, at + 1, text.length);
      }
      if (at >= text.length) return false;
      current = next;
    }
  }

  /** Adds a state and those that follow without taking a character. */
  private enter(start: number, states: Set<number>, at: number, length: number): void {
    const todo = [start];
    for (let index = todo.pop(); index !== undefined; index = todo.pop()) {
      if (states.has(index)) continue;
      states.add(index);
      const instruction = this.program[index]!;
      if (instruction.op === 'jump') todo.push(instruction.to);
      else if (instruction.op === 'split') todo.push(instruction.second, instruction.first);
      else if (instruction.op === 'begin' && at === 0) todo.push(index + 1);
      else if (instruction.op === 'end' && at === length) todo.push(index + 1);
    }
  }
}

function bad(source: string, why: string): NetproxyError {
  return new NetproxyError('ERR_NETPROXY_CONFIG', `bad regular expression "${source}": ${why}`, {
    remedy: 'Allowed are literals, classes, groups, "|", "^", "$" and repetitions, such as ^web-[0-9]+$',
  });
}

const ALL: Chars = new Set(Array.from({ length: 128 }, (_, code) => code));
const CLASSES: Readonly<Record<string, Chars>> = {
  d: codes(/\d/),
  w: codes(/\w/),
  s: codes(/\s/),
  D: codes(/\D/),
  W: codes(/\W/),
  S: codes(/\S/),
};

function codes(pattern: RegExp): Chars {
  return new Set([...ALL].filter((code) => pattern.test(String.fromCharCode(code))));
}

class Parser {
  private readonly text: string;
  private readonly ignoreCase: boolean;
  private at = 0;
  private depth = 0;
  private copies = 0;

  constructor(text: string) {
    this.text = text;
    this.ignoreCase = text.startsWith('(?i)');
    if (this.ignoreCase) this.at = 4;
  }

  parse(): Part {
    const whole = this.alternatives();
    if (this.at < this.text.length) throw this.bad('a ")" without "("');
    return whole;
  }

  private alternatives(): Part {
    let part = this.sequence();
    while (this.skip('|')) part = either(part, this.sequence());
    return part;
  }

  private sequence(): Part {
    const parts: Part[] = [];
    while (this.at < this.text.length && !'|)'.includes(this.text[this.at]!)) parts.push(this.repeated());
    return (program) => {
      for (const part of parts) part(program);
    };
  }

  private repeated(): Part {
    let part = this.atom();
    for (let count = this.count(); count !== undefined; count = this.count()) {
      this.skip('?');
      part = this.repeat(part, count.min, count.max);
    }
    return part;
  }

  private count(): { readonly min: number; readonly max: number } | undefined {
    if (this.skip('*')) return { min: 0, max: Infinity };
    if (this.skip('+')) return { min: 1, max: Infinity };
    if (this.skip('?')) return { min: 0, max: 1 };
    const match = /^\{(\d{1,3})(,(\d{0,3}))?\}/.exec(this.text.slice(this.at));
    if (match === null) return undefined;
    this.at += match[0].length;
    const min = Number(match[1]);
    const max = match[2] === undefined ? min : match[3] === '' ? Infinity : Number(match[3]);
    if (max < min) throw this.bad(`"${match[0]}" ends before it begins`);
    return { min, max };
  }

  private repeat(part: Part, min: number, max: number): Part {
    const limited: Part = (program) => {
      // Counted, too: what repeats may be empty.
      if (program.length > MAX_PROGRAM || ++this.copies > MAX_PROGRAM)
        throw this.bad('its repetitions are too many');
      part(program);
    };
    return (program) => {
      for (let i = 0; i < min; i++) limited(program);
      if (max === Infinity) star(limited)(program);
      else for (let i = min; i < max; i++) optional(limited)(program);
    };
  }

  private atom(): Part {
    const char = this.text[this.at++]!;
    switch (char) {
      case '(':
        return this.group();
      case '[':
        return this.oneOf(this.bracket());
      case '.':
        return this.oneOf(ALL);
      case '^':
        return (program) => program.push({ op: 'begin' });
      case '$':
        return (program) => program.push({ op: 'end' });
      case '*':
      case '+':
      case '?':
        throw this.bad(`nothing stands before "${char}"`);
      case '\\': {
        const found = this.escaped();
        return this.oneOf(typeof found === 'number' ? new Set([found]) : found);
      }
      default:
        return this.oneOf(new Set([this.code(char)]));
    }
  }

  private group(): Part {
    if (this.skip('?') && !this.skip(':')) {
      const name = /^P?<[A-Za-z_]\w*>/.exec(this.text.slice(this.at));
      if (name === null) throw this.bad('"(?" is known as "(?:" only, and "(?i)" at the beginning');
      this.at += name[0].length;
    }
    if (++this.depth > MAX_DEPTH) throw this.bad('its groups are too deep');
    const part = this.alternatives();
    if (!this.skip(')')) throw this.bad('a "(" without ")"');
    this.depth--;
    return part;
  }

  private bracket(): Chars {
    const negated = this.skip('^');
    const chars = new Set<number>();
    for (let first = true; first || this.text[this.at] !== ']'; first = false) {
      const low = this.classItem();
      if (typeof low !== 'number') for (const code of low) chars.add(code);
      else if (this.text[this.at] === '-' && !']'.includes(this.text[this.at + 1] ?? ']')) {
        this.at++;
        const high = this.classItem();
        if (typeof high !== 'number' || high < low) throw this.bad('a range in "[]" that is none');
        for (let code = low; code <= high; code++) chars.add(code);
      } else chars.add(low);
    }
    this.at++;
    if (!negated) return chars;
    const folded = this.folded(chars);
    return new Set([...ALL].filter((code) => !folded.has(code)));
  }

  private classItem(): number | Chars {
    const char = this.text[this.at++];
    if (char === undefined) throw this.bad('a "[" without "]"');
    return char === '\\' ? this.escaped() : this.code(char);
  }

  private escaped(): number | Chars {
    const char = this.text[this.at++];
    if (char === undefined) throw this.bad('it ends in "\\"');
    const known = Object.hasOwn(CLASSES, char) ? CLASSES[char] : undefined;
    if (known !== undefined) return known;
    if (/[A-Za-z0-9]/.test(char)) throw this.bad(`"\\${char}" is not known`);
    return this.code(char);
  }

  private code(char: string): number {
    const code = char.charCodeAt(0);
    if (code > 127) throw this.bad('it is not ASCII');
    return code;
  }

  private oneOf(chars: Chars): Part {
    const folded = this.folded(chars);
    return (program) => program.push({ op: 'chars', chars: folded });
  }

  private folded(chars: Chars): Chars {
    if (!this.ignoreCase) return chars;
    const both = [...chars].flatMap((code) => {
      const char = String.fromCharCode(code);
      return [char.toLowerCase().charCodeAt(0), char.toUpperCase().charCodeAt(0)];
    });
    return new Set(both);
  }

  private skip(char: string): boolean {
    if (this.text[this.at] !== char) return false;
    this.at++;
    return true;
  }

  private bad(why: string): NetproxyError {
    return bad(this.text, why);
  }
}

function either(left: Part, right: Part): Part {
  return (program) => {
    const split = { op: 'split' as const, first: program.length + 1, second: 0 };
    program.push(split);
    left(program);
    const jump = { op: 'jump' as const, to: 0 };
    program.push(jump);
    split.second = program.length;
    right(program);
    jump.to = program.length;
  };
}

function star(part: Part): Part {
  return (program) => {
    const start = program.length;
    const split = { op: 'split' as const, first: start + 1, second: 0 };
    program.push(split);
    part(program);
    program.push({ op: 'jump', to: start });
    split.second = program.length;
  };
}

function optional(part: Part): Part {
  return (program) => {
    const split = { op: 'split' as const, first: program.length + 1, second: 0 };
    program.push(split);
    part(program);
    split.second = program.length;
  };
}
