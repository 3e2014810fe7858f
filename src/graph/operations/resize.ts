// An image, or any value, at another size: ONNX' Resize with its ways to place outputs between
// inputs
// (https://onnx.ai/onnx/operators/onnx__Resize.html).

import { wrongValue } from '../../errors.ts';
import { countOf, showSymbolic } from '../../tensors/shape.ts';
import { type Length, lengthsOf, readLengths } from '../lengths.ts';
import { MANY, type Operation, type Shape } from '../operation.ts';
import { type Plain, plainDescription, plainRunner, type Values } from '../plain.ts';

const COORDINATES = [
  'half_pixel',
  'half_pixel_symmetric',
  'pytorch_half_pixel',
  'align_corners',
  'asymmetric',
  'tf_half_pixel_for_nn',
  'tf_crop_and_resize',
] as const;
const NEAREST = ['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'] as const;

export interface ResizeOperation extends Operation {
  readonly kind: 'resize';
  readonly mode: 'nearest' | 'linear' | 'cubic';
  readonly coordinates: (typeof COORDINATES)[number];
  readonly nearest: (typeof NEAREST)[number];
  readonly cubic: number;
  readonly excludes: boolean;
  readonly antialias: boolean;
  /** What lies outside, in tf_crop_and_resize. */
  readonly outside: number;
  /** One for each axis, over the inputs: factors, or lengths. */
  readonly by: 'scales' | 'sizes';
  readonly numbers: readonly Length[];
  /** Begins, then ends, of tf_crop_and_resize. */
  readonly region: readonly number[] | null;
}

/** More values than a float counts are no image. */
const MOST = 1 << 28;

function sizesOf(
  subject: string,
  { by, numbers }: ResizeOperation,
  shapes: readonly Shape[],
  region: readonly number[] | null,
): Shape {
  const [x] = shapes;
  const found = lengthsOf(numbers, shapes);
  if (found.length !== x.length) {
    throw wrongValue('ERR_SHAPE', subject, 'x', `rank ${found.length}`, `shape ${showSymbolic(x)}`);
  }
  const shape = found.map((value, axis) => {
    if (by === 'sizes') return value;
    if (value === 1 && !region) return x[axis];
    const share = region ? region[axis + x.length] - region[axis] : 1;
    return Math.floor(x[axis] * share * value);
  });
  const isLength = (length: number) => Number.isNaN(length) || (Number.isInteger(length) && length >= 1);
  if (!shape.every((length, i) => isLength(length) || (length === 0 && x[i] === 0)) || countOf(shape) > MOST) {
    throw wrongValue(
      'ERR_SHAPE',
      subject,
      'the new size',
      `lengths of 1 or more, ${MOST} values at most`,
      showSymbolic(shape),
    );
  }
  return shape;
}

/** Along one axis: for each output the inputs it is made of, and their weights. Rows of `taps`. */
interface Weights {
  readonly taps: number;
  readonly places: Int32Array;
  readonly weights: Float64Array;
  /** Outputs that lie outside. */
  readonly outside: Uint8Array | undefined;
}

function placeOf(
  operation: ResizeOperation,
  i: number,
  input: number,
  output: number,
  scale: number,
  axis: number,
  rank: number,
): number {
  switch (operation.coordinates) {
    case 'half_pixel':
      return (i + 0.5) / scale - 0.5;
    case 'half_pixel_symmetric': {
      // of an output that was cut to a whole length, the middle stays where it was
      const adjustment = output / (scale * input);
      const offset = (input / 2) * (1 - adjustment);
      return offset + (i + 0.5) / scale - 0.5;
    }
    case 'pytorch_half_pixel':
      return output > 1 ? (i + 0.5) / scale - 0.5 : 0;
    case 'align_corners':
      // the length before it was cut to a whole one, as ONNX has it
      return output > 1 ? (i * (input - 1)) / (input * scale - 1) : 0;
    case 'asymmetric':
      return i / scale;
    case 'tf_half_pixel_for_nn':
      return (i + 0.5) / scale;
    case 'tf_crop_and_resize': {
      const [start, end] = [operation.region![axis], operation.region![axis + rank]];
      if (output > 1) return start * (input - 1) + (i * (end - start) * (input - 1)) / (output - 1);
      return 0.5 * (start + end) * (input - 1);
    }
  }
}

