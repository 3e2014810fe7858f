// Files: read with a progress line, written whole or not at all.

import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** From this size on reading and writing show how far they are. */
const LARGE = 64 << 20;
const CHUNK = 8 << 20;

/** A line on a terminal that says how far something is; nothing where nobody looks. */
function progress(what: string, total: number, always: boolean): (done: number) => void {
  if (!always && (total < LARGE || !process.stderr.isTTY)) return () => {};
  let shown = -1;
  return (done) => {
    const percent = total ? Math.floor((100 * done) / total) : 100;
    if (percent === shown) return;
    shown = percent;
    process.stderr.write(`\r${what} ${percent} %${percent === 100 ? '\n' : ''}`);
  };
}

export async function readFileWhole(path: string, always = false): Promise<Uint8Array<ArrayBuffer>> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const show = progress(`reading ${basename(path)}`, size, always);
    const bytes = new Uint8Array(size);
    let at = 0;
    while (at < size) {
      const { bytesRead } = await file.read(bytes, at, Math.min(CHUNK, size - at), at);
      if (bytesRead === 0) break;
      at += bytesRead;
      show(at);
    }
    if (size === 0) show(0);
    return at === size ? bytes : bytes.slice(0, at);
  } finally {
    await file.close();
  }
}

/** Writes beside the file, then renames: after an error the old file is there as it was. */
export async function writeFileWhole(path: string, bytes: Uint8Array, always = false): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  const temporary = join(folder, `.${basename(path)}.${randomBytes(6).toString('hex')}`);
  try {
    const file = await open(temporary, 'wx');
    try {
      const show = progress(`writing ${basename(path)}`, bytes.length, always);
      for (let at = 0; at < bytes.length; ) {
        const { bytesWritten } = await file.write(bytes, at, Math.min(CHUNK, bytes.length - at), at);
        at += bytesWritten;
        show(at);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
