// A convolution whose weights come at run time: loops, where a layer would pack its weights once.

import { wrongValue } from '../../errors.ts';
import { type ConvSpec, convShape, lengthsOf, paddingOf } from '../../layers/conv-geometry.ts';
import { countOf, differs, showSymbolic, unravel } from '../../tensors/shape.ts';
import { MANY, type Operation, type Shape } from '../operation.ts';
import { type Plain, plainDescription, plainRunner } from '../plain.ts';

export interface WeightedOperation extends Operation, Omit<ConvSpec, 'inChannels' | 'outChannels' | 'layout'> {
  readonly kind: 'weighted';
}

/** Inputs are x, the weight and, if any, the bias. */
function specOf(subject: string, operation: WeightedOperation, [, w, b]: readonly Shape[]): ConvSpec {
  const { kernel, groups, transposed } = operation;
  const isWeight = w.length === kernel.length + 2 && !kernel.some((length, a) => differs(w[a + 2], length));
  if (!isWeight) {
    const expected = `a kernel of ${kernel.join('×')}`;
    throw wrongValue('ERR_SHAPE', subject, 'the weight', expected, `shape ${showSymbolic(w)}`);
  }
  const [inChannels, outChannels] = transposed ? [w[0], w[1] * groups] : [w[1] * groups, w[0]];
  if (b && (b.length !== 1 || differs(b[0], outChannels))) {
    throw wrongValue('ERR_SHAPE', subject, 'the bias', `${outChannels} values`, `shape ${showSymbolic(b)}`);
  }
  if (!transposed && outChannels % groups) {
    throw wrongValue('ERR_SHAPE', subject, 'the weight', `${groups} groups`, `shape ${showSymbolic(w)}`);
  }
  return { ...operation, inChannels, outChannels, layout: 'channels-first' };
}

/** Sizes, and for each output place and tap the input place that it takes; −1: none. */
export function wiringOf(operation: WeightedOperation, shapes: readonly Shape[]) {
  const spec = specOf('conv', operation, shapes);
  const [shape] = shapes;
  const { transposed, inChannels, outChannels, groups, kernel, stride, dilation } = spec;
  const outShape = convShape('conv', spec, shape);
  const lengths = lengthsOf(spec, shape);
  const outLengths = lengthsOf(spec, outShape);
  const padding = paddingOf(spec, lengths);
  const [places, outPlaces, taps] = [lengths, outLengths, kernel].map(countOf);
  const [own, whole] = [inChannels / groups, outChannels / groups];
  /**
   * For each tap and input place the output place it goes to, or that of an output's input. −1:
   * none.
   */
  const source = new Int32Array(outPlaces * taps).fill(-1);
  for (let o = 0; o < outPlaces; o++) {
    const at = unravel(o, outLengths);
    for (let k = 0; k < taps; k++) {
      const tap = unravel(k, kernel);
      let place = 0;
      for (let a = 0; a < at.length && place >= 0; a++) {
        const i = transposed
          ? (at[a] + padding[a][0] - tap[a] * dilation[a]) / stride[a]
          : at[a] * stride[a] + tap[a] * dilation[a] - padding[a][0];
        place = Number.isInteger(i) && i >= 0 && i < lengths[a] ? place * lengths[a] + i : -1;
      }
      source[o * taps + k] = place;
    }
  }
  return { shape, source, places, outPlaces, taps, own, whole, inChannels, outChannels };
}

const plain: Plain<WeightedOperation> = {
  kind: 'weighted',
  arity: MANY,
  name: ({ kernel, transposed }) => `conv${transposed ? ' transposed' : ''} ${kernel.join('×')}, weights given`,
  shape: (subject, operation, shapes) => convShape(subject, specOf(subject, operation, shapes), shapes[0]),
  prepare(operation, shapes) {
    const { shape, source, places, outPlaces, taps, own, whole, inChannels, outChannels } = wiringOf(operation, shapes);
    const { transposed } = operation;
    const hasBias = shapes.length > 2;
    return (xs, from, y, to) => {
      const [x, w] = xs;
      for (let n = 0; n < shape[0]; n++) {
        for (let o = 0; o < outChannels; o++) {
          const group = Math.floor(o / whole);
          const bias = hasBias ? xs[2][from[2] + o] : 0;
          const out = to + (n * outChannels + o) * outPlaces;
          for (let p = 0; p < outPlaces; p++) {
            let sum = bias;
            for (let k = 0; k < taps; k++) {
              const place = source[p * taps + k];
              if (place < 0) continue;
              for (let j = 0; j < own; j++) {
                const c = group * own + j;
                const weight = transposed ? (c * whole + (o - group * whole)) * taps : (o * own + j) * taps;
                sum += w[from[1] + weight + k] * x[from[0] + (n * inChannels + c) * places + place];
              }
            }
            y[out + p] = sum;
          }
        }
      }
    };
  },
  read({ json, fail, whole }) {
    const { kernel, transposed, padding, groups } = json;
    if (!Array.isArray(kernel) || kernel.length < 1 || kernel.length > 6) throw fail('a kernel of 1 to 6 axes', kernel);
    const list = (given: unknown, least: number) => {
      if (!Array.isArray(given) || given.length !== kernel.length) throw fail(`${kernel.length} numbers`, given);
      return given.map((one) => whole(one, least, 2 ** 24));
    };
    if (typeof transposed !== 'boolean') throw fail('transposed true or false', transposed);
    if (padding !== 'same' && !(Array.isArray(padding) && padding.length === kernel.length))
      throw fail('a padding', padding);
    return {
      kind: 'weighted',
      transposed,
      kernel: list(kernel, 1),
      stride: list(json.stride, 1),
      dilation: list(json.dilation, 1),
      outputPadding: list(json.outputPadding, 0),
      groups: whole(groups, 1, 2 ** 24),
      padding:
        padding === 'same'
          ? padding
          : (padding as unknown[]).map((pair) => {
              if (!Array.isArray(pair) || pair.length !== 2) throw fail('a pair', pair);
              return [whole(pair[0], 0, 2 ** 24), whole(pair[1], 0, 2 ** 24)] as const;
            }),
    };
  },
};

export const runWeighted = /* @__PURE__ */ plainRunner(plain);

export const describeWeighted = /* @__PURE__ */ plainDescription(plain, runWeighted, {
  group: 'arithmetic',
  noun: 'a convolution',
  json: ({ kind: _, ...rest }) => rest,
  multiplyAdds: ({ transposed }, [x, w], y) => countOf(w.slice(1)) * countOf(transposed ? x : y),
});
