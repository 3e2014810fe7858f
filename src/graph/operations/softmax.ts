// Softmax along an axis, and its logarithm.

import { softmax, softmaxScratch } from '../../kernels/elementwise/calls.ts';
import { alongOf } from '../../passes/plan.ts';
import { U, type Valued } from '../error-analysis.ts';
import type { Description, Operation, Runner } from '../operation.ts';

export interface SoftmaxOperation extends Operation {
  readonly kind: 'softmax';
  /** Counted with the batch; from the end where it is negative. */
  readonly axis: number;
  readonly isLog: boolean;
}

const name = ({ axis, isLog }: SoftmaxOperation) => `${isLog ? 'log softmax' : 'softmax'} on axis ${axis}`;

export const runSoftmax: Runner<SoftmaxOperation> = {
  kind: 'softmax',
  arity: 1,
  fuses: false,
  overwrites: [0],
  name,
  shape(subject, { axis }, [x]) {
    alongOf(subject, x, axis);
    return x;
  },
  scratch: ({ axis }, [x]) => softmaxScratch(alongOf('softmax', x, axis)),
  call({ backend, operation, shapes, inputs: [from], output, scratch }) {
    const along = alongOf(name(operation), shapes[0], operation.axis);
    return () => softmax(backend, from(), output(), operation.isLog, along, scratch());
  },
  read({ json: { axis, isLog }, fail, whole }) {
    if (typeof isLog !== 'boolean') throw fail('isLog true or false', isLog);
    return { kind: 'softmax', axis: whole(axis, -64, 63), isLog };
  },
};

export const describeSoftmax: Description<SoftmaxOperation> = {
  runner: runSoftmax,
  group: 'softmax',
  noun: 'softmax',
  exact: (given) => given,
  rounded: (exact) => exact,
  rounding: () => null,
  json: ({ axis, isLog }) => ({ axis, isLog }),
  bytes: () => 0,
  work: () => 0,
  analyse: ([x], operation) => analyseSoftmax(x, operation),
};

/**
 * Of e^(x − m) to Σ e^(x − m): 4 units in the last place of the exponential, of the sum and of the
 * quotient.
 */
const ROUNDING = 7.152557373046875e-7;

/**
 * Where inputs are off by at most e, exponentials are by a factor of e^±2e, as the largest one is
 * subtracted from each; the logarithm by 2e.
 */
function analyseSoftmax({ shape, value, error }: Valued, { axis, isLog }: SoftmaxOperation): Valued {
  const { outer, length, inner } = alongOf('certificate', shape, axis);
  const out = { value: new Float64Array(value.length), error: new Float64Array(value.length) };
  for (let row = 0; row < outer * inner; row++) {
    const first = Math.floor(row / inner) * length * inner + (row % inner);
    const places = Array.from({ length }, (_, k) => first + k * inner);
    const most = places.reduce((a, k) => Math.max(a, value[k]), Number.NEGATIVE_INFINITY);
    const off = places.reduce((a, k) => Math.max(a, error[k]), 0);
    const sum = places.reduce((total, k) => total + Math.exp(value[k] - most), 0);
    const log = Math.log(sum);
    for (const k of places) {
      // differences from the largest round, and round more the larger they are
      const d = value[k] - most;
      const rounded = 2 * off + 2 * U * Math.abs(d);
      const y = isLog ? d - log : Math.exp(d) / sum;
      out.value[k] = y;
      out.error[k] = isLog
        ? rounded + ROUNDING * (1 + Math.abs(d) + Math.abs(log))
        : y * Math.expm1(rounded) * (1 + ROUNDING) + ROUNDING * y + 2 ** -149;
    }
  }
  return { shape, ...out };
}
