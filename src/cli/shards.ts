// evenkeel shard MANIFEST INDEX, evenkeel merge MANIFEST, evenkeel worker TASK

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { workOnBullMQ } from '../shards/bullmq.ts';
import { type Manifest, runIdOf } from '../shards/manifest.ts';
import { mergeShards, runShard } from '../shards/run.ts';
import { directoryStore } from '../shards/store.ts';
import { loadTask } from '../shards/task.ts';
import { type Report, UsageError, type Values, withOptions } from './command.ts';
import { writeFiles } from './files.ts';

/** A manifest in a file, the task that it names, and the store beside it. */
async function opened(path: string, { store }: Values) {
  const text = await readFile(path, 'utf8');
  let manifest: Manifest;
  try {
    manifest = JSON.parse(text) as Manifest;
  } catch (error) {
    throw new Error(`${path} is no JSON: ${(error as Error).message}`);
  }
  if (typeof manifest?.task !== 'string') throw new Error(`${path}: 'task' names no module`);
  const module = pathToFileURL(resolve(dirname(path), manifest.task));
  const task = await loadTask('evenkeel', module);
  return { manifest, task, store: directoryStore(store ?? join(dirname(path), 'parts')) };
}

/** One shard of an array job. */
export async function shard([path, number]: string[], values: Values): Promise<Report> {
  const index = /^\d+$/.test(number) ? Number(number) : Number.NaN;
  if (Number.isNaN(index)) throw new UsageError(`INDEX is a whole number from 0, not '${number}'`);
  const { manifest, task, store } = await opened(path, values);
  const report = await withOptions(() => runShard(manifest, index, task, store));
  const { run, key, bytes, wasThere } = report;
  const what = wasThere ? 'was there' : 'is there now';
  return { lines: [`run ${run.slice(0, 12)}, shard '${key}': ${bytes} bytes, ${what}`], data: report };
}

/** All parts as one result. */
export async function merge([path]: string[], values: Values): Promise<Report> {
  const { manifest, task, store } = await opened(path, values);
  const run = await runIdOf(manifest, task);
  const bytes = task.encode(await mergeShards(manifest, task, store));
  const out = values.out ?? `${path.replace(/\.json$/, '')}.result`;
  await writeFiles([[out, bytes]], values.progress);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const shards = manifest.shards.length;
  return {
    lines: [`run ${run.slice(0, 12)}, ${shards} shards: ${bytes.length} bytes, sha256 ${sha256} → ${out}`],
    data: { run, shards, bytes: bytes.length, sha256, out },
  };
}

/** Serves a queue until it is told to end. */
export async function worker([path]: string[], values: Values): Promise<Report> {
  const { connection, queue, store } = values;
  if (!connection) throw new UsageError('worker needs --connection redis://HOST:PORT or postgres://USER@HOST/DATABASE');
  const whole = (name: 'threads' | 'lock') => {
    const value = values[name] === undefined ? undefined : Number(values[name]);
    if (value !== undefined && !(Number.isInteger(value) && value >= 1)) {
      throw new UsageError(`--${name} takes a whole number of 1 or more, not '${values[name]}'`);
    }
    return value;
  };
  const [threads, lockDuration] = [whole('threads'), whole('lock')];
  const one = await withOptions(() =>
    workOnBullMQ({
      connection,
      task: pathToFileURL(resolve(path)),
      ...(queue !== undefined && { queue }),
      ...(store !== undefined && { store: directoryStore(store) }),
      ...(threads !== undefined && { threads }),
      ...(lockDuration !== undefined && { lockDuration }),
    }),
  );
  process.stderr.write(`serving '${queue ?? 'evenkeel'}'; SIGTERM ends it\n`);
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  await one.close();
  return { lines: ['ended'], data: { ended: true } };
}
