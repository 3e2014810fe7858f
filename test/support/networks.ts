// Networks from files: run in each form, on plain arrays.

import {
  activations,
  arithmetic,
  convolutions,
  indexing,
  load,
  merging,
  norms,
  pooling,
  recurrent,
  reshaping,
  softmax,
} from '../../src/infer/list.ts';
import type { LoadedNetwork } from '../../src/weights/index.ts';

export interface Plain {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

export const EVERY_GROUP = [
  activations,
  arithmetic,
  convolutions,
  indexing,
  merging,
  norms,
  pooling,
  recurrent,
  reshaping,
  softmax,
];

type Run = (x: Record<string, Plain>) => Record<string, Plain>;

/** What a call returns, by the names of outputs. */
function named(outputs: readonly { name: string }[], y: unknown): Record<string, Plain> {
  const isOne = typeof y === 'object' && y !== null && ArrayBuffer.isView((y as Plain).data);
  return isOne ? { [outputs[0].name]: y as Plain } : (y as Record<string, Plain>);
}

/** The network as it is, compiled, and loaded from the file of the compiled one. */
export function formsOf(network: LoadedNetwork): Record<'forward' | 'compiled' | 'saved', Run> {
  const compiled = network.compile();
  const saved = load(compiled.save(), { operations: EVERY_GROUP });
  const { outputs } = network;
  return {
    forward: (x) => named(outputs, network.forward(x)),
    compiled: (x) => named(outputs, compiled(x)),
    saved: (x) => named(outputs, saved(x)),
  };
}
