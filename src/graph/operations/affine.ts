// y = (x − center)·scale + shift by channel: batch norm in evaluation.

import { affine } from '../../kernels/inference/calls.ts';
import { planOf, type Ranks } from '../../passes/plan.ts';
import type { Layout } from '../../types.ts';
import { store } from '../../wasm/views.ts';
import { gamma, U, type Valued } from '../error-analysis.ts';
import {
  axisOf,
  type Description,
  type Fields,
  jsonRanks,
  type Operation,
  padded,
  type Runner,
  type Shape,
} from '../operation.ts';
import { composedMaps } from '../weights.ts';

export interface AffineOperation<V extends ArrayLike<number> = ArrayLike<number>> extends Operation {
  readonly kind: 'affine';
  /** Values of f32; 0 in channels whose mean lies near 0. Null where all are 0. */
  readonly center: V | null;
  readonly scale: V;
  readonly shift: V;
  readonly layout: Layout;
  readonly ranks: Ranks;
}

type Rounded = AffineOperation<Float32Array>;
type Exact = AffineOperation;

const name = ({ scale }: Exact) => `affine ${scale.length}`;

/** The shape that a norm takes, of so many axes. */
export function normTakes(channels: number, layout: Layout, [least, most]: Ranks, rank: number): Shape | undefined {
  if (rank < least || rank > most) return undefined;
  const shape = new Array<number>(rank).fill(Number.NaN);
  shape[layout === 'channels-first' ? 1 : rank - 1] = channels;
  return shape;
}

/** Where a norm's channels lie, as a file has it. */
export function readAxes({ json, fail, whole }: Fields): { layout: Layout; ranks: Ranks } {
  const { layout, ranks } = json;
  if (layout !== 'channels-first' && layout !== 'channels-last') throw fail('a layout', layout);
  if (!Array.isArray(ranks) || ranks.length !== 2) throw fail('two ranks', ranks);
  // a batch and channels at the least: where there is no such axis, its length is not known to be
  // another
  const least = whole(ranks[0], 2, 64);
  return { layout, ranks: [least, ranks[1] === null ? Number.POSITIVE_INFINITY : whole(ranks[1], least, 64)] };
}

export const runAffine: Runner<Rounded> = {
  kind: 'affine',
  arity: 1,
  fuses: true,
  overwrites: [0, 1],
  name,
  shape(subject, { scale, layout, ranks }, [x]) {
    planOf(subject, x, scale.length, layout, ranks);
    return x;
  },
  takes: ({ scale, layout, ranks }, rank) => normTakes(scale.length, layout, ranks, rank),
  bytes: ({ center, scale }) => (center ? 3 : 2) * padded(scale.length),
  fill({ heap }, { scale, shift, center }, at) {
    [scale, shift, center].forEach((vector, i) => {
      if (vector) store(heap, at + i * padded(scale.length), vector);
    });
  },
  call({ backend, operation, weights, shapes, inputs: [from], residual, output, activation }) {
    const { scale, center, layout, ranks } = operation;
    const plan = planOf(name(operation), shapes[0], scale.length, layout, ranks);
    const length = padded(scale.length);
    const vectors = { center: center ? weights + 2 * length : 0, scale: weights, shift: weights + length };
    return () => affine(backend, plan, from(), vectors, residual(), output(), activation);
  },
  read(fields) {
    const channels = [fields.whole(fields.json.channels, 1, 2 ** 24)];
    return {
      kind: 'affine',
      ...readAxes(fields),
      scale: fields.vector('scale', channels),
      shift: fields.vector('shift', channels),
      center: fields.optional('center', channels),
    };
  },
};

export const describeAffine: Description<Exact, Rounded> = {
  runner: runAffine,
  noun: 'a map',
  exact: (given) => ({ ...given, scale: Float64Array.from(given.scale), shift: Float64Array.from(given.shift) }),
  rounded: ({ center, scale, shift, ...exact }) => ({
    ...exact,
    center: center && Array.prototype.some.call(center, (value) => value !== 0) ? Float32Array.from(center) : null,
    scale: Float32Array.from(scale),
    shift: Float32Array.from(shift),
  }),
  rounding: (exact, { scale }) => scale.reduce((most, value, c) => Math.max(most, Math.abs(exact.scale[c] - value)), 0),
  json: ({ center, scale, shift, layout, ranks }, store) => ({
    channels: scale.length,
    layout,
    ranks: jsonRanks(ranks),
    scale: store(scale, [scale.length], 'scale'),
    shift: store(shift, [shift.length], 'shift'),
    ...(center && { center: store(center, [center.length], 'center') }),
  }),
  bytes: ({ center, scale }) => (center ? 12 : 8) * scale.length,
  work: ({ scale, ranks }) => (ranks[0] <= 2 ? scale.length : null),
  analyse: ([x], exact, used) => analyseAffine(x, exact, used),
  input: ({ scale, layout }) => ({ axis: axisOf(layout), count: scale.length }),
  output: ({ scale, layout }) => ({ axis: axisOf(layout), count: scale.length }),
  map: ({ center, scale, shift }) => ({ center: center ?? new Float32Array(scale.length), scale, shift }),
  foldBack: (exact, map, { ranks: [least, most] }) => ({
    ...exact,
    ...composedMaps({ ...exact, center: exact.center ?? new Float32Array(exact.scale.length) }, map),
    ranks: [Math.max(exact.ranks[0], least), Math.min(exact.ranks[1], most)],
  }),
};

/** (x − center)·scale + shift, whose coefficients are rounded to f32. */
function analyseAffine({ shape, value, error }: Valued, exact: Exact, used: Exact): Valued {
  const { channels, inner } = planOf('certificate', shape, exact.scale.length, exact.layout, exact.ranks);
  const out = { value: new Float64Array(value.length), error: new Float64Array(value.length) };
  for (let i = 0; i < value.length; i++) {
    const c = Math.floor(i / inner) % channels;
    const [s, t] = [exact.scale[c], exact.shift[c]];
    const x = value[i] - (exact.center ? exact.center[c] : 0);
    const reach = Math.abs(x) + error[i];
    const lost = Math.abs(s - Math.fround(used.scale[c])) * Math.abs(x) + Math.abs(t - Math.fround(used.shift[c]));
    out.value[i] = x * s + t;
    out.error[i] = Math.abs(s) * (1 + 3 * U) * error[i] + lost + gamma(4) * (Math.abs(s) * reach + Math.abs(t));
  }
  return { shape, ...out };
}
