// Writes a "newc" cpio archive (the kernel's Documentation/driver-api/early-userspace/buffer-format):
// what an initramfs is made of. The result depends only on the entries: no times, owners or inode
// numbers of this machine get in, so the same input gives the same bytes.

import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

/**
 * The content of one archive, a tree of entries by absolute path in the guest. Parent folders appear by
 * themselves; an entry added twice keeps its first form.
 */
export class Tree {
  /** path without leading slash → { mode, data?: Buffer, source?: string } */
  entries = new Map();

  has(path) {
    return this.entries.has(clean(path));
  }

  dir(path, mode = 0o755) {
    this.#add(path, { mode: S_IFDIR | mode, data: Buffer.alloc(0) });
  }

  /** A file with the given text or bytes. */
  file(path, data, mode = 0o644) {
    this.#add(path, { mode: S_IFREG | mode, data: Buffer.from(data) });
  }

  /** A file copied from this machine when the archive is written; links are followed. */
  copy(path, source, mode = 0o644) {
    this.#add(path, { mode: S_IFREG | mode, source });
  }

  link(path, target) {
    this.#add(path, { mode: S_IFLNK | 0o777, data: Buffer.from(target) });
  }

  #add(path, entry) {
    const name = clean(path);
    if (name === '' || this.entries.has(name)) return;
    const parent = dirname(name);
    if (parent !== '.' && !this.entries.has(parent)) this.dir(parent);
    this.entries.set(name, entry);
  }
}

const clean = (path) => path.replace(/^\/+|\/+$/g, '');

const pad4 = (length) => Buffer.alloc((4 - (length % 4)) % 4);

function header(inode, mode, size, nameLength) {
  const links = (mode & S_IFDIR) === S_IFDIR ? 2 : 1;
  const fields = [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, nameLength, 0];
  return '070701' + fields.map((field) => field.toString(16).toUpperCase().padStart(8, '0')).join('');
}

/** Writes the tree to a file; parents come before their children, as the kernel needs it. */
export function writeCpio(tree, file) {
  const fd = openSync(file, 'w', 0o644);
  let inode = 1;
  const put = (name, mode, data) => {
    const head = Buffer.from(`${header(inode++, mode, data.length, Buffer.byteLength(name) + 1)}${name}\0`);
    for (const part of [head, pad4(head.length), data, pad4(data.length)]) writeAll(fd, part);
  };
  try {
    for (const [name, entry] of tree.entries) {
      put(name, entry.mode, entry.source === undefined ? entry.data : readFileSync(entry.source));
    }
    put('TRAILER!!!', 0, Buffer.alloc(0));
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd, data) {
  for (let at = 0; at < data.length;) at += writeSync(fd, data, at);
}
