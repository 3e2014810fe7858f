// The largest value or the average of windows.

import { avgPool, maxPool, poolScratch } from '../../kernels/pool/calls.ts';
import { eachPlace } from '../../kernels/pool/js.ts';
import { unknownShape } from '../../layers/per-axis.ts';
import { axesOf, extentOf, type Pooling, pooledShape } from '../../layers/windows.ts';
import { countOf } from '../../tensors/shape.ts';
import { U, type Valued } from '../error-analysis.ts';
import type { Description, Fields, Operation, Runner } from '../operation.ts';

export interface PoolOperation extends Operation, Pooling {
  readonly kind: 'pool';
}

/** More would leave the range in which places are exact. */
const MOST = 16_777_216;

function name({ of, windows, outputs }: PoolOperation): string {
  const words = of === 'max' ? 'max' : 'average';
  if (windows) return `${words} pool ${windows.kernel.join('×')}`;
  return outputs ? `${words} pool to ${outputs.map((length) => length ?? 'any').join('×')}` : `global ${words} pool`;
}

export const runPool: Runner<PoolOperation> = {
  kind: 'pool',
  arity: 1,
  fuses: false,
  overwrites: [],
  name,
  shape: (subject, operation, [x]) => pooledShape(subject, operation, x),
  takes(operation, rank) {
    const axes = axesOf(operation);
    return (axes === undefined ? rank >= 3 : rank === axes + 2) ? unknownShape(rank) : undefined;
  },
  scratch: (operation, [x]) => poolScratch(extentOf('pool', operation, x)),
  call({ backend, operation, shapes, inputs: [from], output, scratch }) {
    const extent = extentOf(name(operation), operation, shapes[0]);
    const pool = operation.of === 'max' ? maxPool : avgPool;
    return () => pool(backend, extent, from(), output(), scratch());
  },
  read(fields) {
    const { of, layout, windows, outputs } = fields.json;
    if (of !== 'max' && of !== 'avg') throw fields.fail("of 'max' or 'avg'", of);
    if (layout !== 'channels-first' && layout !== 'channels-last') throw fields.fail('a layout', layout);
    if (windows) return { kind: 'pool', of, layout, windows: readWindows(fields), outputs: null };
    if (outputs === null) return { kind: 'pool', of, layout, windows: null, outputs };
    const lengths = listOf(fields, outputs).map((length) => (length === null ? null : fields.whole(length, 1, MOST)));
    return { kind: 'pool', of, layout, windows: null, outputs: lengths };
  },
};

/** A number for each of one to three axes. */
function listOf({ fail }: Fields, value: unknown, axes?: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length < 1 || value.length > 3 || (axes !== undefined && value.length !== axes)) {
    throw fail(`numbers for ${axes ?? 'one to three'} axes`, value);
  }
  return value;
}

function readWindows(fields: Fields): NonNullable<Pooling['windows']> {
  const given = fields.json.windows as Record<string, unknown>;
  const kernel = listOf(fields, given.kernel).map((value) => fields.whole(value, 1, MOST));
  const numbers = (value: unknown, least: number) =>
    listOf(fields, value, kernel.length).map((one) => fields.whole(one, least, MOST));
  const { ceilMode, countIncludePad } = given;
  if (typeof ceilMode !== 'boolean' || typeof countIncludePad !== 'boolean') {
    throw fields.fail('ceilMode and countIncludePad true or false', given);
  }
  const dilation = numbers(given.dilation, 1);
  const padding = given.padding === 'same' ? 'same' : numbers(given.padding, 0);
  if (padding === 'same' && ceilMode) throw fields.fail("ceilMode false with padding 'same'", given);
  if (padding !== 'same')
    padding.forEach((value, i) => {
      if (2 * value > dilation[i] * (kernel[i] - 1) + 1)
        throw fields.fail('a padding of half a window at most', padding);
    });
  return { kernel, stride: numbers(given.stride, 1), padding, dilation, ceilMode, countIncludePad };
}

export const describePool: Description<PoolOperation> = {
  runner: runPool,
  group: 'pooling',
  noun: 'pooling',
  exact: (given) => given,
  rounded: (exact) => exact,
  rounding: () => null,
  json: ({ of, layout, windows, outputs }) => ({ of, layout, windows, outputs }),
  bytes: () => 0,
  work: () => 0,
  analyse: ([x], operation) => analysePool(x, operation),
};

/**
 * A maximum is off by no more than the value that is off most; an average by the average, and one
 * rounding.
 */
function analysePool({ shape, value, error }: Valued, operation: PoolOperation): Valued {
  const out = pooledShape('certificate', operation, shape);
  const { outer, channels, axes, windows } = extentOf('certificate', operation, shape);
  const isMax = operation.of === 'max';
  const values = new Float64Array(countOf(out)).fill(isMax ? Number.NEGATIVE_INFINITY : 0);
  const errors = new Float64Array(values.length);
  const [input, output, dilation] = [
    axes.map((axis) => axis.input),
    axes.map((axis) => axis.output),
    axes.map((axis) => axis.dilation),
  ];
  eachPlace(windows, outer, channels, input, output, dilation, (place, o, divisor) => {
    if (isMax) {
      values[o] = Math.max(values[o], value[place]);
      errors[o] = Math.max(errors[o], error[place]);
    } else {
      values[o] += value[place] / divisor;
      errors[o] += error[place] / divisor;
    }
  });
  if (!isMax) {
    for (let o = 0; o < values.length; o++) errors[o] += U * (Math.abs(values[o]) + errors[o]);
  }
  return { shape: out, value: values, error: errors };
}
