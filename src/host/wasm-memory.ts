/** An upper limit for the memory of a WebAssembly module that declares none (WebAssembly core specification, section 5.5.8). */

const MEMORY_SECTION = 5;

/** The module with at most `pages` of 64 KiB for its one memory. Throws RangeError where it has none of its own. */
export function limitMemory(module: Uint8Array, pages: number): Uint8Array {
  let at = 8;
  while (at < module.length) {
    const begin = at;
    const id = module[at];
    const size = readUnsigned(module, at + 1);
    const end = size.next + size.value;
    if (id === MEMORY_SECTION) {
      const count = readUnsigned(module, size.next);
      const flags = readUnsigned(module, count.next);
      const least = readUnsigned(module, flags.next);
      if (count.value !== 1 || least.value > pages) throw new RangeError('its memory cannot be limited so');
      const body = [1, 1, ...writeUnsigned(least.value), ...writeUnsigned(pages)];
      return Uint8Array.from([
        ...module.subarray(0, begin),
        MEMORY_SECTION,
        ...writeUnsigned(body.length),
        ...body,
        ...module.subarray(end),
      ]);
    }
    at = end;
  }
  throw new RangeError('the module has no memory of its own');
}

/** LEB128. */
function readUnsigned(bytes: Uint8Array, from: number): { readonly value: number; readonly next: number } {
  let value = 0;
  for (let at = from, shift = 0; shift < 35; at++, shift += 7) {
    const byte = bytes[at] ?? 0;
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) return { value, next: at + 1 };
  }
  throw new RangeError('a number of the module has no end');
}

function writeUnsigned(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) + 128);
  }
}
