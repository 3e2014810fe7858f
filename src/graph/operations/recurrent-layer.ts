// Recurrent layers with weights of their own, packed for the kernels of products: what comes of x
// is worked out for all steps at once, and what comes of the state for all samples of a step. Sums
// are in f32, gates in f64.

import { NO_ACTIVATION } from '../../kernels/activations.ts';
import type { Backend } from '../../kernels/create-backend.ts';
import { linear, pack } from '../../kernels/linear/calls.ts';
import { Call } from '../../tensors/call.ts';
import { countOf } from '../../tensors/shape.ts';
import { indexOf, store } from '../../wasm/views.ts';
import type { Valued } from '../error-analysis.ts';
import { type Description, MANY, type Operation, padded, type Runner, type Shape } from '../operation.ts';
import {
  CELLS,
  CURVES,
  plainRecurrent,
  type RecurrentOperation,
  readOperation,
  shapeOf,
  sizesOf,
  skipOutput,
} from './recurrent.ts';

export interface RecurrentLayerOperation extends Operation {
  readonly kind: 'recurrent-layer';
  /** The layer. Its optional inputs but the bias are inputs here, behind x. */
  readonly of: RecurrentOperation;
  readonly features: number;
  /** `[ways, gates·hidden, features]`. */
  readonly weight: Float32Array;
  /** `[ways, gates·hidden, hidden]`. */
  readonly recurrence: Float32Array;
  /** `[ways, 2·gates·hidden]`: of x, then of the state. */
  readonly bias: Float32Array | null;
}

const waysOf = ({ of }: RecurrentLayerOperation) => (of.direction === 'bidirectional' ? 2 : 1);

/** How many columns each product with the state has: of a GRU the third gate is one of its own. */
function partsOf({ cell, hidden }: RecurrentOperation): number[] {
  return cell === 'gru' ? [2 * hidden, hidden] : [CELLS[cell].gates * hidden];
}

/** Bytes of what is packed for one direction: x, each part of the state, and their biases. */
function placesOf({ of, features }: RecurrentLayerOperation) {
  const columns = CELLS[of.cell].gates * of.hidden;
  let size = padded(columns) * features;
  const parts = partsOf(of).map((count) => {
    const at = size;
    size += padded(count) * of.hidden;
    return { at, count };
  });
  const bias = size;
  const last = bias + padded(columns);
  return { columns, parts, bias, last, size: last + padded(of.hidden) };
}

/** Shapes of the layer with weights as inputs. */
export function allShapes({ of, features, bias }: RecurrentLayerOperation, [x, ...others]: readonly Shape[]): Shape[] {
  const ways = of.direction === 'bidirectional' ? 2 : 1;
  const rows = CELLS[of.cell].gates * of.hidden;
  const weights = [[ways, rows, features], [ways, rows, of.hidden], ...(bias ? [[ways, 2 * rows]] : [])];
  return [x, ...weights, ...others];
}

export const withBias = ({ of, bias }: RecurrentLayerOperation): RecurrentOperation =>
  bias ? { ...of, has: ['bias', ...of.has] } : of;

/** Floats that a run works in. */
function roomOf(operation: RecurrentLayerOperation, shapes: readonly Shape[]) {
  const { of } = operation;
  const { steps, samples } = sizesOf(of.cell, withBias(operation), allShapes(operation, shapes));
  const { columns } = placesOf(operation);
  const products = steps * samples * columns;
  const state = samples * of.hidden;
  // 16 bytes around each: kernels may write whole lanes
  const [sums, h, reset] = [products, products + samples * columns, products + samples * columns + state].map(
    (floats, i) => 4 * floats + 32 * (i + 1),
  );
  return { steps, samples, sums, h, reset, bytes: reset + 4 * state + 32 };
}

function fill(backend: Backend, operation: RecurrentLayerOperation, at: number): void {
  const { of, features, weight, recurrence, bias } = operation;
  const { hidden } = of;
  const places = placesOf(operation);
  const { columns } = places;
  const call = new Call(backend);
  try {
    const from = call.scratch(weight.length * 4);
    const state = call.scratch(recurrence.length * 4);
    store(backend.heap, from, weight);
    store(backend.heap, state, recurrence);
    for (let way = 0; way < waysOf(operation); way++) {
      const own = at + way * places.size;
      pack(backend, from + 4 * way * columns * features, own, features, columns, 1, features);
      let row = 0;
      for (const part of places.parts) {
        pack(backend, state + 4 * (way * columns + row) * hidden, own + part.at, hidden, part.count, 1, hidden);
        row += part.count;
      }
      const biasOf = (k: number) => (bias ? bias[way * 2 * columns + k] : 0);
      const isApart = (k: number) => of.cell === 'gru' && k >= 2 * hidden;
      const sums = Float32Array.from({ length: columns }, (_, k) => biasOf(k) + (isApart(k) ? 0 : biasOf(columns + k)));
      store(backend.heap, own + places.bias, sums);
      const last = Float32Array.from({ length: hidden }, (_, k) => biasOf(2 * columns - hidden + k));
      store(backend.heap, own + places.last, last);
    }
  } finally {
    call.end();
  }
}

