// A layer of a model that norms are folded into: its weights stay as they are stored, beside them
// stand what they are multiplied by and the bias, in f64. Rounded once, where the model is written.

import { type EvenkeelError, wrongValue } from '../errors.ts';
import { checkFold } from '../fold/fold.ts';
import { type ConvWeights, convGeometry, type Geometry, linearGeometry } from '../fold/geometry.ts';
import type { Affine } from '../fold/norm.ts';
import { bytesPerValue, decode, encode, type Values } from '../formats/dtypes.ts';
import type { OnnxNode } from '../formats/onnx.ts';
import { type Constant, sizeOf } from './onnx-constants.ts';

const FORMAT = 'ONNX';

/** The largest value of a type, and half a step to the next: from there on it is infinite. */
const LARGEST: Readonly<Record<string, number>> = {
  F64: 1.7976931348623157e308,
  F32: 3.4028235677973366e38, // (2 − 2⁻²⁴)·2¹²⁷
  BF16: 3.39617752923046e38, // (2 − 2⁻⁸)·2¹²⁷
  F16: 65520,
};

/** What a fold changes of a layer. */
export interface FoldedScales {
  readonly outScale: Float64Array;
  readonly inScale: Float64Array;
  readonly bias: Float64Array;
}

export class FoldedLayer {
  readonly weight: Constant;
  readonly dtype: string;
  readonly #plain: Omit<ConvWeights, 'weight'>;
  readonly #channels: Pick<Geometry, 'inChannels' | 'outChannels'>;
  #scales: FoldedScales;
  /** Σ|stored − exact| of the output channel with the most, once the weights are written. */
  rounding = 0;

  /** Throws ERR_FOLD and ERR_SHAPE where there is nothing to fold into. */
  constructor(node: OnnxNode, weight: Constant, bias: Values | undefined) {
    const number = (name: string, standard: number) => (node.attributes.get(name) as number | undefined) ?? standard;
    const isLinear = node.op === 'Gemm' || node.op === 'MatMul';
    const pads = node.attributes.get('pads') as readonly number[] | undefined;
    const automatic = node.attributes.get('auto_pad');
    const padded = automatic === 'SAME_UPPER' || automatic === 'SAME_LOWER' || pads?.some((pad) => pad !== 0);
    const { shape } = weight;
    this.weight = weight;
    this.dtype = weight.dtype;
    const layout = isLinear && !(node.op === 'Gemm' && number('transB', 0) !== 0) ? 'keras' : 'torch';
    const [transposed, groups] = isLinear ? [false, 1] : [node.op === 'ConvTranspose', number('group', 1)];
    const padding = !isLinear && padded ? 1 : 0;
    // shapes are looked at, values are not
    const unread = { weight: { length: sizeOf(shape) }, shape, bias, layout, transposed, groups, padding } as const;
    const geometry = isLinear ? linearGeometry(FORMAT, unread) : convGeometry(FORMAT, unread);
    const { outChannels, inChannels } = geometry;
    this.#channels = { outChannels, inChannels };
    const given = bias?.length === 1 ? new Float64Array(outChannels).fill(bias[0]) : bias;
    this.#plain = { shape, bias: given, layout, transposed, groups, padding };
    const start = given ? Float64Array.from(given) : new Float64Array(outChannels);
    this.#scales = { outScale: onesOf(outChannels), inScale: onesOf(inChannels), bias: start };
  }

  get outChannels(): number {
    return this.#channels.outChannels;
  }

  /** Bytes of its weights as they are written. */
  get byteLength(): number {
    return sizeOf(this.weight.shape) * bytesPerValue(this.dtype)!;
  }

