// Layer and RMS norm: the last axes of each sample by statistics of their own.

import { normRows } from '../../kernels/rows/calls.ts';
import { rowPlanOf } from '../../passes/plan.ts';
import { countOf } from '../../tensors/shape.ts';
import { fill, store } from '../../wasm/views.ts';
import type { Valued } from '../error-analysis.ts';
import { type Description, type Operation, padded, type Runner } from '../operation.ts';
import { normalized, readEps, withScaling } from './norms.ts';

export interface RowNormOperation<V extends ArrayLike<number> = ArrayLike<number>> extends Operation {
  readonly kind: 'row-norm';
  /** Lengths of the axes that are normalized together, the last ones. */
  readonly normalizedShape: readonly number[];
  /** Is the mean taken away? */
  readonly centred: boolean;
  readonly eps: number;
  /** By place; null: 1 and 0. */
  readonly gamma: V | null;
  readonly beta: V | null;
}

type Rounded = RowNormOperation<Float32Array>;
type Exact = RowNormOperation;

const MOST_AXES = 64;

const columnsOf = ({ normalizedShape }: Exact) => countOf(normalizedShape);

export const runRowNorm: Runner<Rounded> = {
  kind: 'row-norm',
  arity: 1,
  fuses: true,
  overwrites: [0],
  name: ({ centred, normalizedShape }) => `${centred ? 'layer' : 'rms'} norm ${normalizedShape.join(' × ')}`,
  shape(subject, { normalizedShape }, [x]) {
    rowPlanOf(subject, x, normalizedShape);
    return x;
  },
  takes({ normalizedShape }, rank) {
    const free = rank - normalizedShape.length;
    return free < 1 ? undefined : [...new Array<number>(free).fill(Number.NaN), ...normalizedShape];
  },
  bytes: (operation) => 2 * padded(columnsOf(operation)),
  fill({ heap }, operation, at) {
    const columns = columnsOf(operation);
    [operation.gamma, operation.beta].forEach((vector, i) => {
      const to = at + i * padded(columns);
      if (vector) store(heap, to, vector);
      else fill(heap, to, columns, i ? 0 : 1);
    });
  },
  scratch: ({ normalizedShape }, [x]) => rowPlanOf('row norm', x, normalizedShape).rows * 28,
  call({ backend, operation, weights, shapes, inputs: [from], residual, output, scratch, activation }) {
    const { normalizedShape, centred, eps } = operation;
    const { rows, cols } = rowPlanOf('row norm', shapes[0], normalizedShape);
    const matrix = { rows, cols, centred };
    return () => {
      const moments = scratch();
      const center = moments + rows * 16;
      const [invStd, left] = [center + rows * 4, center + rows * 8];
      const vectors = { gamma: weights, beta: weights + padded(cols), center, invStd, left, moments };
      normRows(backend, matrix, from(), vectors, residual(), output(), activation, eps);
    };
  },
  read(fields) {
    const { json, whole, fail, optional } = fields;
    const { normalizedShape: shape, centred } = json;
    if (!Array.isArray(shape) || !shape.length) throw fail('a normalizedShape', shape);
    if (shape.length > MOST_AXES) throw fail(`at most ${MOST_AXES} axes`, shape.length);
    if (typeof centred !== 'boolean') throw fail('centred true or false', centred);
    const normalizedShape = shape.map((length) => whole(length, 1, 2 ** 24));
    return {
      kind: 'row-norm',
      normalizedShape,
      centred,
      eps: readEps(fields),
      gamma: optional('gamma', normalizedShape),
      beta: optional('beta', normalizedShape),
    };
  },
};

export const describeRowNorm: Description<Exact, Rounded> = {
  runner: runRowNorm,
  group: 'norms',
  noun: 'a norm by statistics of each row',
  exact: (given) => withScaling(given, Float64Array),
  rounded: (exact) => withScaling(exact, Float32Array),
  rounding: () => null,
  json: ({ normalizedShape, centred, eps, gamma, beta }, store) => ({
    normalizedShape,
    centred,
    eps,
    gamma: store(gamma, normalizedShape, 'gamma'),
    beta: store(beta, normalizedShape, 'beta'),
  }),
  bytes: (operation) => 8 * columnsOf(operation),
  work: columnsOf,
  analyse([x], exact, used) {
    const { rows, cols } = rowPlanOf('certificate', x.shape, exact.normalizedShape);
    const out: Valued = { shape: x.shape, value: new Float64Array(rows * cols), error: new Float64Array(rows * cols) };
    for (let r = 0; r < rows; r++) {
      normalized(
        x,
        out,
        exact.eps,
        exact.centred,
        cols,
        (i) => r * cols + i,
        (i) => ({
          gamma: [exact.gamma?.[i] ?? 1, used.gamma?.[i] ?? 1],
          beta: [exact.beta?.[i] ?? 0, used.beta?.[i] ?? 0],
        }),
      );
    }
    return out;
  },
};