export const runRecurrentLayer: Runner<RecurrentLayerOperation> = {
  kind: 'recurrent-layer',
  arity: MANY,
  fuses: false,
  overwrites: [],
  name: ({ of }) => plainRecurrent.name(of),
  shape: (subject, operation, shapes) =>
    shapeOf(operation.of, sizesOf(subject, withBias(operation), allShapes(operation, shapes))),
  bytes: (operation) => waysOf(operation) * placesOf(operation).size,
  fill,
  scratch: (operation, shapes) => roomOf(operation, shapes).bytes,
  call({ backend, operation, weights, shapes, inputs: from, output, scratch }) {
    const { of, features } = operation;
    const { cell, direction, hidden: H, batchFirst, clip, linearBeforeReset, coupled, has, gives, zeros = false } = of;
    const { steps, samples, ...room } = roomOf(operation, shapes);
    const places = placesOf(operation);
    const ways = waysOf(operation);
    const { columns: G, parts } = places;
    const { curves } = CELLS[cell];
    const indexed = Object.fromEntries(has.map((name, i) => [name, 1 + i]));
    const gate = (k: number) => {
      const { curve, a, b } = of.gates[k];
      const value: (x: number, a: number, b: number) => number = CURVES[curve];
      if (!(clip > 0)) return (x: number) => value(x, a, b);
      return (x: number) => value(Math.min(Math.max(x, -clip), clip), a, b);
    };
    const gates = of.gates.map((_, k) => gate(k));
    const ySize = steps * ways * samples * H;
    const stateSize = ways * samples * H;
    const yAt = (t: number, way: number, n: number) =>
      (batchFirst ? (n * steps + t) * ways + way : (t * ways + way) * samples + n) * H;
    const stateAt = (way: number, n: number) => (batchFirst ? n * ways + way : way * samples + n) * H;
    const c = new Float64Array(samples * H);
    const lengths = new Int32Array(samples);
    const givesY = gives === 'y' || gives === 'all';
    if (ySize === 0) return () => {};
    return () => {
      const { heap } = backend;
      const [memory, y] = [scratch(), output()];
      const [sumsAt, hAt, resetAt] = [memory + room.sums, memory + room.h, memory + room.reset];
      const read = (name: string, at: number) => (name in indexed ? heap.f32[indexOf(from[indexed[name]]()) + at] : 0);
      const [to, outH, outC] = [0, gives === 'all' ? ySize : 0, gives === 'all' ? ySize + stateSize : 0].map(
        (place) => indexOf(y) + place,
      );
      const isOut = (n: number, t: number) => 'mask' in indexed && read('mask', n * steps + t) === 0;
      for (let n = 0; n < samples; n++) {
        const given = 'lengths' in indexed ? read('lengths', n) : steps;
        lengths[n] = Math.min(Math.max(Math.trunc(given) || 0, 0), steps);
      }
      for (let way = 0; way < ways; way++) {
        const own = weights + way * places.size;
        const isBack = direction === 'reverse' || way === 1;
        const act = gates.slice(way * curves, (way + 1) * curves);
        linear(backend, from[0](), own, own + places.bias, memory, NO_ACTIVATION, steps * samples, features, G);
        const { f32 } = heap;
        const [products, sums, h, reset] = [memory, sumsAt, hAt, resetAt].map(indexOf);
        for (let n = 0; n < samples; n++) {
          for (let k = 0; k < H; k++) {
            f32[h + n * H + k] = read('h', stateAt(way, n) + k);
            c[n * H + k] = read('c', stateAt(way, n) + k);
          }
        }
        const peepholes = 'peepholes' in indexed ? indexOf(from[indexed.peepholes]()) + way * 3 * H : -1;
        const peephole = (part: number, k: number) => (peepholes < 0 ? 0 : f32[peepholes + part * H + k]);
        for (let s = 0; s < steps; s++) {
          linear(backend, hAt, own + parts[0].at, 0, sumsAt, NO_ACTIVATION, samples, H, parts[0].count);
          if (cell === 'gru') {
            // z and r; r·h where the reset comes first
            for (let n = 0; n < samples; n++) {
              const t = isBack ? lengths[n] - 1 - s : s;
              if (t < 0 || t >= lengths[n] || isOut(n, t)) continue;
              const [row, sum] = [products + (batchFirst ? n * steps + t : t * samples + n) * G, sums + n * 2 * H];
              for (let g = 0; g < 2 * H; g++) f32[sum + g] = act[0](f32[row + g] + f32[sum + g]);
              for (let k = 0; k < H; k++) {
                f32[reset + n * H + k] = (linearBeforeReset ? 1 : f32[sum + H + k]) * f32[h + n * H + k];
              }
            }
            const third = sumsAt + 4 * 2 * H * samples;
            linear(backend, resetAt, own + parts[1].at, own + places.last, third, NO_ACTIVATION, samples, H, H);
          }
          for (let n = 0; n < samples; n++) {
            const t = isBack ? lengths[n] - 1 - s : s;
            if (t < 0 || t >= lengths[n]) continue;
            if (isOut(n, t)) {
              const before = yAt(isBack ? t + 1 : t - 1, way, n);
              if (givesY) skipOutput(f32, to + yAt(t, way, n), to + before, H, s === 0 || zeros);
              continue;
            }
            const row = products + (batchFirst ? n * steps + t : t * samples + n) * G;
            const [sum, state] = [sums + n * parts[0].count, h + n * H];
            if (cell === 'rnn') {
              for (let k = 0; k < H; k++) f32[state + k] = act[0](f32[row + k] + f32[sum + k]);
            } else if (cell === 'gru') {
              const third = sums + 2 * H * samples + n * H;
              for (let k = 0; k < H; k++) {
                const [z, r] = [f32[sum + k], linearBeforeReset ? f32[sum + H + k] : 1];
                const made = act[1](f32[row + 2 * H + k] + r * f32[third + k]);
                f32[state + k] = (1 - z) * made + z * f32[state + k];
              }
            } else {
              for (let k = 0; k < H; k++) {
                const before = c[n * H + k];
                const [x, r] = [row + k, sum + k];
                const i = act[0](f32[x] + f32[r] + peephole(0, k) * before);
                const forget = f32[x + 2 * H] + f32[r + 2 * H] + peephole(2, k) * before;
                const now = (coupled ? 1 - i : act[0](forget)) * before + i * act[1](f32[x + 3 * H] + f32[r + 3 * H]);
                const o = act[0](f32[x + H] + f32[r + H] + peephole(1, k) * now);
                c[n * H + k] = now;
                f32[state + k] = o * act[2](now);
              }
            }
            if (givesY) f32.copyWithin(to + yAt(t, way, n), state, state + H);
          }
        }
        for (let n = 0; n < samples; n++) {
          if (givesY)
            for (let t = lengths[n]; t < steps; t++) f32.fill(0, to + yAt(t, way, n), to + yAt(t, way, n) + H);
          const state = h + n * H;
          if (gives === 'h' || gives === 'all') f32.copyWithin(outH + stateAt(way, n), state, state + H);
          if (gives === 'c' || gives === 'all') f32.set(c.subarray(n * H, n * H + H), outC + stateAt(way, n));
        }
      }
    };
  },
  read(fields) {
    const { json, fail, whole } = fields;
    if (typeof json.of !== 'object' || json.of === null) throw fail('a recurrent layer', json.of);
    const of = readOperation({ json: json.of as Record<string, unknown>, fail, whole });
    if (of.has.includes('bias')) throw fail('a bias among the weights', of.has);
    const features = whole(json.features, 0, 2 ** 24);
    const ways = of.direction === 'bidirectional' ? 2 : 1;
    const rows = CELLS[of.cell].gates * of.hidden;
    return {
      kind: 'recurrent-layer',
      of,
      features,
      weight: fields.weight('weight', [ways, rows, features]),
      recurrence: fields.weight('recurrence', [ways, rows, of.hidden]),
      bias: fields.optional('bias', [ways, 2 * rows]),
    };
  },
};

