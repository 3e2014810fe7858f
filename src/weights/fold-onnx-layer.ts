// A layer of a model that norms are folded into: its weights stay as they are stored, beside them stand what they are multiplied by and the bias, in f64.
// Rounded once, where the model is written.

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
  F64: Number.MAX_VALUE,
  F32: (2 - 2 ** -24) * 2 ** 127,
  BF16: (2 - 2 ** -8) * 2 ** 127,
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
  readonly #geometry: Geometry;
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
    this.#plain = {
      shape,
      bias,
      ...(isLinear
        ? { layout: node.op === 'Gemm' && number('transB', 0) === 1 ? 'torch' : 'keras' }
        : { transposed: node.op === 'ConvTranspose', groups: number('group', 1), padding: padded ? 1 : 0 }),
    };
    // shapes are looked at, values are not
    const unread = { ...this.#plain, weight: { length: sizeOf(shape) } };
    this.#geometry = isLinear ? linearGeometry(FORMAT, unread) : convGeometry(FORMAT, unread);
    const { outChannels, inChannels } = this.#geometry;
    const given = bias?.length === 1 ? new Float64Array(outChannels).fill(bias[0]) : bias;
    this.#plain = { ...this.#plain, bias: given };
    this.#scales = {
      outScale: new Float64Array(outChannels).fill(1),
      inScale: new Float64Array(inChannels).fill(1),
      bias: given ? Float64Array.from(given) : new Float64Array(outChannels),
    };
  }

  get outChannels(): number {
    return this.#geometry.outChannels;
  }

  /** Bytes of its weights as they are written. */
  get byteLength(): number {
    return sizeOf(this.weight.shape) * bytesPerValue(this.dtype)!;
  }

  /** With a norm as well: nothing is changed yet. Throws ERR_FOLD, as for values that the type does not hold. */
  with({ scale, shift }: Affine, before: boolean): FoldedScales {
    checkFold(FORMAT, this.#plain, this.#geometry, { scale, shift }, before);
    const { outScale, inScale, bias } = this.#scales;
    const next = before
      ? { outScale, inScale: inScale.map((value, c) => value * scale[c]), bias: bias.slice() }
      : {
          outScale: outScale.map((value, c) => value * scale[c]),
          inScale,
          bias: bias.map((value, c) => value * scale[c] + shift[c]),
        };
    const largest = LARGEST[this.dtype];
    let most = 0;
    this.#walk((values, outs, ins, taps) => {
      for (let i = 0, at = 0; at < values.length; i++) {
        const [o, c] = [outs(i), ins(i)];
        let sum = 0;
        let peak = 0;
        for (let tap = 0; tap < taps; tap++, at++) {
          const value = values[at];
          sum += value;
          const size = Math.abs(value);
          if (!(size <= peak)) peak = size;
        }
        const size = peak * Math.abs(next.outScale[o] * next.inScale[c]);
        if (!(size <= most)) most = size;
        if (before) next.bias[o] += sum * outScale[o] * inScale[c] * shift[c];
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
    let done = 0;
    this.#walk((values, outs, ins, taps) => {
      const exact = this.dtype === 'F32' ? new Float32Array(values.length) : new Float64Array(values.length);
      const round = this.dtype === 'F32' ? Math.fround : roundTo(this.dtype);
      for (let i = 0, at = 0; at < values.length; i++) {
        const o = outs(i);
        const factor = outScale[o] * inScale[ins(i)];
        let sum = 0;
        for (let tap = 0; tap < taps; tap++, at++) {
          const value = values[at] * factor;
          const stored = round(value);
          exact[at] = stored;
          sum += Math.abs(stored - value);
        }
        lost[o] += sum;
      }
      const bytes = encode(exact, this.dtype);
      target.set(bytes, done);
      done += bytes.length;
    });
    this.rounding = lost.reduce((most, value) => Math.max(most, value), 0);
  }

  /**
   * The weights in pieces of some rows of their first axis: values, and for each run of `taps` of them its output and its input channel. A piece at a time, so that memory does not hold the
   * weights twice.
   */
  #walk(
    visit: (values: Values, outs: (run: number) => number, ins: (run: number) => number, taps: number) => void,
  ): void {
    const { weight } = this;
    const [rows, columns] = weight.shape;
    const taps = sizeOf(weight.shape.slice(2));
    const row = columns * taps;
    const { outOf, inOf } = this.#geometry;
    const size = bytesPerValue(this.dtype)!;
    const whole = weight.bytes ? undefined : weight.data;
    const some = Math.max(1, Math.floor(PIECE / Math.max(row, 1)));
    for (let first = 0; first < rows; first += some) {
      const last = Math.min(rows, first + some);
      const values = whole
        ? (whole.subarray(first * row, last * row) as Values)
        : decode(FORMAT, 'weight', this.dtype, weight.bytes!.subarray(first * row * size, last * row * size), 0);
      const base = first * row;
      visit(
        values,
        (run) => outOf(base + run * taps),
        (run) => inOf(base + run * taps),
        taps,
      );
    }
  }
}

/** Values in a piece of weights. */
const PIECE = 1 << 16;

function unheld(what: 'weight' | 'bias', dtype: string, value: number): EvenkeelError {
  return wrongValue('ERR_FOLD', FORMAT, `the folded ${what}`, `values that ${dtype} holds`, `${value}`);
}

/** A value as a type holds it. */
function roundTo(dtype: string): (value: number) => number {
  if (dtype === 'F64') return (value) => value;
  return (value) => decode(FORMAT, '', dtype, encode([value], dtype), 0)[0];
}

/** The types whose values are folded. */
export function isFoldable(dtype: string): boolean {
  return Object.hasOwn(LARGEST, dtype);
}