  /**
   * With a norm as well: nothing is changed yet. Throws ERR_FOLD, as for values that the type does
   * not hold.
   */
  with({ scale, shift }: Affine, before: boolean): FoldedScales {
    checkFold(FORMAT, this.#plain, this.#channels, { scale, shift }, before);
    const { outScale, inScale, bias } = this.#scales;
    const next = before
      ? { outScale, inScale: inScale.map((value, c) => value * scale[c]), bias: bias.slice() }
      : {
          outScale: outScale.map((value, c) => value * scale[c]),
          inScale,
          bias: bias.map((value, c) => value * scale[c] + shift[c]),
        };
    const largest = LARGEST[this.dtype];
    const isRowOut = this.#isRowOut;
    const [rowScale, columnScale] = isRowOut ? [next.outScale, next.inScale] : [next.inScale, next.outScale];
    let most = 0;
    this.#walk((values, row, first, taps) => {
      for (let column = first, at = 0; at < values.length; column++) {
        let sum = 0;
        let peak = 0;
        for (const end = at + taps; at < end; at++) {
          const value = values[at];
          sum += value;
          const size = Math.abs(value);
          if (!(size <= peak)) peak = size;
        }
        const size = peak * Math.abs(rowScale[row] * columnScale[column]);
        if (!(size <= most)) most = size;
        if (!before) continue;
        const [o, c] = isRowOut ? [row, column] : [column, row];
        next.bias[o] += sum * outScale[o] * inScale[c] * shift[c];
      }
    });
    if (!(most < largest)) throw unheld('weight', this.dtype, most);
    const bad = next.bias.find((value) => !(Math.abs(value) < largest));
    if (bad !== undefined) throw unheld('bias', this.dtype, bad);
    return next;
  }

  set(scales: FoldedScales): void {
    this.#scales = scales;
  }

  /** The bias as it is stored. */
  biasBytes(): Uint8Array<ArrayBuffer> {
    return encode(this.#scales.bias, this.dtype);
  }

  /** Writes the weights where they go, and measures what rounding them costs. */
  write(target: Uint8Array): void {
    const { outScale, inScale } = this.#scales;
    const lost = new Float64Array(this.outChannels);
    const isRowOut = this.#isRowOut;
    const [rowScale, columnScale] = isRowOut ? [outScale, inScale] : [inScale, outScale];
    let done = 0;
    this.#walk((values, row, first, taps) => {
      const factors = new Float64Array(values.length / taps);
      for (let i = 0; i < factors.length; i++) factors[i] = rowScale[row] * columnScale[first + i];
      const sums = new Float64Array(factors.length);
      const bytes =
        this.dtype === 'F32' ? scaleSingles(values, factors, sums) : this.#scaleOthers(values, factors, sums);
      target.set(bytes, done);
      done += bytes.length;
      for (let i = 0; i < sums.length; i++) lost[isRowOut ? row : first + i] += sums[i];
    });
    this.rounding = lost.reduce((most, value) => Math.max(most, value), 0);
  }

  #scaleOthers(values: Values, factors: Float64Array, lost: Float64Array): Uint8Array {
    const taps = values.length / factors.length;
    const exact = Float64Array.from(values, (value, at) => value * factors[Math.floor(at / taps)]);
    const bytes = encode(exact, this.dtype);
    const stored = decode(FORMAT, 'weight', this.dtype, bytes, 0);
    for (let at = 0; at < exact.length; at++) lost[Math.floor(at / taps)] += Math.abs(stored[at] - exact[at]);
    return bytes;
  }

  /**
   * Do the rows of the first axis belong to output channels? Those of kernels `[in, out]` and of
   * transposed layers do not.
   */
  get #isRowOut(): boolean {
    return this.#plain.layout !== 'keras' && !this.#plain.transposed;
  }

  /**
   * The weights row by row of their first axis, in runs of `taps`; `first` is the channel of the
   * first run on the other side, which differs from group to group.
   */
  #walk(visit: (values: Values, row: number, first: number, taps: number) => void): void {
    const { weight } = this;
    const [rows, columns] = weight.shape;
    const taps = sizeOf(weight.shape.slice(2));
    const length = columns * taps;
    const perGroup = rows / (this.#plain.groups ?? 1);
    const size = bytesPerValue(this.dtype)!;
    const whole = weight.bytes ? undefined : weight.data;
    // some rows at a time: memory does not hold the weights twice
    const some = Math.max(1, Math.floor(PIECE / length));
    const scratch = this.dtype === 'F32' && !whole ? new Float32Array(Math.min(some, rows) * length) : undefined;
    for (let start = 0; start < rows; start += some) {
      const end = Math.min(rows, start + some);
      const piece = this.#piece(start * length, end * length, size, whole, scratch);
      for (let row = start; row < end; row++) {
        const values = piece.subarray((row - start) * length, (row - start + 1) * length) as Values;
        visit(values, row, Math.floor(row / perGroup) * columns, taps);
      }
    }
  }

  /** Values that may be written over. */
  #piece(
    start: number,
    end: number,
    size: number,
    whole: Values | undefined,
    scratch: Float32Array<ArrayBuffer> | undefined,
  ): Values {
    if (whole) return whole.slice(start, end) as Values;
    const bytes = this.weight.bytes!.subarray(start * size, end * size);
    if (!scratch || !LITTLE) return decode(FORMAT, 'weight', this.dtype, bytes, 0);
    new Uint8Array(scratch.buffer).set(bytes);
    return scratch.subarray(0, end - start);
  }
}

/** Ones that nobody writes to: those of small layers are shared. */
function onesOf(length: number): Float64Array {
  const known = ONES[length];
  if (known) return known;
  const ones = new Float64Array(length).fill(1);
  if (length < FEW) ONES[length] = ones;
  return ones;
}

const FEW = 256;
const ONES: Float64Array[] = [];

/** Is the processor's order that of files? */
const LITTLE = /* @__PURE__ */ new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** Multiplies runs of values by a factor each, in place, and adds up what rounding takes. */
function scaleSingles(values: Values, factors: Float64Array, lost: Float64Array): Uint8Array {
  const taps = values.length / factors.length;
  for (let i = 0, at = 0; i < factors.length; i++) {
    const factor = factors[i];
    let sum = 0;
    for (let tap = 0; tap < taps; tap++, at++) {
      const exact = values[at] * factor;
      const stored = Math.fround(exact);
      values[at] = stored;
      sum += Math.abs(stored - exact);
    }
    lost[i] = sum;
  }
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Values in a piece of weights. */
const PIECE = 1 << 16;

function unheld(what: 'weight' | 'bias', dtype: string, value: number): EvenkeelError {
  return wrongValue('ERR_FOLD', FORMAT, `the folded ${what}`, `values that ${dtype} holds`, `${value}`);
}

/** The types whose values are folded. */
export function isFoldable(dtype: string): boolean {
  return Object.hasOwn(LARGEST, dtype);
}
