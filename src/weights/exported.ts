// What all exporters share: a state dict entry by entry, under foreign names.

import { wrongValue } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import type { Values } from '../formats/dtypes.ts';
import { checkRecord } from '../named-options.ts';
import type { StateDict } from '../types.ts';
import { checkTensor } from './imported.ts';

/** A tensor to be written under a foreign name. */
export interface Exported {
  readonly data: Values;
  readonly shape: readonly number[];
  /** Where it is not F32 or F64. */
  readonly dtype?: string;
}

export interface ExportOptions {
  /** Foreign layer names and ours, as they were given to the import: `{ fc1: '0', bn1: '1' }`. */
  rename?: Readonly<Record<string, string>>;
}

/** A state dict entry by entry: layer under its foreign name, last name, values. */
export function* leavesOf(
  subject: string,
  state: StateDict,
  { rename = {} }: ExportOptions,
): Generator<{ layer: string; leaf: string; data: Values; shape: readonly number[] }> {
  checkRecord(subject, state);
  const back = new Map(Object.entries(rename).map(([foreign, ours]) => [ours, foreign]));
  for (const [name, entry] of Object.entries(state)) {
    checkTensor(subject, name, entry);
    const { data, shape } = entry;
    const cut = name.lastIndexOf('.');
    const layer = name.slice(0, Math.max(cut, 0));
    yield { layer: back.get(layer) ?? layer, leaf: name.slice(cut + 1), data: data as Values, shape };
  }
}

/** Names of a batch norm's state here; others belong to linear and convolution layers. */
export const NORM_LEAVES = ['gamma', 'beta', 'runningMean', 'runningVar', 'batchesTracked'];

/** Adds to what is written; two tensors of one name would lose one of them. */
export function put(subject: string, out: Map<string, Exported>, name: string, tensor: Exported): void {
  if (out.has(name)) {
    throw wrongValue('ERR_STATE', { subject, argument: quote(name), expected: 'a name of its own', got: 'it twice' });
  }
  out.set(name, tensor);
}

/** Joins a layer's name and a tensor's. */
export function joined(layer: string, leaf: string, separator: string): string {
  return layer === '' ? leaf : `${layer}${separator}${leaf}`;
}
