// Linear and convolution layers on samples, as plain loops in f64: what a certificate measures
// with. No kernel of this library.

import { show, showShape, wrongValue } from '../errors.ts';
import { shapeOf, unravel } from '../tensors/shape.ts';
import type { PlainTensor } from '../types.ts';
import type { ConvWeights, Geometry } from './geometry.ts';

/**
 * What a layer gives: `[N, places, out]`, places flattened.
 *
 * @param input `[N, in, ...]` in PyTorch's layout, `[N, ..., in]` in Keras'
 * @param map applied to every input value on its way in
 * @throws ERR_SHAPE for samples that do not fit the layer
 */
export function convolve(
  subject: string,
  layer: ConvWeights,
  geometry: Geometry,
  weight: ArrayLike<number>,
  bias: ArrayLike<number> | null | undefined,
  input: PlainTensor,
  map: (value: number, channel: number) => number = (value) => value,
): Float64Array {
  const { inChannels, outChannels, window, outOf, inOf, tapOf } = geometry;
  const shape = shapeOf(input);
  const last = layer.layout === 'keras';
  const axes = window.length;
  const sizes = last ? shape.slice(1, -1) : shape.slice(2);
  if (shape.length !== axes + 2 || shape[last ? axes + 1 : 1] !== inChannels) {
    throw wrongValue('ERR_SHAPE', subject, 'samples', `rank ${axes + 2} with ${inChannels} channels`, showShape(shape));
  }
  const list = (name: 'stride' | 'dilation' | 'outputPadding', standard: number) =>
    perAxis(subject, name, layer[name] ?? standard, axes, name === 'outputPadding' ? 0 : 1);
  const stride = list('stride', 1);
  const dilation = list('dilation', 1);
  const extra = list('outputPadding', 0);
  const padding = paddingOf(subject, layer, sizes, window, stride, dilation);
  const outSizes = sizes.map((size, a) => {
    const reach = dilation[a] * (window[a] - 1);
    const { before, after } = padding[a];
    return layer.transposed
      ? (size - 1) * stride[a] - before - after + reach + extra[a] + 1
      : Math.floor((size + before + after - reach - 1) / stride[a]) + 1;
  });
  if (outSizes.some((size) => size < 1)) {
    throw wrongValue('ERR_SHAPE', subject, 'samples', 'at least one window', showShape(shape));
  }
  const places = outSizes.reduce((product, size) => product * size, 1);
  const inPlaces = sizes.reduce((product, size) => product * size, 1);
  const samples = shape[0];
  const values = new Float64Array(samples * places * outChannels);
  for (let i = 0; i < values.length; i++) values[i] = bias ? bias[i % outChannels] : 0;

  // for each place in the window: which input place meets which output place
  const taps = window.reduce((product, size) => product * size, 1);
  const meetings = Array.from({ length: taps }, (_, tap) => {
    const at = unravel(tap, window);
    const pairs: [from: number, to: number][] = [];
    for (let p = 0; p < (layer.transposed ? inPlaces : places); p++) {
      const here = unravel(p, layer.transposed ? sizes : outSizes);
      const there = here.map((x, a) => x * stride[a] + at[a] * dilation[a] - padding[a].before);
      const bounds = layer.transposed ? outSizes : sizes;
      if (there.some((x, a) => x < 0 || x >= bounds[a])) continue;
      const other = there.reduce((sum, x, a) => sum * bounds[a] + x, 0);
      pairs.push(layer.transposed ? [p, other] : [other, p]);
    }
    return pairs;
  });
  for (let i = 0; i < weight.length; i++) {
    const [o, c] = [outOf(i), inOf(i)];
    for (const [from, to] of meetings[tapOf(i)]) {
      for (let n = 0; n < samples; n++) {
        const x = input.data[last ? (n * inPlaces + from) * inChannels + c : (n * inChannels + c) * inPlaces + from];
        values[(n * places + to) * outChannels + o] += weight[i] * map(x, c);
      }
    }
  }
  return values;
}

function perAxis(
  subject: string,
  argument: string,
  given: number | readonly number[],
  axes: number,
  least = 0,
): number[] {
  const values = typeof given === 'number' ? Array.from({ length: axes }, () => given) : [...given];
  if (values.length !== axes || !values.every((value) => Number.isInteger(value) && value >= least)) {
    throw wrongValue(
      'ERR_OPTION',
      subject,
      argument,
      `a whole number of ${least} or more, or ${axes} of them`,
      show(given),
    );
  }
  return values;
}

function paddingOf(
  subject: string,
  layer: ConvWeights,
  sizes: readonly number[],
  window: readonly number[],
  stride: readonly number[],
  dilation: readonly number[],
): { before: number; after: number }[] {
  const { padding = 0 } = layer;
  if (padding === 'same' && !layer.transposed) {
    return sizes.map((size, a) => {
      const total = Math.max(
        (Math.ceil(size / stride[a]) - 1) * stride[a] + dilation[a] * (window[a] - 1) + 1 - size,
        0,
      );
      return { before: Math.floor(total / 2), after: Math.ceil(total / 2) };
    });
  }
  if (padding === 'same') {
    throw wrongValue('ERR_OPTION', subject, 'padding', 'numbers for a transposed layer with samples', "'same'");
  }
  if (typeof padding === 'object' && padding.every((pair) => typeof pair === 'object') && padding.length) {
    if (padding.length !== window.length) {
      throw wrongValue('ERR_OPTION', subject, 'padding', `${window.length} pairs`, show(padding));
    }
    return padding.map((pair) => {
      const [before, after] = perAxis(subject, 'padding', pair as readonly number[], 2);
      return { before, after };
    });
  }
  return perAxis(
    subject,
    'padding',
    padding === 'valid' ? 0 : (padding as number | readonly number[]),
    window.length,
  ).map((both) => ({
    before: both,
    after: both,
  }));
}
