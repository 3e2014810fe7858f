// Where parts lie: a folder, or whatever has these five functions.

import { builtin } from './host.ts';

/**
 * A store of parts. Names are of letters, digits, `.`, `_`, `-` and `/`. An object store has all of
 * it: `putIfAbsent` is S3's `If-None-Match: *`.
 */
export interface PartStore {
  /** The bytes under a name; undefined where there are none. */
  get(name: string): Promise<Uint8Array | undefined>;
  /**
   * Puts bytes under a name, all of them or none, unless there are some: then it changes nothing.
   * Returns whether it put them.
   */
  putIfAbsent(name: string, bytes: Uint8Array): Promise<boolean>;
  /** Is there something under a name? */
  has(name: string): Promise<boolean>;
  /** Names that begin with a text. */
  list(prefix: string): Promise<readonly string[]>;
  /** Removes what is under a name, if anything is. */
  remove(name: string): Promise<void>;
}

interface Files {
  mkdir(path: string, options: object): Promise<unknown>;
  open(
    path: string,
    flags: string,
  ): Promise<{
    writeFile(bytes: Uint8Array): Promise<void>;
    sync(): Promise<void>;
    close(): Promise<void>;
  }>;
  link(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  readFile(path: string): Promise<Uint8Array>;
  access(path: string): Promise<void>;
  readdir(path: string, options: { recursive: true }): Promise<string[]>;
}

interface Paths {
  join(...parts: string[]): string;
  dirname(path: string): string;
}

/** Undefined in place of an error that says that nothing is there. */
async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  return work.catch((error: { code?: string }) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

/** How often this process has written a file. */
let writes = 0;

/**
 * A folder as a store of parts, on a file system that all machines of the run share. A part is
 * written beside its place, synchronised, and linked there: it appears whole or not at all, and the
 * first one stays.
 *
 * @param path the folder; it is made where there is none
 */
export function directoryStore(path: string): PartStore {
  const files = builtin<Files>('node:fs/promises');
  const { join, dirname } = builtin<Paths>('node:path');
  const { pid } = builtin<{ pid: number }>('node:process');
  const { hostname } = builtin<{ hostname(): string }>('node:os');
  const at = (name: string) => join(path, name);
  return {
    get: (name) => unlessMissing(files.readFile(at(name))),
    async putIfAbsent(name, bytes) {
      await files.mkdir(dirname(at(name)), { recursive: true });
      // no other process has the name, and parts never end in it
      const draft = `${at(name)}.${hostname()}.${pid}.${writes++}.tmp`;
      const file = await files.open(draft, 'wx');
      try {
        try {
          await file.writeFile(bytes);
          await file.sync();
        } finally {
          await file.close();
        }
        await files.link(draft, at(name));
        return true;
      } catch (error) {
        if ((error as { code?: string }).code === 'EEXIST') return false;
        throw error;
      } finally {
        await unlessMissing(files.unlink(draft));
      }
    },
    has: async (name) => (await unlessMissing(files.access(at(name)).then(() => true))) ?? false,
    async list(prefix) {
      const all = (await unlessMissing(files.readdir(path, { recursive: true }))) ?? [];
      return all
        .map((name) => name.replaceAll('\\', '/'))
        .filter((name) => name.startsWith(prefix) && !name.endsWith('.tmp'))
        .sort();
    },
    remove: async (name) => {
      await unlessMissing(files.unlink(at(name)));
    },
  };
}
