// What is done with a shard, and what becomes of all results.

import { show, wrongKind } from '../errors.ts';
import type { LinkLike } from '../pool/source.ts';
import { urlOf } from './host.ts';

/** A signal that a task may listen to. */
export interface TaskSignal {
  /** Whether the run was aborted. */
  readonly aborted: boolean;
  /** Throws the reason, if it was. */
  throwIfAborted(): void;
}

/** What a task knows of its run. */
export interface ShardContext {
  /** The run's id. */
  readonly run: string;
  /** The shard's key. */
  readonly key: string;
  /** Is aborted with the run. */
  readonly signal: TaskSignal;
}

/** What one shard gave. */
export interface ShardResult {
  /** The shard's key. */
  readonly key: string;
  /** What the task returned for it. */
  readonly bytes: Uint8Array;
}

/**
 * A pure function of a shard's input, and the merge of its results. It may run more than once for a
 * shard, on any machine, and changes nothing outside itself: no counter, no file.
 */
export interface ShardTask<R = unknown> {
  /** What it is called: part of the run's id. */
  readonly name: string;
  /** The version of its code and of the weights it uses: part of the run's id. */
  readonly version: string;
  /** The result of one shard, whole. */
  shard(input: unknown, context: ShardContext): Uint8Array | Promise<Uint8Array>;
  /**
   * The result of all, which come by sorted keys, each once. What it throws is thrown by the run,
   * which then has no result.
   */
  merge(results: AsyncIterable<ShardResult>): R | Promise<R>;
  /** The result of all as bytes: what `evenkeel merge` writes. */
  encode(result: R): Uint8Array;
}

const METHODS = ['shard', 'merge', 'encode'] as const;

/** Checks that something is a task. */
export function checkTask(subject: string, task: unknown, where = ''): asserts task is ShardTask {
  const given = (task ?? {}) as Partial<ShardTask>;
  const isNamed = typeof given.name === 'string' && given.name && typeof given.version === 'string' && given.version;
  if (!isNamed || !METHODS.every((method) => typeof given[method] === 'function')) {
    throw wrongKind('ERR_TYPE', subject, 'task', '{ name, version, shard, merge, encode }', show(task), where);
  }
}

/** The default export of a module, which is to be a task. */
export async function loadTask<R>(subject: string, task: ShardTask<R> | string | LinkLike): Promise<ShardTask<R>> {
  const url = typeof task === 'string' ? urlOf(task).href : (task as Partial<LinkLike> | undefined)?.href;
  const found: unknown = url === undefined ? task : ((await import([url][0])) as { default?: unknown }).default;
  checkTask(subject, found, url === undefined ? '' : `the default export of ${url}`);
  return found as ShardTask<R>;
}

/** Checks what a task returned. */
export function checkResult(subject: string, key: string, bytes: unknown): Uint8Array {
  if (bytes instanceof Uint8Array) return bytes;
  throw wrongKind('ERR_TYPE', subject, `the result of shard '${key}'`, 'a Uint8Array', show(bytes));
}
