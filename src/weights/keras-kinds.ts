// What the variables of a Keras layer are: by its class, or, where nobody says the class, by their
// shapes.

import type { StoredTensor } from '../formats/dtypes.ts';
import { type KerasLayer, kindOf } from './keras-config.ts';

/** Variables by kind, in the order in which Keras 3 writes them. */
const VARIABLES: Readonly<Record<string, readonly string[]>> = {
  dense: ['kernel', 'bias'],
  einsum_dense: ['kernel', 'bias'],
  conv1d: ['kernel', 'bias'],
  conv2d: ['kernel', 'bias'],
  conv3d: ['kernel', 'bias'],
  conv1d_transpose: ['kernel', 'bias'],
  conv2d_transpose: ['kernel', 'bias'],
  conv3d_transpose: ['kernel', 'bias'],
  depthwise_conv1d: ['kernel', 'bias'],
  depthwise_conv2d: ['kernel', 'bias'],
  separable_conv1d: ['depthwise_kernel', 'pointwise_kernel', 'bias'],
  separable_conv2d: ['depthwise_kernel', 'pointwise_kernel', 'bias'],
  batch_normalization: [
    'gamma',
    'beta',
    'moving_mean',
    'moving_variance',
    'moving_stddev',
    'renorm_mean',
    'renorm_stddev',
  ],
  layer_normalization: ['gamma', 'beta'],
  group_normalization: ['gamma', 'beta'],
  rms_normalization: ['scale'],
  normalization: ['mean', 'variance', 'count'],
  embedding: ['embeddings'],
  p_re_lu: ['alpha'],
  simple_rnn_cell: ['kernel', 'recurrent_kernel', 'bias'],
  gru_cell: ['kernel', 'recurrent_kernel', 'bias'],
  lstm_cell: ['kernel', 'recurrent_kernel', 'bias'],
};

/** Is it a kind of which it is known here what its variables are? */
export function isKnownKind(kind: string | undefined): kind is string {
  return kind !== undefined && Object.hasOwn(VARIABLES, kind);
}

/** Kinds that multiply by kernels and add a bias, whose axes are ours in another order. */
export function isWeighted(kind: string): boolean {
  return /^(?:dense|einsum_dense|(?:depthwise_|separable_)?conv[123]d(?:_transpose)?)$/.test(kind);
}

/** Kinds whose kernel is `[...window, in, multiplier]`. */
export function isDepthwise(kind: string): boolean {
  return /^depthwise_conv[12]d$/.test(kind);
}

/**
 * The names of a layer's variables in the order of its file; undefined where that cannot be known.
 */
export function variableNames(
  kind: string | undefined,
  config: KerasLayer['config'] | undefined,
  count: number,
): readonly string[] | undefined {
  if (!isKnownKind(kind)) return undefined;
  const names = VARIABLES[kind].filter(
    (name) => !(name === 'gamma' && config?.scale === false) && !(name === 'beta' && config?.center === false),
  );
  if (kind === 'batch_normalization') {
    if (config) return names.slice(0, count);
    // with three, gamma or beta: only a config knows
    return count === 4 || count === 7 ? names.slice(0, count) : count === 2 ? names.slice(2, 4) : undefined;
  }
  // more than a layer of this kind has: a quantised one, or another with the same name
  if (count > names.length) return undefined;
  return names.includes('gamma') && count < names.length ? undefined : names.slice(0, count);
}

/** Where a variable stands among those of its layer; -1 for none of them. */
export function placeOf(kind: string | undefined, leaf: string): number {
  const names = kind !== undefined && Object.hasOwn(VARIABLES, kindOf(kind)) ? VARIABLES[kindOf(kind)] : [];
  if (kind !== undefined && isDepthwise(kind) && leaf === 'depthwise_kernel') return 0;
  if (kind === 'rms_normalization' && leaf === 'gamma') return 0;
  return names.indexOf(leaf);
}

/**
 * A kind by the names that Keras gives by itself: `conv2d_3`. Only where its variables have such
 * shapes.
 */
export function kindNamed(
  names: readonly (string | undefined)[],
  tensors: readonly StoredTensor[],
): string | undefined {
  for (const name of names) {
    const kind = name === undefined ? undefined : kindOf(name.replace(/_\d+$/, ''));
    if (isKnownKind(kind) && fits(kind, tensors)) return kind;
  }
  return kindShaped(tensors);
}

function fits(kind: string, tensors: readonly StoredTensor[]): boolean {
  const [first, second] = tensors.map(({ shape }) => shape);
  if (!first) return true;
  const dims = /([123])d/.exec(kind)?.[1];
  if (dims) return first.length === Number(dims) + 2;
  if (kind === 'dense' || kind === 'embedding') return first.length === 2;
  if (kind === 'batch_normalization') return tensors.every(({ shape }) => shape.length === 1);
  if (kind === 'layer_normalization') return second === undefined || first.join() === second.join();
  if (kind === 'group_normalization') return tensors.every(({ shape }) => shape.length === 1);
  return true;
}

/** A kind by the shapes of variables, where only one has such shapes. */
function kindShaped(tensors: readonly StoredTensor[]): string | undefined {
  const shapes = tensors.map(({ shape }) => shape);
  const [kernel, second, third] = shapes;
  if (shapes.length === 4 || shapes.length === 7) {
    const channels = kernel.length === 1 ? kernel[0] : 0;
    const all = shapes.every((shape) => shape.length === 1 && shape[0] === channels);
    return channels > 0 && all && isFloat(tensors[3]) && tensors[3].data.every((value) => value >= 0)
      ? 'batch_normalization'
      : undefined;
  }
  if (kernel === undefined || second === undefined || !isFloat(tensors[0])) return undefined;
  const dims = kernel.length - 2;
  if (shapes.length === 3) {
    const [inputs, multiplier] = kernel.slice(-2);
    const pointwise = [...Array(dims).fill(1), inputs * multiplier, third[0]];
    return (dims === 1 || dims === 2) && third.length === 1 && second.join() === pointwise.join()
      ? `separable_conv${dims}d`
      : undefined;
  }
  if (shapes.length !== 2 || second.length !== 1 || dims < 0 || dims > 3) return undefined;
  const [inputs, outputs] = kernel.slice(-2);
  const [count] = second;
  if (dims === 0) return count === outputs ? 'dense' : undefined;
  if (count === outputs && inputs !== outputs) return `conv${dims}d`;
  if (outputs === 1 || count === outputs) return undefined; // depthwise, or transposed
  if (count === inputs) return `conv${dims}d_transpose`;
  return count === inputs * outputs && dims < 3 ? `depthwise_conv${dims}d` : undefined;
}

function isFloat({ dtype }: StoredTensor): boolean {
  return /^B?F\d+$/.test(dtype);
}
