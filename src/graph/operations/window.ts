// Windows that pooling layers do not have: other padding before than behind, averages with gaps,
// powers.

import { wrongValue } from '../../errors.ts';
import { countOf, showSymbolic } from '../../tensors/shape.ts';
import type { Operation, Shape } from '../operation.ts';
import { type Plain, plainDescription, plainRunner, type Work } from '../plain.ts';

export interface WindowOperation extends Operation {
  readonly kind: 'window';
  readonly of: 'max' | 'avg' | 'lp';
  /** By axis behind batch and channels. */
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  /**
   * Places before and behind; `upper` and `lower`: as many as make ceil(input/stride) outputs, the
   * odd one behind or before.
   */
  readonly padding: readonly (readonly [number, number])[] | 'upper' | 'lower';
  readonly ceil: boolean;
  readonly countsPadding: boolean;
  /** Of `lp`. */
  readonly p: number;
  /**
   * Of `max`: the places of the largest values in x, counted by rows or by columns of a plane;
   * null: these values.
   */
  readonly places: 'rows' | 'columns' | null;
}

interface Axis {
  readonly input: number;
  readonly output: number;
  readonly before: number;
  readonly behind: number;
}

function axesOf(subject: string, operation: WindowOperation, x: Shape): Axis[] {
  const { kernel, stride, dilation, padding, ceil } = operation;
  if (x.length !== kernel.length + 2) {
    throw wrongValue('ERR_SHAPE', subject, 'x', `rank ${kernel.length + 2}`, `shape ${showSymbolic(x)}`);
  }
  return kernel.map((length, a) => {
    const input = x[a + 2];
    const extent = dilation[a] * (length - 1) + 1;
    if (typeof padding === 'string') {
      const output = Math.ceil(input / stride[a]);
      const all = Math.max((output - 1) * stride[a] + extent - input, 0);
      const before = padding === 'upper' ? Math.floor(all / 2) : Math.ceil(all / 2);
      return { input, output, before, behind: all - before };
    }
    const [before, behind] = padding[a];
    const room = (input + before + behind - extent) / stride[a];
    let output = (ceil ? Math.ceil(room) : Math.floor(room)) + 1;
    // a window that would begin behind the input is none
    if (ceil && (output - 1) * stride[a] >= input + before) output--;
    if (output < 1) {
      const expected = `${extent - before - behind} values or more on axis ${a + 2}`;
      throw wrongValue('ERR_SHAPE', subject, 'x', expected, `${input}`, `shape ${showSymbolic(x)}`);
    }
    return { input, output, before, behind };
  });
}

/** Where the values of each window lie in a plane, and how many are counted. */
export function windowsIn(operation: WindowOperation, shape: Shape) {
  const { kernel, stride, dilation, countsPadding } = operation;
  const axes = axesOf('window', operation, shape);
  const planes = shape[0] * shape[1];
  const [size, count] = [countOf(shape.slice(2)), countOf(axes.map(({ output }) => output))];
  const taps = countOf(kernel);
  const begin = new Int32Array(count + 1);
  const places: number[] = [];
  const counted = new Float64Array(count);
  const at = axes.map(() => 0);
  for (let o = 0; o < count; o++) {
    const tap = axes.map(() => 0);
    for (let k = 0; k < taps; k++) {
      let [place, isIn, isPadded] = [0, true, true];
      axes.forEach(({ input, before, behind }, a) => {
        const i = at[a] * stride[a] - before + tap[a] * dilation[a];
        if (i < 0 || i >= input) isIn = false;
        if (i >= input + behind) isPadded = false;
        place = place * input + i;
      });
      if (isIn) places.push(place);
      if (isIn || (countsPadding && isPadded)) counted[o]++;
      for (let a = axes.length - 1; a >= 0 && ++tap[a] === kernel[a]; a--) tap[a] = 0;
    }
    begin[o + 1] = places.length;
    for (let a = axes.length - 1; a >= 0 && ++at[a] === axes[a].output; a--) at[a] = 0;
  }
  return { planes, size, count, begin, list: Int32Array.from(places), counted };
}

