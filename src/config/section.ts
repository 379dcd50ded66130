/** Objects and lists of the configuration, with errors in words. */
import * as z from 'zod';

/** An object that refuses unknown keys and then lists the known ones. */
export function section<const T extends z.core.$ZodLooseShape>(shape: T) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? Object.keys(shape).join(', ')
        : `keys and values: ${Object.keys(shape).join(', ')}`,
  });
}

export function list<T extends z.ZodType>(item: T) {
  return z.array(item, { error: 'a list' });
}