export const describeRecurrentLayer: Description<RecurrentLayerOperation> = {
  runner: runRecurrentLayer,
  group: 'recurrent',
  noun: 'a recurrent layer',
  exact: (given) => given,
  rounded: (exact) => exact,
  rounding: () => null,
  json({ of: { kind: _, ...of }, features, weight, recurrence, bias }, store) {
    const ways = of.direction === 'bidirectional' ? 2 : 1;
    const rows = CELLS[of.cell].gates * of.hidden;
    return {
      of,
      features,
      weight: store(weight, [ways, rows, features], 'weight'),
      recurrence: store(recurrence, [ways, rows, of.hidden], 'recurrence'),
      bias: store(bias, [ways, 2 * rows], 'bias'),
    };
  },
  bytes: ({ weight, recurrence, bias }) => 4 * (weight.length + recurrence.length + (bias?.length ?? 0)),
  work: () => null,
  // every step of every sample
  multiplyAdds: ({ weight, recurrence }, [x]) => x[0] * x[1] * (weight.length + recurrence.length),
  analyse(inputs: readonly Valued[], operation): Valued {
    const shapes = allShapes(
      operation,
      inputs.map((one) => one.shape),
    );
    const of = withBias(operation);
    const { weight, recurrence, bias } = operation;
    const [x, ...others] = inputs.map((one) => one.value);
    const values = [
      x,
      ...[weight, recurrence, ...(bias ? [bias] : [])].map((one) => Float64Array.from(one)),
      ...others,
    ];
    const shape = plainRecurrent.shape('certificate', of, shapes);
    const value = new Float64Array(countOf(shape));
    plainRecurrent.prepare(of, shapes)(
      values,
      values.map(() => 0),
      value,
      0,
    );
    return { shape, value, error: new Float64Array(value.length).fill(Number.POSITIVE_INFINITY) };
  },
};
