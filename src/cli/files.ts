// Files: read with a progress line, written whole or not at all.

import { randomBytes } from 'node:crypto';
import { open, realpath, rename, rm, stat } from 'node:fs/promises';
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

/** Everything in a file; a pipe is read to its end. */
export async function readFileWhole(path: string, always = false): Promise<Uint8Array<ArrayBuffer>> {
  const file = await open(path, 'r');
  try {
    const found = await file.stat();
    if (!found.isFile()) return Uint8Array.from(await file.readFile());
    const { size } = found;
    const show = progress(`reading ${basename(path)}`, size, always);
    const bytes = new Uint8Array(size);
    let at = 0;
    while (at < size) {
      const { bytesRead } = await file.read(bytes, at, Math.min(CHUNK, size - at), at);
      if (bytesRead === 0) break;
      at += bytesRead;
      show(at);
    }
    return at === size ? bytes : bytes.slice(0, at);
  } finally {
    await file.close();
  }
}

/** Where a file really lies, and the rights it has; nothing where there is none yet. Throws for what is no file. */
async function existing(path: string): Promise<{ path: string; mode: number | undefined }> {
  let real = path;
  try {
    real = await realpath(path);
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return { path, mode: undefined };
    throw error;
  }
  const found = await stat(real);
  if (!found.isFile()) throw new Error(`${path} is no file that could be replaced`);
  return { path: real, mode: found.mode & 0o7777 };
}

/** Writes beside the file, then renames: after an error the old file is there as it was. A link stays a link, rights stay as they are. */
export async function writeFileWhole(path: string, bytes: Uint8Array, always = false): Promise<void> {
  const target = await existing(path);
  const temporary = join(dirname(target.path), `.${basename(target.path)}.${randomBytes(6).toString('hex')}`);
  try {
    const file = await open(temporary, 'wx');
    try {
      const show = progress(`writing ${basename(path)}`, bytes.length, always);
      for (let at = 0; at < bytes.length; ) {
        const { bytesWritten } = await file.write(bytes, at, Math.min(CHUNK, bytes.length - at), at);
        at += bytesWritten;
        show(at);
      }
      if (target.mode !== undefined) await file.chmod(target.mode);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target.path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
