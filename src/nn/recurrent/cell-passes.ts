// A recurrent cell over packed sequences, forward and back through time: two products a step, batch
// norm on each, and what the cell does with its gates.

import { NO_ACTIVATION } from '../../kernels/activations.ts';
import { backend } from '../../kernels/backend.ts';
import { linear } from '../../kernels/linear/calls.ts';
import { training } from '../../kernels/training/part.ts';
import { addToGradient, type LearnedParameter } from '../../layers/parameter.ts';
import type { RunByRun } from '../../norms/engine/channel-engine.ts';
import { gather, type Steps, scatter } from '../../passes/steps.ts';
import type { Call } from '../../tensors/call.ts';
import { doubles, fill, floats, indexOf, move, store } from '../../wasm/views.ts';
import { packBackward, packedLength, packForward, weightSums } from '../products.ts';
import type { CellKind, CellStep } from './cell-kind.ts';
import { type CellSizes, endsOf, type Memory, type Places, placesOf, stepAt } from './cell-memory.ts';

/** Of what comes from the input, and of what comes from the state before. */
export type Pair<T> = Readonly<Record<'ih' | 'hh', T>>;

/** What a cell computes with. */
export interface CellParts extends CellSizes {
  readonly kind: CellKind;
  readonly weights: Pair<LearnedParameter>;
  /** None where norms have betas. */
  readonly biases: Pair<LearnedParameter> | undefined;
  /** Is the output the last state of each sequence, not all of them? */
  readonly lastOnly: boolean;
}

/** What a forward leaves for backward. */
export interface Left {
  /**
   * Batch norm of what comes from the input, of what comes from the state, and of the cell's own
   * value.
   */
  readonly norms: readonly RunByRun[];
  readonly memory: Memory;
}

/** States by sequence, `[N, H]`. */
export interface States {
  readonly h: Float32Array;
  readonly c: Float32Array;
}

/** A pass over some steps, and where its rows lie. */
interface Under {
  readonly parts: CellParts;
  readonly steps: Steps;
  readonly at: Places;
  /** Rows. */
  readonly many: number;
}

const room = (call: Call, values: number) => call.scratch(Math.max(values, 1) * 4);

function zeros(call: Call, values: number): number {
  const from = room(call, values);
  fill(backend().heap, from, values, 0);
  return from;
}

/** Runs all steps from `state` on, from `x` to `y`. Returns the states at the end. */
export function runForward(
  call: Call,
  parts: CellParts,
  steps: Steps,
  state: States,
  { norms, memory }: Left,
  x: number,
  y: number,
): States {
  const current = backend();
  const { inputSize, hiddenSize, wide, kind } = parts;
  const at = placesOf(parts, steps, memory);
  const many = steps.rows.length;
  const [normIh, normHh, normC] = norms;
  const packed = packWeights(call, parts);
  const biases = storeBiases(call, parts);
  gather(call, steps, x, inputSize, at.x);
  const product = normIh ? at.fromInput : at.input;
  linear(current, at.x, packed.ih, biases.ih, product, NO_ACTIVATION, many, inputSize, wide);
  const under = { parts, steps, at, many };
  storeStates(under, state);
  const spare = room(call, at.first * wide);
  for (let t = 0; t < steps.starts.length - 1; t++) {
    const step = stepAt(parts, steps, t, at);
    const { rows, before, h, input } = step;
    normIh?.forward(t, at.fromInput + before * wide * 4, 0, input);
    const fromState: CellStep['fromState'] = (target, added) => {
      const [into, bias] = normHh ? [at.fromState + before * wide * 4, 0] : [target, biases.hh];
      const adds = !normHh && added ? 1 : 0;
      linear(current, h.before, packed.hh, bias, into, NO_ACTIVATION, rows, hiddenSize, wide, hiddenSize, 1, adds);
      normHh?.forward(t, into, added, target);
    };
    kind.forward({ ...step, spare, fromState }, hiddenSize, normC && ((from, to) => normC.forward(t, from, 0, to)));
  }
  const end = readStates(under, state);
  if (parts.lastOnly) store(current.heap, y, end.h);
  else scatter(steps, at.h + at.first * hiddenSize * 4, y, hiddenSize);
  return end;
}

/** Panels of both weights. */
function packWeights(call: Call, { weights, wide }: CellParts): Pair<number> {
  const packed = ({ shape, values }: LearnedParameter) => {
    const depth = shape[1];
    const panels = call.scratch(packedLength(depth, wide) * 4);
    packForward(call, values.now, panels, depth, wide);
    return panels;
  };
  return { ih: packed(weights.ih), hh: packed(weights.hh) };
}

/** Both biases in linear memory; 0: none. */
function storeBiases(call: Call, { biases, wide }: CellParts): Pair<number> {
  const stored = (bias: LearnedParameter | undefined) => {
    if (!bias) return 0;
    const vector = call.scratch(wide * 4);
    store(backend().heap, vector, bias.values.now);
    return vector;
  };
  return { ih: stored(biases?.ih), hh: stored(biases?.hh) };
}