function nearestOf(mode: ResizeOperation['nearest'], at: number): number {
  if (mode === 'floor') return Math.floor(at);
  if (mode === 'ceil') return Math.ceil(at);
  return mode === 'round_prefer_floor' ? Math.ceil(at - 0.5) : Math.floor(at + 0.5);
}

function cubicWeight(a: number, distance: number): number {
  const x = Math.abs(distance);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

function weightsOf(
  operation: ResizeOperation,
  input: number,
  output: number,
  scale: number,
  axis: number,
  rank: number,
): Weights {
  const { mode, antialias } = operation;
  // a smaller image is made of more values, where it is asked for
  const stretch = antialias && scale < 1 && mode !== 'nearest' ? scale : 1;
  const reach = mode === 'nearest' ? 0.5 : (mode === 'linear' ? 1 : 2) / stretch;
  const taps = mode === 'nearest' ? 1 : 2 * Math.ceil(reach);
  const places = new Int32Array(output * taps);
  const weights = new Float64Array(output * taps);
  const isCrop = operation.coordinates === 'tf_crop_and_resize';
  const outside = isCrop ? new Uint8Array(output) : undefined;
  const last = input - 1;
  for (let i = 0; i < output; i++) {
    const at = placeOf(operation, i, input, output, scale, axis, rank);
    if (outside && (at < 0 || at > last)) outside[i] = 1;
    if (mode === 'nearest') {
      places[i] = Math.min(Math.max(nearestOf(operation.nearest, at), 0), last);
      weights[i] = 1;
      continue;
    }
    // between the first and the last value: those beyond are the edge's
    const place = mode === 'linear' && stretch === 1 ? Math.min(Math.max(at, 0), last) : at;
    const first = Math.floor(place) - taps / 2 + 1;
    let sum = 0;
    for (let k = 0; k < taps; k++) {
      const distance = (place - (first + k)) * stretch;
      let weight = mode === 'linear' ? Math.max(0, 1 - Math.abs(distance)) : cubicWeight(operation.cubic, distance);
      const isOutside = first + k < 0 || first + k > last;
      if (isOutside && operation.excludes) weight = 0;
      places[i * taps + k] = Math.min(Math.max(first + k, 0), last);
      weights[i * taps + k] = weight;
      sum += weight;
    }
    if (operation.excludes || stretch !== 1) for (let k = 0; k < taps; k++) weights[i * taps + k] /= sum;
  }
  return { taps, places, weights, outside };
}

/** Axis by axis: those that change, and what becomes of all values. */
export function passesOf(operation: ResizeOperation, shapes: readonly Shape[]) {
  const [x] = shapes;
  const rank = x.length;
  const shape = sizesOf('resize', operation, shapes, operation.region);
  const found = lengthsOf(operation.numbers, shapes);
  const changed = x.flatMap((length, axis) => {
    const scale = operation.by === 'scales' ? found[axis] : shape[axis] / length;
    if (countOf(shape) === 0 || (shape[axis] === length && scale === 1 && !operation.region)) return [];
    return [{ axis, weights: weightsOf(operation, length, shape[axis], scale, axis, rank) }];
  });
  const passes: { outer: number; input: number; output: number; inner: number; weights: Weights; size: number }[] = [];
  const lengths = [...x];
  for (const { axis, weights } of changed) {
    const outer = countOf(lengths.slice(0, axis));
    const inner = countOf(lengths.slice(axis + 1));
    const input = lengths[axis];
    lengths[axis] = shape[axis];
    passes.push({ outer, input, output: shape[axis], inner, weights, size: countOf(lengths) });
  }
  return { shape, passes, changed };
}

const plain: Plain<ResizeOperation> = {
  kind: 'resize',
  arity: MANY,
  name: ({ mode, coordinates }) => `resize, ${mode}, ${coordinates}`,
  shape: (subject, operation, shapes) => sizesOf(subject, operation, shapes, operation.region),
  prepare(operation, shapes) {
    const { shape, passes, changed } = passesOf(operation, shapes);
    const rank = shape.length;
    if (countOf(shape) === 0) return () => {};
    const between = passes.slice(0, -1).map(({ size }) => new Float64Array(size));
    const size = countOf(shape);
    const outsides = changed.some(({ weights }) => weights.outside?.some((one) => one));
    return ([values], [from], y, to) => {
      if (passes.length === 0) {
        if (values === y) y.copyWithin(to, from, from + size);
        else y.set(values.subarray(from, from + size), to);
      }
      let [source, at]: [Values, number] = [values, from];
      passes.forEach(({ outer, input, output, inner, weights: { taps, places, weights } }, p) => {
        const isLast = p === passes.length - 1;
        const [target, out] = isLast ? [y, to] : [between[p] as Values, 0];
        for (let n = 0; n < outer; n++) {
          for (let i = 0; i < output; i++) {
            const row = out + (n * output + i) * inner;
            const block = at + n * input * inner;
            if (taps === 1) {
              const first = block + places[i] * inner;
              for (let j = 0; j < inner; j++) target[row + j] = source[first + j];
              continue;
            }
            if (taps === 2) {
              const [a, b] = [block + places[2 * i] * inner, block + places[2 * i + 1] * inner];
              const [u, v] = [weights[2 * i], weights[2 * i + 1]];
              // a value that has no weight does not count, whatever it is
              if (v === 0) for (let j = 0; j < inner; j++) target[row + j] = source[a + j];
              else for (let j = 0; j < inner; j++) target[row + j] = u * source[a + j] + v * source[b + j];
              continue;
            }
            for (let j = 0; j < inner; j++) {
              let sum = 0;
              for (let k = 0; k < taps; k++) {
                const weight = weights[i * taps + k];
                if (weight !== 0) sum += weight * source[block + places[i * taps + k] * inner + j];
              }
              target[row + j] = sum;
            }
          }
        }
        [source, at] = [target, out];
      });
      if (!outsides) return;
      const place = shape.map(() => 0);
      for (let i = 0; i < size; i++) {
        if (changed.some(({ axis, weights }) => weights.outside?.[place[axis]])) y[to + i] = operation.outside;
        for (let a = rank - 1; a >= 0 && ++place[a] === shape[a]; a--) place[a] = 0;
      }
    };
  },
  read(fields) {
    const { json, fail } = fields;
    const { mode, coordinates, nearest, cubic, excludes, antialias, outside, by, numbers, region } = json;
    if (mode !== 'nearest' && mode !== 'linear' && mode !== 'cubic') throw fail('a mode', mode);
    if (!COORDINATES.includes(coordinates as 'half_pixel')) throw fail('a way to place outputs', coordinates);
    if (!NEAREST.includes(nearest as 'floor')) throw fail('a way to round', nearest);
    if (by !== 'scales' && by !== 'sizes') throw fail('scales or sizes', by);
    if (typeof cubic !== 'number' || typeof outside !== 'number') throw fail('numbers', cubic);
    if (typeof excludes !== 'boolean' || typeof antialias !== 'boolean') throw fail('true or false', excludes);
    const terms = readLengths(fields, numbers);
    const isRegion = Array.isArray(region) && region.length === 2 * terms.length;
    if (region !== null && !(isRegion && region.every((one) => typeof one === 'number')))
      throw fail('a region', region);
    if (coordinates === 'tf_crop_and_resize' && region === null) throw fail('a region', region);
    return {
      kind: 'resize',
      mode,
      coordinates: coordinates as 'half_pixel',
      nearest: nearest as 'floor',
      cubic,
      excludes,
      antialias,
      outside,
      by,
      numbers: terms,
      region: region as number[] | null,
    };
  },
};

export const runResize = /* @__PURE__ */ plainRunner(plain);

export const describeResize = /* @__PURE__ */ plainDescription(plain, runResize, {
  group: 'indexing',
  noun: 'a resizing',
  json: ({ kind: _, ...rest }) => rest,
  error([x, ...others], operation, shape) {
    const out = new Float64Array(countOf(shape));
    if (operation.mode === 'cubic' || operation.region) return out.fill(Number.POSITIVE_INFINITY);
    const shapes = [x, ...others].map((one) => one.shape);
    const work = plain.prepare(operation, shapes);
    work([x.error], [0], out, 0);
    const size = new Float64Array(out.length);
    work([x.value.map(Math.abs)], [0], size, 0);
    return operation.mode === 'nearest' ? out : out.map((e, i) => e + 2 ** -23 * (size[i] + e));
  },
});
