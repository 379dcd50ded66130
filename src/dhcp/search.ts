/** The domain search list, option 119 (RFC 3397): domain names of RFC 1035, compressed within the option. */

const MAX_NAME = 255;
/** A pointer may not go further than its 14 bits reach. */
const MAX_POINTER = 0x3fff;

/** The labels of a domain name in ASCII; undefined when it has an empty or too long label or is too long itself. */
function labelsOf(name: string): readonly string[] | undefined {
  const bare = name.endsWith('.') ? name.slice(0, -1) : name;
  if (!/^[\x21-\x7e]+$/.test(bare) || bare.length + 2 > MAX_NAME) return undefined;
  const labels = bare.split('.');
  return labels.every((label) => label.length > 0 && label.length <= 63) ? labels : undefined;
}

/** Whether a name can stand in the search list. */
export function isSearchDomain(name: string): boolean {
  return labelsOf(name) !== undefined;
}

/** Writes the list, each known tail as a pointer. Names that are none are left out. */
export function searchList(names: readonly string[]): Uint8Array {
  const out: number[] = [];
  const tails = new Map<string, number>();
  for (const name of names) {
    const labels = labelsOf(name);
    if (labels === undefined) continue;
    let ended = false;
    for (let i = 0; i < labels.length; i++) {
      const tail = labels.slice(i).join('.');
      const known = tails.get(tail);
      if (known !== undefined) {
        out.push(0xc0 | (known >>> 8), known & 255);
        ended = true;
        break;
      }
      if (out.length <= MAX_POINTER) tails.set(tail, out.length);
      out.push(labels[i]!.length, ...Array.from(labels[i]!, (char) => char.charCodeAt(0)));
    }
    if (!ended) out.push(0);
  }
  return Uint8Array.from(out);
}

/** Reads the list; undefined when it is malformed. Pointers go backwards only, so that it always ends. */
export function readSearchList(value: Uint8Array | undefined): readonly string[] | undefined {
  if (value === undefined || value.length === 0) return undefined;
  const names: string[] = [];
  let at = 0;
  while (at < value.length) {
    const read = readName(value, at);
    if (read === undefined) return undefined;
    names.push(read.name);
    at = read.next;
  }
  return names;
}

function readName(value: Uint8Array, start: number): { name: string; next: number } | undefined {
  const labels: string[] = [];
  let at = start;
  let limit = start;
  let next: number | undefined;
  let length = 1;
  for (;;) {
    const head = value[at];
    if (head === undefined) return undefined;
    if (head === 0) break;
    if (head >= 0xc0) {
      const low = value[at + 1];
      if (low === undefined) return undefined;
      next ??= at + 2;
      at = ((head & 0x3f) << 8) | low;
      if (at >= limit) return undefined;
      limit = at;
      continue;
    }
    length += 1 + head;
    if (head > 63 || at + 1 + head > value.length || length > MAX_NAME) return undefined;
    const label = String.fromCharCode(...value.subarray(at + 1, at + 1 + head));
    if (!/^[\x21-\x2d\x2f-\x7e]+$/.test(label)) return undefined;
    labels.push(label);
    at += 1 + head;
  }
  return labels.length === 0 ? undefined : { name: labels.join('.'), next: next ?? at + 1 };
}