/** Puts the states of sequences before the first step. */
function storeStates({ parts: { hiddenSize }, steps, at }: Under, state: States): void {
  const { heap } = backend();
  endsOf(steps).forEach(({ n }, rank) => {
    for (const name of ['h', 'c'] as const) {
      store(heap, at[name] + rank * hiddenSize * 4, state[name].subarray(n * hiddenSize, (n + 1) * hiddenSize));
    }
  });
}

/** The states in which sequences end; those of empty ones are as they were. */
function readStates({ parts: { hiddenSize }, steps, at }: Under, state: States): States {
  const { heap } = backend();
  const end = { h: state.h.slice(), c: state.c.slice() };
  for (const { n, row } of endsOf(steps)) {
    for (const name of ['h', 'c'] as const) {
      const from = at[name] + (at.first + row) * hiddenSize * 4;
      end[name].set(floats(heap, from, hiddenSize), n * hiddenSize);
    }
  }
  return end;
}

/**
 * Runs all steps back, from `dy` to `dx`, and adds to the gradients of weights, biases and norms.
 */
export function runBackward(
  call: Call,
  parts: CellParts,
  steps: Steps,
  { norms, memory }: Left,
  dy: number,
  dx: number,
): void {
  const current = backend();
  // kernels that are needed for the first time take memory, and views with it
  training(current);
  const { heap } = current;
  const { inputSize, hiddenSize, wide, kind, weights } = parts;
  const at = placesOf(parts, steps, memory);
  const { first } = at;
  const many = steps.rows.length;
  const under = { parts, steps, at, many };
  const [normIh, normHh, normC] = norms;
  const dh = gatherGradient(call, under, dy);
  // what the step behind hands over; rows of sequences that end here have never been written
  const carried = zeros(call, first * hiddenSize);
  const dc = zeros(call, first * hiddenSize);
  const spare = room(call, first * wide);
  const dInput = room(call, many * wide);
  const dState = room(call, many * wide);
  const states = room(call, many * hiddenSize);
  const [towardsX, towardsH] = [weights.ih, weights.hh].map((weight) =>
    packBackward(call, weight.values.now, weight.shape[1], wide),
  );
  for (let t = steps.starts.length - 2; t >= 0; t--) {
    const step = stepAt(parts, steps, t, at);
    const { rows, before } = step;
    const values = rows * hiddenSize;
    const own = dh + before * hiddenSize * 4;
    const { f32 } = heap;
    const [into, more] = [indexOf(own), indexOf(carried)];
    for (let i = 0; i < values; i++) f32[into + i] += f32[more + i];
    const gates = before * wide * 4;
    const [dGates, s] = [dInput + gates, dState + gates];
    kind.backward(
      { ...step, dh: own, dc, dhBefore: carried, dInput: dGates, dState: s, spare },
      hiddenSize,
      normC && ((from, to) => normC.backward(t, from, to, to)),
    );
    normIh?.backward(t, at.fromInput + gates, dGates, dGates);
    normHh?.backward(t, at.fromState + gates, s, s);
    linear(current, s, towardsH, 0, carried, NO_ACTIVATION, rows, wide, hiddenSize, wide, 1, 1);
    move(heap, step.h.before, states + before * hiddenSize * 4, values);
  }
  if (many > 0) addGradients(call, under, { x: at.x, states, dInput, dState });
  const rows = room(call, many * inputSize);
  linear(current, dInput, towardsX, 0, rows, NO_ACTIVATION, many, wide, inputSize);
  scatter(steps, rows, dx, inputSize);
}

/** dL/dh of every row, so far as it comes from the output. */
function gatherGradient(call: Call, { parts, steps, many }: Under, dy: number): number {
  const { hiddenSize, lastOnly } = parts;
  const dh = zeros(call, many * hiddenSize);
  if (!lastOnly) return gather(call, steps, dy, hiddenSize, dh);
  for (const { n, row } of endsOf(steps)) {
    move(backend().heap, dy + n * hiddenSize * 4, dh + row * hiddenSize * 4, hiddenSize);
  }
  return dh;
}

/** Adds the sums over all rows to the gradients of weights and biases. */
function addGradients(
  call: Call,
  { parts: { weights, biases, wide }, many }: Under,
  { x, states, dInput, dState }: Readonly<Record<'x' | 'states' | 'dInput' | 'dState', number>>,
): void {
  const current = backend();
  const { heap } = current;
  const { kernels } = training(current);
  for (const [weight, from, g] of [
    [weights.ih, x, dInput],
    [weights.hh, states, dState],
  ] as const) {
    if (weight.frozen) continue;
    const sums = weightSums(call, from, g, many, weight.shape[1], wide);
    addToGradient(weight, floats(heap, sums, weight.grad.length));
  }
  for (const [bias, g] of [
    [biases?.ih, dInput],
    [biases?.hh, dState],
  ] as const) {
    if (!bias || bias.frozen) continue;
    const sums = call.scratch(wide * 8);
    kernels.column_sums_f32(g, sums, many, wide);
    addToGradient(bias, doubles(heap, sums, wide));
  }
}
