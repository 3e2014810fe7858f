// Files: read with a progress line, written whole or not at all, some together.

import { randomBytes } from 'node:crypto';
import { fstatSync, renameSync, rmSync, type Stats, statSync } from 'node:fs';
import { copyFile, link, lstat, open, readlink, realpath, rename, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';

/** From this size on reading and writing show how far they are. */
const LARGE = 64 << 20;
const CHUNK = 8 << 20;

/** A line on a terminal that shows progress; nothing where the output is no terminal. */
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
    if (found.isDirectory()) throw Object.assign(new Error(`${path} is a folder`), { code: 'EISDIR' });
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

/** Where something is written to, and how. */
interface Target {
  readonly path: string;
  /** A pipe or a device: it is written to, never replaced. */
  readonly direct: boolean;
  /** Rights and owner of the file that is there; undefined where there is none yet. */
  readonly old: Stats | undefined;
}

/** What is found behind a path; undefined where there is nothing. Throws where nobody may look. */
async function found<T>(look: Promise<T>): Promise<T | undefined> {
  return look.catch((error: { code?: string }) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

/**
 * Follows links by hand: `realpath` knows nothing of one whose file is not there yet, nor of a pipe
 * in /proc.
 */
async function targetOf(given: string): Promise<Target> {
  const old = await found(stat(given));
  if (old?.isDirectory()) throw new Error(`${given} is a folder`);
  let path = resolve(given);
  for (let links = 0; links < 40; links++) {
    const here = await found(lstat(path));
    if (!here?.isSymbolicLink()) break;
    // links there lead to what is open, whatever their text says
    if ((await realpath(dirname(path))).startsWith('/proc/')) return { path, direct: true, old };
    path = resolve(dirname(path), await readlink(path));
  }
  return { path, direct: old !== undefined && !old.isFile(), old };
}

/**
 * Files that are there until they have got their names, and old ones until all new ones are there.
 */
const pending = new Set<{ undo(): void }>();
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

function onSignal(signal: NodeJS.Signals): void {
  for (const one of pending) one.undo();
  for (const name of SIGNALS) process.off(name, onSignal);
  process.kill(process.pid, signal);
}

/** A file beside the one that it will take the place of. */
class Replacement {
  readonly #target: Target;
  readonly #temporary: string;
  readonly #backup: string;
  #state: 'begun' | 'kept' | 'placed' = 'begun';

  constructor(target: Target) {
    this.#target = target;
    const hidden = join(dirname(target.path), `.${basename(target.path)}.${randomBytes(6).toString('hex')}`);
    this.#temporary = hidden;
    this.#backup = `${hidden}.old`;
  }

  async write(bytes: Uint8Array, show: (done: number) => void): Promise<void> {
    const { old } = this.#target;
    // the rights of the old file from the first byte on
    const file = await open(this.#temporary, 'wx', old ? old.mode & 0o777 : 0o666);
    try {
      if (old) {
        // another owner only where the host allows it
        if (old.uid !== process.getuid?.() || old.gid !== process.getgid?.())
          await file.chown(old.uid, old.gid).catch(() => {});
        await file.chmod(old.mode & 0o7777);
      }
      await writeAll(file, bytes, show);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async place(): Promise<void> {
    const { path, old } = this.#target;
    if (old) await link(path, this.#backup).catch(() => copyFile(path, this.#backup));
    this.#state = 'kept';
    await rename(this.#temporary, path);
    this.#state = 'placed';
  }

  /** The old file as it was; at once, as a process may be about to end. */
  undo(): void {
    const { path, old } = this.#target;
    rmSync(this.#temporary, { force: true });
    if (this.#state === 'placed') {
      if (old) renameSync(this.#backup, path);
      else rmSync(path, { force: true });
    } else if (this.#state === 'kept') this.finish();
  }

  finish(): void {
    rmSync(this.#backup, { force: true });
  }
}

async function writeAll(
  file: { write(bytes: Uint8Array, from: number, count: number): Promise<{ bytesWritten: number }> },
  bytes: Uint8Array,
  show: (done: number) => void,
): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, Math.min(CHUNK, bytes.length - at));
    at += bytesWritten;
    show(at);
  }
}

/**
 * Writes files beside those that they replace, then renames: after an error all old ones are there
 * as they were, and after Ctrl-C as well. A link stays a link, rights stay as they are, pipes and
 * devices are written to.
 */
export async function writeFiles(
  files: readonly (readonly [path: string, bytes: Uint8Array])[],
  always = false,
): Promise<void> {
  const targets = await Promise.all(files.map(([path]) => targetOf(path)));
  const replacements: Replacement[] = [];
  const all = {
    undo() {
      for (const one of replacements) one.undo();
    },
  };
  pending.add(all);
  for (const name of SIGNALS) process.on(name, onSignal);
  try {
    for (const [i, [path, bytes]] of files.entries()) {
      if (targets[i].direct) continue;
      const replacement = new Replacement(targets[i]);
      replacements.push(replacement);
      await replacement.write(bytes, progress(`writing ${basename(path)}`, bytes.length, always));
    }
    for (const [i, [path, bytes]] of files.entries()) {
      if (targets[i].direct)
        await writeThrough(targets[i].path, bytes, progress(`writing ${basename(path)}`, bytes.length, always));
    }
    for (const replacement of replacements) await replacement.place();
    for (const replacement of replacements) replacement.finish();
  } catch (error) {
    all.undo();
    throw error;
  } finally {
    pending.delete(all);
    for (const name of SIGNALS) process.off(name, onSignal);
  }
}

/** Into a pipe or a device. What is open already is not opened again, which would cut it off. */
async function writeThrough(path: string, bytes: Uint8Array, show: (done: number) => void): Promise<void> {
  if (isStdout(path)) {
    await new Promise<void>((done, fail) => process.stdout.write(bytes, (error) => (error ? fail(error) : done())));
    return show(bytes.length);
  }
  const file = await open(path, 'w');
  try {
    await writeAll(file, bytes, show);
  } finally {
    await file.close();
  }
}

/** Writes one file, as `writeFiles`. */
export async function writeFileWhole(path: string, bytes: Uint8Array, always = false): Promise<void> {
  await writeFiles([[path, bytes]], always);
}

/** Is a path what the process writes its own lines to? */
export function isStdout(path: string): boolean {
  const [there, here] = [statSync(path, { throwIfNoEntry: false }), fstatSync(1)];
  return there !== undefined && there.dev === here.dev && there.ino === here.ino;
}
