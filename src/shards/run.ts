// Runs without an engine: in this process, or shard by shard through a store of parts.

import { type EvenkeelError, wrongMoment, wrongValue } from '../errors.ts';
import { callable, integer, optional, readSchema, required, type Schema } from '../named-options.ts';
import { type Manifest, runIdOf, type Shard, shardsOf } from './manifest.ts';
import { readPart, writePart } from './part.ts';
import type { PartStore } from './store.ts';
import { checkResult, checkTask, type ShardResult, type ShardTask, type TaskSignal } from './task.ts';

/** How far a run has come. */
export interface ShardProgress {
  /** Shards that are done. */
  readonly done: number;
  /** All shards. */
  readonly all: number;
}

/** What `runShards` takes besides a manifest and a task. */
export interface RunShardsOptions {
  /** Times that a shard is tried before its error is thrown. Default 1. */
  attempts?: number;
  /** Aborts the run with the signal's reason. */
  signal?: TaskSignal;
  /** Is told after each shard. */
  progress?: (now: ShardProgress) => void;
}

interface Settings {
  readonly attempts: number;
  readonly signal: TaskSignal | undefined;
  readonly progress: ((now: ShardProgress) => void) | undefined;
}

const schema = (): Schema<Settings> => ({
  attempts: integer(1, 1),
  signal: optional(required(() => {})),
  progress: callable(),
});

/** A signal that nobody aborts. */
export const never: TaskSignal = { aborted: false, throwIfAborted: () => {} };

/** An error of a shard, with its key. */
export function shardFailed(subject: string, key: string, why: string, attempts: number): EvenkeelError {
  const context = attempts > 1 ? `tried ${attempts} times` : undefined;
  return wrongMoment('ERR_SHARD', subject, `shard '${key}'`, 'a result', why, context);
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : `${error}`);

/**
 * Runs all shards on the thread that calls, one after the other by sorted keys, and merges their
 * results: what every engine's result is equal to, byte for byte.
 *
 *     const { layers } = await runShards({ shards }, task);
 *
 * @returns what the task's `merge` returns
 * @throws ERR_OPTION, ERR_TYPE for a manifest or a task that is none; ERR_SHARD for a shard whose
 *   task throws, with the error as its `cause`; what `merge` throws; the signal's reason
 */
export async function runShards<R>(manifest: Manifest, task: ShardTask<R>, options: RunShardsOptions = {}): Promise<R> {
  const { attempts, signal = never, progress } = readSchema('runShards', options, schema());
  checkTask('runShards', task);
  const shards = shardsOf('runShards', manifest);
  const run = await runIdOf(manifest, task);
  const attempt = async ({ key, input }: Shard): Promise<Uint8Array> => {
    for (let tried = 1; ; tried++) {
      signal.throwIfAborted();
      try {
        return checkResult('runShards', key, await task.shard(input, { run, key, signal }));
      } catch (error) {
        if (signal.aborted) throw error;
        if (tried >= attempts) {
          throw Object.assign(shardFailed('runShards', key, messageOf(error), tried), { cause: error });
        }
      }
    }
  };
  async function* results(): AsyncGenerator<ShardResult> {
    for (const [i, shard] of shards.entries()) {
      yield { key: shard.key, bytes: await attempt(shard) };
      progress?.({ done: i + 1, all: shards.length });
    }
  }
  return task.merge(results());
}

/** The name of a part in a store. */
export const partName = (run: string, key: string) => `${run}/${key}.part`;

/** What `runShard` did. */
export interface ShardReport {
  /** The run's id. */
  readonly run: string;
  /** The shard's key. */
  readonly key: string;
  /** Bytes of the result. */
  readonly bytes: number;
  /** Was the part there before? Then nothing was computed. */
  readonly wasThere: boolean;
}

/**
 * Runs one shard, and puts its part into a store: what each task of an array does (a Kubernetes
 * Indexed Job, a Slurm array, AWS Batch, Step Functions). May run any number of times for a shard,
 * also at once: the first whole part stays. A part that is damaged is computed anew.
 *
 * @param index which of the shards by sorted keys, from 0
 * @throws ERR_OPTION for an index that no shard has; ERR_SHARD where the task throws; what the
 * store
 *   throws
 */
export async function runShard<R>(
  manifest: Manifest,
  index: number,
  task: ShardTask<R>,
  store: PartStore,
): Promise<ShardReport> {
  const subject = 'runShard';
  checkTask(subject, task);
  const shards = shardsOf(subject, manifest);
  if (!Number.isInteger(index) || index < 0 || index >= shards.length) {
    throw wrongValue('ERR_OPTION', subject, 'index', `an integer from 0 to ${shards.length - 1}`, `${index}`);
  }
  const { key, input } = shards[index];
  const run = await runIdOf(manifest, task);
  const name = partName(run, key);
  const found = await store.get(name);
  if (found) {
    try {
      const { length } = await readPart(subject, found, run, key);
      return { run, key, bytes: length, wasThere: true };
    } catch {
      await store.remove(name);
    }
  }
  let bytes: Uint8Array;
  try {
    bytes = checkResult(subject, key, await task.shard(input, { run, key, signal: never }));
  } catch (error) {
    throw Object.assign(shardFailed(subject, key, messageOf(error), 1), { cause: error });
  }
  await store.putIfAbsent(name, await writePart(run, key, bytes));
  return { run, key, bytes: bytes.length, wasThere: false };
}

/** Keys in a message. */
const MOST_SHOWN = 8;

/**
 * Merges the parts of a run, which all have to be there.
 *
 * @returns what the task's `merge` returns: the same as of `runShards`, byte for byte
 * @throws ERR_PART where parts are missing, which are named; for a part that is damaged or of
 *   another run; what `merge` throws
 */
export async function mergeShards<R>(manifest: Manifest, task: ShardTask<R>, store: PartStore): Promise<R> {
  const subject = 'mergeShards';
  checkTask(subject, task);
  const shards = shardsOf(subject, manifest);
  const run = await runIdOf(manifest, task);
  const there = new Set(await store.list(`${run}/`));
  const missing = shards.filter(({ key }) => !there.has(partName(run, key)));
  if (missing.length) {
    const others = there.size ? [] : await store.list('');
    const names = missing.slice(0, MOST_SHOWN).map(({ key }) => `'${key}'`);
    const list = `${names.join(', ')}${missing.length > MOST_SHOWN ? ', …' : ''}`;
    const why = others.length ? `; there are parts of other runs: the manifest or the task has changed` : '';
    throw wrongMoment(
      'ERR_PART',
      subject,
      `run ${run.slice(0, 12)}…`,
      `${shards.length} parts`,
      `${shards.length - missing.length}`,
      `missing: ${list}${why}`,
    );
  }
  async function* results(): AsyncGenerator<ShardResult> {
    for (const { key } of shards) {
      const part = await store.get(partName(run, key));
      if (!part) throw wrongMoment('ERR_PART', subject, `the part of shard '${key}'`, 'to be there', 'none');
      yield { key, bytes: await readPart(subject, part, run, key) };
    }
  }
  return task.merge(results());
}
