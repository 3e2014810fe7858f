// What all exporters share: a state dict entry by entry, under foreign names.

import { wrongValue } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import type { Values } from '../formats/dtypes.ts';
import { checkRecord } from '../named-options.ts';
import type { StateDict } from '../types.ts';
import { toKernel } from './axes.ts';
import { checkTensor } from './imported.ts';
import { joined, parted } from './names.ts';

/** A tensor to be written under a foreign name. */
export interface Exported {
  /** Values, row-major. */
  readonly data: Values;
  /** Length of each axis, outermost first. */
  readonly shape: readonly number[];
  /** The type to be written, if it is neither F32 for a Float32Array nor F64. */
  readonly dtype?: string;
}

/** Options of `toTorch` and `toFlax`. */
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
    const [layer, leaf] = parted(name);
    yield { layer: back.get(layer) ?? layer, leaf, data: data as Values, shape };
  }
}

/** Adds to what is written; two tensors of one name would lose one of them. */
export function put(subject: string, out: Map<string, Exported>, name: string, tensor: Exported): void {
  if (out.has(name)) {
    throw wrongValue('ERR_STATE', subject, quote(name), 'a name of its own', 'it twice');
  }
  out.set(name, tensor);
}

/**
 * A state dict for the frameworks that lay kernels out with the inputs first, put `/` between
 * names, and count no batches: `batchesTracked` stays here.
 *
 * @param norm foreign names of a batch norm's tensors, and ours
 * @param collection what stands before the names, by our last name
 */
export function withKernels(
  subject: string,
  state: StateDict,
  options: ExportOptions,
  norm: Readonly<Record<string, string>>,
  collection: (leaf: string) => string = () => '',
): Map<string, Exported> {
  const names = inverted(norm).set('weight', 'kernel');
  const out = new Map<string, Exported>();
  for (const { layer, leaf, data, shape } of leavesOf(subject, state, options)) {
    if (leaf === 'batchesTracked') continue;
    const path = joined(layer.replaceAll('.', '/'), names.get(leaf) ?? leaf, '/');
    const tensor = leaf === 'weight' && shape.length >= 2 ? toKernel(data, shape) : { data, shape };
    put(subject, out, joined(collection(leaf), path, '/'), tensor);
  }
  return out;
}

/** Foreign names by ours. */
export function inverted(names: Readonly<Record<string, string>>): Map<string, string> {
  return new Map(Object.entries(names).map(([theirs, ours]) => [ours, theirs]));
}
