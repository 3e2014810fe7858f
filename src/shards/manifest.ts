// What a run is of: shards by key, and the id that follows from them.

import { isList, show, wrongKind, wrongValue } from '../errors.ts';
import { checkRecord } from '../named-options.ts';
import { sha256 } from './host.ts';
import type { ShardTask } from './task.ts';

/** One piece of work. */
export interface Shard {
  /**
   * Its name: 1 to 128 of letters, digits, `.`, `_` and `-`, and no other shard's but for upper and
   * lower case.
   */
  readonly key: string;
  /**
   * What the task is given, as JSON: where data lie (with their size or entity tag, which is then
   * part of the run's id), and no data themselves.
   */
  readonly input: unknown;
}

/** All shards of a run. */
export interface Manifest {
  /** The module whose default export is the task, beside the manifest's file: `'./task.mjs'`. */
  readonly task?: string;
  /** The shards. Their order does not matter: results are merged by sorted keys. */
  readonly shards: readonly Shard[];
}

const KEY = /^[\w.-]{1,128}$/;

/** By code units: the same on every machine. */
const byKey = (a: Shard, b: Shard) => (a.key < b.key ? -1 : 1);

/** The shards of a manifest by sorted keys, checked. @throws ERR_OPTION */
export function shardsOf(subject: string, manifest: Manifest): readonly Shard[] {
  checkRecord(subject, manifest);
  const { shards } = manifest;
  if (!isList(shards) || shards.length === 0) {
    throw wrongKind('ERR_OPTION', subject, 'manifest.shards', 'at least 1 shard', show(shards));
  }
  const seen = new Set<string>();
  const list = Array.from(shards as ArrayLike<Shard>, (shard, i) => {
    const { key, input } = (shard ?? {}) as Partial<Shard>;
    if (typeof key !== 'string' || !KEY.test(key)) {
      const expected = '1 to 128 letters, digits, ., _ and -';
      throw wrongValue('ERR_OPTION', subject, `manifest.shards[${i}].key`, expected, show(key));
    }
    if (seen.has(key.toLowerCase())) {
      throw wrongValue('ERR_OPTION', subject, `manifest.shards[${i}].key`, 'one that no other shard has', show(key));
    }
    seen.add(key.toLowerCase());
    return { key, input };
  });
  return list.sort(byKey);
}

/** JSON with sorted names: equal values are equal texts. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner) =>
    typeof inner === 'object' && inner && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/**
 * The id of a run: SHA-256 of the task's name and version and of all shards with their inputs, so
 * that a result of other code or other data is never taken for one of this run. 64 hexadecimal
 * digits.
 *
 * @throws ERR_OPTION for a manifest or a task that is none
 */
export async function runIdOf(manifest: Manifest, task: Pick<ShardTask, 'name' | 'version'>): Promise<string> {
  const shards = shardsOf('runIdOf', manifest);
  const { name, version } = task;
  return sha256(new TextEncoder().encode(canonical({ format: 'evenkeel-run 1', name, version, shards })));
}
