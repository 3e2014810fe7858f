// Weights that PyTorch works out of others: those of spectral_norm and weight_norm, by the names of
// their hooks and of their parametrizations.

import { show, wrongValue } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import type { Values } from '../formats/dtypes.ts';
import type { Foreign } from './imported.ts';

/** A tensor and its whole name. */
type Named = readonly [full: string, tensor: Foreign];

/** What a weight is worked out of. */
export type Reparameterized =
  | { readonly kind: 'spectral'; readonly weight: Named; readonly u: Named; readonly v: Named | undefined }
  | { readonly kind: 'weight-norm'; readonly g: Named; readonly v: Named };

/** Last names of the parts, and what they are. */
const PARTS: readonly (readonly [last: string, part: string])[] = [
  ['parametrizations.weight.original0', 'g'],
  ['parametrizations.weight.original1', 'direction'],
  ['parametrizations.weight.original', 'weight'],
  ['parametrizations.weight.0._u', 'u'],
  ['parametrizations.weight.0._v', 'v'],
  ['weight_orig', 'weight'],
  ['weight_u', 'u'],
  ['weight_v', 'v'],
  ['weight_g', 'g'],
];

/**
 * The weights by layer that are worked out of others, and all other tensors.
 *
 * @param bare takes from a name what wrappers put into it
 */
export function reparameterizedIn(
  entries: readonly Named[],
  bare: (full: string) => string,
): { readonly found: ReadonlyMap<string, Reparameterized>; readonly others: readonly Named[] } {
  const layers = new Map<string, Map<string, Named>>();
  for (const entry of entries) {
    const name = bare(entry[0]);
    const [last, part] = PARTS.find(([end]) => name === end || name.endsWith(`.${end}`)) ?? [];
    if (last === undefined) continue;
    const layer = name.slice(0, Math.max(name.length - last.length - 1, 0));
    const parts = layers.get(layer) ?? new Map<string, Named>();
    layers.set(layer, parts.set(part!, entry));
  }
  const found = new Map<string, Reparameterized>();
  const taken = new Set<string>();
  for (const [layer, parts] of layers) {
    const [weight, u, v, g] = ['weight', 'u', 'v', 'g'].map((part) => parts.get(part));
    const direction = parts.get('direction') ?? v;
    if (weight && u) found.set(layer, { kind: 'spectral', weight, u, v });
    else if (g && direction) found.set(layer, { kind: 'weight-norm', g, v: direction });
    else continue;
    for (const [full] of parts.values()) taken.add(full);
  }
  return { found, others: taken.size ? entries.filter(([full]) => !taken.has(full)) : entries };
}

const sizeOf = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);

/**
 * w/σ with σ = uᵀ·w·v, w a matrix whose rows are its first axis, or of a transposed convolution its
 * second.
 *
 * @throws ERR_STATE for vectors that do not fit
 */
export function byLargest(
  subject: string,
  { weight: [full], u, v }: Extract<Reparameterized, { kind: 'spectral' }>,
  w: Values,
  shape: readonly number[],
  transposed: boolean,
): { data: Values; shape: readonly number[] } {
  const left = u[1].data as Values;
  const rows = shape[transposed ? 1 : 0];
  const cols = sizeOf(shape) / rows;
  const fits = shape.length > 1 && left.length === rows && (!v || v[1].data.length === cols);
  if (!fits) {
    const expected = `a weight with ${left.length} rows${v ? ` and ${v[1].data.length} columns` : ''}`;
    throw wrongValue('ERR_STATE', subject, quote(full), expected, `shape ${show(shape)}`);
  }
  const taps = transposed ? cols / shape[0] : 0;
  const at = (r: number, c: number) =>
    transposed ? (Math.floor(c / taps) * rows + r) * taps + (c % taps) : r * cols + c;
  const right = v ? Float64Array.from(v[1].data as Values) : rightOf(w, left, rows, cols, at);
  let sigma = 0;
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < cols; c++) sum += w[at(r, c)] * right[c];
    sigma += left[r] * sum;
  }
  return { data: Float32Array.from(w, (value) => value / sigma), shape };
}

/** v = wᵀu/‖wᵀu‖: early versions of PyTorch did not keep it. */
function rightOf(w: Values, u: Values, rows: number, cols: number, at: (r: number, c: number) => number): Float64Array {
  const v = new Float64Array(cols);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) v[c] += w[at(r, c)] * u[r];
  const length = Math.sqrt(v.reduce((sum, value) => sum + value * value, 0));
  return v.map((value) => value / Math.max(length, 1e-12));
}

/**
 * g·v/‖v‖, the norm over the axes along which g has length 1 (`torch.nn.utils.weight_norm`,
 * Salimans & Kingma 2016).
 *
 * @throws ERR_STATE for a g that does not fit
 */
export function byLength(
  subject: string,
  { g: [full, length] }: Extract<Reparameterized, { kind: 'weight-norm' }>,
  v: Values,
  shape: readonly number[],
): { data: Values; shape: readonly number[] } {
  const given = Array.from(length.shape);
  const own = given.length ? given : shape.map(() => 1);
  const fits = own.length === shape.length && own.every((n, axis) => n === 1 || n === shape[axis]);
  if (!fits) {
    const expected = `a shape that agrees with ${show(shape)}, with 1 for any length`;
    throw wrongValue('ERR_STATE', subject, quote(full), expected, show(given));
  }
  const norms = length.data as Values;
  const squares = new Float64Array(norms.length);
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  const steps = own.map((n, axis) => (n === 1 ? 0 : sizeOf(own.slice(axis + 1))));
  const of = (i: number) =>
    shape.reduce((at, n, axis) => at + (steps[axis] ? (Math.floor(i / strides[axis]) % n) * steps[axis] : 0), 0);
  for (let i = 0; i < v.length; i++) squares[of(i)] += v[i] * v[i];
  return { data: Float32Array.from(v, (value, i) => (value * norms[of(i)]) / Math.sqrt(squares[of(i)])), shape };
}
