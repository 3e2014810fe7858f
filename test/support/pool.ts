// Pools of the sources: a worker runs a bundle of them, and tests get hold of the threads.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import type { Pool, PoolOptions } from '../../src/pool/index.ts';
import { openPool } from '../../src/pool/pool.ts';
import { startThread, type Thread } from '../../src/pool/thread.ts';

const inSource = (file: string) => fileURLToPath(new URL(`../../src/${file}`, import.meta.url));

/** Pools whose workers can be killed. */
export interface Pools {
  /** `pool` of the sources. */
  pool(source: Parameters<typeof openPool>[0], options?: PoolOptions): Promise<Pool>;
  /** Kills the worker that was started last but `index`, as if it had crashed. */
  kill(index?: number): void;
  /** Workers that live. */
  readonly alive: number;
  remove(): void;
}

/** Bundles the worker. */
export async function pools(): Promise<Pools> {
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
  const outfile = join(folder, 'worker.mjs');
  await build({
    entryPoints: [inSource('pool/worker.ts')],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    alias: { '#wasm': inSource('wasm/inline.ts') },
    logLevel: 'silent',
  });
  const threads: { thread: Thread; lost: (why: string) => void }[] = [];
  return {
    pool: (source, options = {}) =>
      openPool(source, options, (listener, hasModule) => {
        const forget = () => {
          const place = threads.findIndex(({ thread: one }) => one === thread);
          if (place >= 0) threads.splice(place, 1);
        };
        const lost = (why: string) => {
          forget();
          listener.lost(why);
        };
        const thread = startThread({ ...listener, lost }, hasModule, pathToFileURL(outfile));
        threads.push({ thread, lost });
        return {
          ...thread,
          end() {
            forget();
            return thread.end();
          },
        };
      }),
    kill(index = 0) {
      const at = threads.at(-1 - index);
      if (!at) return;
      void at.thread.end();
      at.lost('killed');
    },
    get alive() {
      return threads.length;
    },
    remove: () => rmSync(folder, { recursive: true }),
  };
}
