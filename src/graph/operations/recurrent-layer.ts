// Recurrent layers with weights of their own, packed for the kernels of products: what comes of x
// is worked out for all steps at once, and what comes of the state for all samples of a step, in
// f32. Cell states are kept in f64.

import { type Activation, activationCode, NO_ACTIVATION } from '../../kernels/activations.ts';
import type { Backend } from '../../kernels/create-backend.ts';
import { activate } from '../../kernels/inference/calls.ts';
import { linear, pack } from '../../kernels/linear/calls.ts';
import { Call } from '../../tensors/call.ts';
import { countOf } from '../../tensors/shape.ts';
import { indexOf, store } from '../../wasm/views.ts';
import type { Valued } from '../error-analysis.ts';
import { type Description, MANY, type Operation, padded, type Runner, type Shape } from '../operation.ts';
import {
  CELLS,
  CURVES,
  type Gate,
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
  const [sums, h, spare] = [products, products + samples * columns, products + samples * columns + state].map(
    (floats, i) => 4 * floats + 32 * (i + 1),
  );
  return { steps, samples, sums, h, spare, bytes: spare + 4 * state + 32 };
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

/** Curves that a kernel has. */
const KERNELS: readonly string[] = ['relu', 'tanh', 'sigmoid'];

/** What applies a gate to values of `heap.f32`, in place: a kernel where there is one. */
function applied({ curve, a, b }: Gate, clip: number): (backend: Backend, from: number, count: number) => void {
  const value: (x: number, a: number, b: number) => number = CURVES[curve];
  const code = KERNELS.includes(curve) ? activationCode('recurrent', curve as Activation) : undefined;
  return (backend, from, count) => {
    const { f32 } = backend.heap;
    if (clip > 0) for (let i = from; i < from + count; i++) f32[i] = Math.min(Math.max(f32[i], -clip), clip);
    if (code) activate(backend, 4 * from, 4 * from, code, count);
    else for (let i = from; i < from + count; i++) f32[i] = value(f32[i], a, b);
  };
}

// loops of their own, which an engine compiles once each, whatever else a layer does

/** z = x·y */
function multiply(f32: Float32Array, z: number, x: number, y: number, count: number): void {
  for (let k = 0; k < count; k++) f32[z + k] = f32[x + k] * f32[y + k];
}

/** y = x + r·y */
function addProducts(f32: Float32Array, y: number, x: number, r: number, count: number): void {
  for (let k = 0; k < count; k++) f32[y + k] = f32[x + k] + f32[r + k] * f32[y + k];
}

/** h = (1 − z)·x + z·h */
function mix(f32: Float32Array, h: number, x: number, z: number, count: number): void {
  for (let k = 0; k < count; k++) f32[h + k] = (1 - f32[z + k]) * f32[x + k] + f32[z + k] * f32[h + k];
}

/** What a gate sees of the cell's state through a peephole: y += p·c */
function addSeen(f32: Float32Array, y: number, p: number, c: Float64Array, kept: number, count: number): void {
  for (let k = 0; k < count; k++) f32[y + k] += f32[p + k] * c[kept + k];
}

/** c = f·c + i·g of an LSTM, kept in f64, and in the place of g: its gates lie as i, o, f and g. */
function carry(f32: Float32Array, i: number, c: Float64Array, kept: number, count: number, coupled: boolean): void {
  const [f, g] = [i + 2 * count, i + 3 * count];
  for (let k = 0; k < count; k++) {
    const forget = coupled ? 1 - f32[i + k] : f32[f + k];
    c[kept + k] = forget * c[kept + k] + f32[i + k] * f32[g + k];
    f32[g + k] = c[kept + k];
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
    const { cell, direction, hidden: H, batchFirst, linearBeforeReset, coupled, has, gives, zeros = false } = of;
    const { steps, samples, ...area } = roomOf(operation, shapes);
    const places = placesOf(operation);
    const ways = waysOf(operation);
    const { columns: G, parts } = places;
    const [{ count: P }] = parts;
    const { curves } = CELLS[cell];
    const indexed = Object.fromEntries(has.map((name, i) => [name, 1 + i]));
    const gates = of.gates.map((gate) => applied(gate, of.clip));
    const ySize = steps * ways * samples * H;
    const stateSize = ways * samples * H;
    const yAt = (t: number, way: number, n: number) =>
      (batchFirst ? (n * steps + t) * ways + way : (t * ways + way) * samples + n) * H;
    const stateAt = (way: number, n: number) => (batchFirst ? n * ways + way : way * samples + n) * H;
    const c = new Float64Array(samples * H);
    const lengths = new Int32Array(samples);
    /** The place in time of each sample at a step; −1 where it has none. */
    const times = new Int32Array(samples);
    const givesY = gives === 'y' || gives === 'all';
    if (ySize === 0) return () => {};
    return () => {
      const { heap } = backend;
      const [memory, y] = [scratch(), output()];
      const hAt = memory + area.h;
      /** Where an optional input begins; −1 where there is none. */
      const begin = (name: string) => (name in indexed ? indexOf(from[indexed[name]]()) : -1);
      const [lengthsFrom, hFrom, cFrom, peepholesFrom, mask] = ['lengths', 'h', 'c', 'peepholes', 'mask'].map(begin);
      const [to, outH, outC] = [0, gives === 'all' ? ySize : 0, gives === 'all' ? ySize + stateSize : 0].map(
        (place) => indexOf(y) + place,
      );
      for (let n = 0; n < samples; n++) {
        const given = lengthsFrom < 0 ? steps : heap.f32[lengthsFrom + n];
        lengths[n] = Math.min(Math.max(Math.trunc(given) || 0, 0), steps);
      }
      for (let way = 0; way < ways; way++) {
        const own = weights + way * places.size;
        const isBack = direction === 'reverse' || way === 1;
        const act = gates.slice(way * curves, (way + 1) * curves);
        linear(backend, from[0](), own, own + places.bias, memory, NO_ACTIVATION, steps * samples, features, G);
        const { f32 } = heap;
        const [products, room, h, spare] = [0, area.sums, area.h, area.spare].map((at) => indexOf(memory + at));
        /**
         * Where columns of what comes of x lie, for the samples that are at a step, one behind
         * another: copied there, but for a lone sample.
         */
        const rowsAt = (place: number, first: number, count: number) => {
          for (let n = 0; n < samples; n++) {
            if (times[n] < 0) continue;
            const row = products + (batchFirst ? n * steps + times[n] : times[n] * samples + n) * G + first;
            if (samples === 1) return row;
            f32.copyWithin(place + n * count, row, row + count);
          }
          return place;
        };
        for (let n = 0; n < samples; n++) {
          const [state, at] = [h + n * H, stateAt(way, n)];
          if (hFrom < 0) f32.fill(0, state, state + H);
          else f32.copyWithin(state, hFrom + at, hFrom + at + H);
          if (cFrom < 0) c.fill(0, n * H, n * H + H);
          else c.set(f32.subarray(cFrom + at, cFrom + at + H), n * H);
        }
        const peepholes = peepholesFrom + way * 3 * H;
        for (let s = 0; s < steps; s++) {
          let isIdle = true;
          for (let n = 0; n < samples; n++) {
            const t = isBack ? lengths[n] - 1 - s : s;
            const isIn = t >= 0 && t < lengths[n];
            times[n] = isIn && !(mask >= 0 && f32[mask + n * steps + t] === 0) ? t : -1;
            if (times[n] >= 0) isIdle = false;
            else if (isIn && givesY) {
              const before = yAt(isBack ? t + 1 : t - 1, way, n);
              skipOutput(f32, to + yAt(t, way, n), to + before, H, s === 0 || zeros);
            }
          }
          if (isIdle) continue;
          const sums = rowsAt(room, 0, P);
          let third = room + P * samples;
          linear(backend, hAt, own + parts[0].at, 0, 4 * sums, NO_ACTIVATION, samples, H, P, H, 1, 1);
          if (cell === 'rnn') {
            act[0](backend, sums, samples * H);
          } else if (cell === 'gru') {
            const packed = own + parts[1].at;
            const last = own + places.last;
            act[0](backend, sums, samples * P);
            if (linearBeforeReset) {
              linear(backend, hAt, packed, last, 4 * third, NO_ACTIVATION, samples, H, H);
              const rows = rowsAt(spare, 2 * H, H);
              for (let n = 0; n < samples; n++) addProducts(f32, third + n * H, rows + n * H, sums + n * P + H, H);
            } else {
              for (let n = 0; n < samples; n++) multiply(f32, spare + n * H, sums + n * P + H, h + n * H, H);
              third = rowsAt(third, 2 * H, H);
              linear(backend, 4 * spare, packed, last, 4 * third, NO_ACTIVATION, samples, H, H, H, 1, 1);
            }
            act[1](backend, third, samples * H);
          }
          for (let n = 0; n < samples; n++) {
            if (times[n] < 0) continue;
            const [sum, state, kept] = [sums + n * P, h + n * H, n * H];
            if (cell === 'rnn') {
              f32.copyWithin(state, sum, sum + H);
            } else if (cell === 'gru') {
              mix(f32, state, third + n * H, sum, H);
            } else {
              const [i, o, f, g] = [sum, sum + H, sum + 2 * H, sum + 3 * H];
              if (peepholesFrom >= 0) {
                addSeen(f32, i, peepholes, c, kept, H);
                addSeen(f32, f, peepholes + 2 * H, c, kept, H);
                act[0](backend, i, H);
                act[0](backend, f, H);
              } else act[0](backend, i, 3 * H);
              act[1](backend, g, H);
              carry(f32, i, c, kept, H, coupled);
              if (peepholesFrom >= 0) {
                addSeen(f32, o, peepholes + H, c, kept, H);
                act[0](backend, o, H);
              }
              act[2](backend, g, H);
              multiply(f32, state, o, g, H);
            }
            if (givesY) f32.copyWithin(to + yAt(times[n], way, n), state, state + H);
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