const plain: Plain<WindowOperation> = {
  kind: 'window',
  arity: 1,
  name: ({ of, kernel }) => `${of} over windows ${kernel.join('×')}`,
  shape: (subject, operation, [x]) => [...x.slice(0, 2), ...axesOf(subject, operation, x).map(({ output }) => output)],
  prepare(operation, [shape]) {
    const { of, p, places: gives } = operation;
    const { planes, size, count, begin, list, counted } = windowsIn(operation, shape);
    if (gives) return largest(list, begin, planes, size, count, gives === 'columns' ? shape.slice(2) : undefined);
    return ([x], [from], y, to) => {
      for (let n = 0, out = to; n < planes; n++) {
        const first = from + n * size;
        for (let o = 0; o < count; o++, out++) {
          let total = of === 'max' ? Number.NEGATIVE_INFINITY : 0;
          for (let k = begin[o]; k < begin[o + 1]; k++) {
            const value = x[first + list[k]];
            if (of === 'max') total = Math.max(total, value);
            else total += of === 'lp' ? Math.abs(value) ** p : value;
          }
          y[out] = of === 'max' ? total : of === 'lp' ? total ** (1 / p) : total / counted[o];
        }
      }
    };
  },
  read({ json, fail, whole }) {
    const { of, kernel, stride, dilation, padding, ceil, countsPadding, p, places } = json;
    if (of !== 'max' && of !== 'avg' && of !== 'lp') throw fail('max, avg or lp', of);
    if (!Array.isArray(kernel) || kernel.length < 1 || kernel.length > 6) throw fail('a kernel of 1 to 6 axes', kernel);
    const list = (given: unknown, least: number) => {
      if (!Array.isArray(given) || given.length !== kernel.length) throw fail(`${kernel.length} numbers`, given);
      return given.map((one) => whole(one, least, 2 ** 24));
    };
    if (typeof ceil !== 'boolean' || typeof countsPadding !== 'boolean') throw fail('true or false', ceil);
    if (typeof p !== 'number') throw fail('a power', p);
    if (places !== null && places !== 'rows' && places !== 'columns') throw fail('rows or columns', places);
    const pairs = (): (readonly [number, number])[] => {
      if (!Array.isArray(padding) || padding.length !== kernel.length) throw fail('pairs', padding);
      return padding.map((pair) => {
        if (!Array.isArray(pair) || pair.length !== 2) throw fail('a pair', pair);
        return [whole(pair[0], 0, 2 ** 24), whole(pair[1], 0, 2 ** 24)] as const;
      });
    };
    return {
      kind: 'window',
      of,
      kernel: list(kernel, 1),
      stride: list(stride, 1),
      dilation: list(dilation, 1),
      padding: padding === 'upper' || padding === 'lower' ? padding : pairs(),
      ceil,
      countsPadding,
      p,
      places,
    };
  },
};

/** Where the largest value of each window lies. */
function largest(
  list: Int32Array,
  begin: Int32Array,
  planes: number,
  size: number,
  count: number,
  lengths: Shape | undefined,
): Work {
  const turned = (place: number) => {
    if (!lengths) return place;
    let [rest, at, step] = [place, 0, countOf(lengths)];
    for (let a = lengths.length - 1; a >= 0; a--) {
      step /= lengths[a];
      at += (rest % lengths[a]) * step;
      rest = Math.floor(rest / lengths[a]);
    }
    return at;
  };
  return ([x], [from], y, to) => {
    for (let n = 0, out = to; n < planes; n++) {
      for (let o = 0; o < count; o++, out++) {
        let best = begin[o];
        for (let k = best + 1; k < begin[o + 1]; k++)
          if (x[from + n * size + list[k]] > x[from + n * size + list[best]]) best = k;
        y[out] = n * size + turned(list[best]);
      }
    }
  };
}

export const runWindow = /* @__PURE__ */ plainRunner(plain);

export const describeWindow = /* @__PURE__ */ plainDescription(plain, runWindow, {
  group: 'indexing',
  noun: 'a pooling',
  json: ({ kind: _, ...rest }) => rest,
  error([x], operation, shape) {
    const out = new Float64Array(countOf(shape));
    if (operation.of === 'lp' || operation.places) return out.fill(Number.POSITIVE_INFINITY);
    plain.prepare(operation, [x.shape])([x.error], [0], out, 0);
    return out.map((e) => e * (1 + 2 ** -23));
  },
});
