// Passes of convolutions over memory: weights packed, sources padded, products, and gradients taken
// out of panels.

import { NO_ACTIVATION } from '../kernels/activations.ts';
import { clampOf, conv, depthwiseRows, packTaps, pad, pixelTable, transpose, winograd } from '../kernels/conv/calls.ts';
import { windowWork } from '../kernels/conv/windows.ts';
import type { Backend } from '../kernels/create-backend.ts';
import { convWeights } from '../kernels/gradients/calls.ts';
import { floats } from '../wasm/views.ts';
import type { ConvGrid } from './conv-geometry.ts';
import { type ConvPlan, isDepthwise, type Phase, type Pixels, type Source, type Towards } from './conv-plan.ts';

const PANEL = 8;
const panels = (cols: number) => Math.ceil(cols / PANEL) * PANEL;

/** Channels of the convolution whose weights they are (`ConvGrid`). */
export type ConvChannels = Pick<ConvGrid, 'inChannels' | 'outChannels' | 'groups'>;

/** Values of packed weights of so many taps, each of which is in one phase. */
export function packedLength(channels: ConvChannels, taps: number, towards: Towards): number {
  const { inChannels, outChannels, groups } = channels;
  if (isDepthwise(channels)) return taps * outChannels;
  const [depth, cols] = towards === 'output' ? [inChannels, outChannels] : [outChannels, inChannels];
  return taps * depth * panels(cols / groups);
}

/**
 * Packs weights `[out, in/groups, ...kernel]`, which lie in memory, for a product: phase by phase,
 * in each of them group by group.
 *
 * @param factors where factors of the output channels lie, in f64, by which weights are multiplied
 *   (towards outputs, and where channels do not go by themselves); 0 for none
 */
export function packWeights(
  backend: Backend,
  w: number,
  packed: number,
  channels: ConvChannels,
  taps: number,
  places: readonly (readonly number[])[],
  towards: Towards,
  factors = 0,
): void {
  const { inChannels, outChannels, groups } = channels;
  if (isDepthwise(channels)) {
    const { f32 } = backend.heap;
    let at = packed >>> 2;
    for (const k of places.flat()) {
      for (let o = 0, from = (w >>> 2) + k; o < outChannels; o++, from += taps) f32[at++] = f32[from];
    }
    return;
  }
  const [own, whole] = [inChannels / groups, outChannels / groups];
  const forward = towards === 'output';
  const [depth, cols] = forward ? [own, whole] : [whole, own];
  const [depthStride, colStride] = forward ? [taps, own * taps] : [own * taps, taps];
  let at = packed;
  for (const phase of places) {
    const panelStride = phase.length * depth * PANEL;
    for (let g = 0; g < groups; g++) {
      phase.forEach((k, i) => {
        const from = w + (g * whole * own * taps + k) * 4;
        const by = factors && factors + g * whole * 8;
        packTaps(backend, from, at + i * depth * PANEL * 4, by, depth, cols, depthStride, colStride, panelStride);
      });
      at += panelStride * (panels(cols) / PANEL) * 4;
    }
  }
}

/**
 * Packs rows `first` to `first + count` of weights `[...kernel, in, out]` of one product, of which
 * there are `rows` in all; where channels go by themselves, rows stay as they are, and up to seven
 * values behind the last one are written.
 */
export function packRows(
  backend: Backend,
  w: number,
  packed: number,
  factors: number,
  first: number,
  count: number,
  rows: number,
  cols: number,
  isDepthwise: boolean,
): void {
  // rows as panels side by side: what the last panel has beyond the columns, the next row lies over
  const [at, own] = isDepthwise ? [packed + first * cols * 4, count] : [packed + first * PANEL * 4, 1];
  const [depth, stride] = isDepthwise ? [1, PANEL] : [count, rows * PANEL];
  for (let row = 0; row < own; row++) {
    packTaps(backend, w + row * cols * 4, at + row * cols * 4, factors, depth, cols, cols, 1, stride);
  }
}

/** Bytes of tables in memory, or of what a call works in. */
export function tableBytes({ phases, windows, rows }: ConvPlan): number {
  if (windows) return align(windowWork(windows) * 4);
  if (rows) return align(rows.samples * rows.outHeight * 4);
  return phases.reduce((most, { count, runs }) => Math.max(most, align(count * 4) * 2 + align(runs * 4)), 0);
}

const ALIGN = 64;
export const align = (bytes: number) => Math.ceil(bytes / ALIGN) * ALIGN;

/** 0, 1, 2, … */
const NUMBERS: Pixels = { first: 0, sampleStep: 0, steps: [0, 0, 1] };

/** Puts the tables of a phase into memory: where windows begin, where pixels lie, and runs. */
function placeTables(backend: Backend, samples: number, phase: Phase, tables: number): void {
  const { counts, at, to, taps, count } = phase;
  pixelTable(backend, tables, samples, counts, at);
  pixelTable(backend, tables + align(count * 4), samples, counts, to);
  backend.heap.f32.set(taps, (tables + align(count * 4) * 2) >>> 2);
}

/** Pads what is given, or turns it, into a source at `to`. */
export function fillSource(backend: Backend, source: Source, x: number, to: number, isFirst: boolean): void {
  const { samples, channels, repeat, lengths, padded, before } = source;
  const [depth, height, width] = lengths;
  const isBare = depth === padded[0] && height === padded[1] && width === padded[2];
  if (isBare && isFirst && repeat === 1) transpose(backend, x, to, samples, channels, depth * height * width);
  else pad(backend, x, to, isFirst, samples, channels, repeat, lengths, padded, before);
}

/**
 * Where the operands of a product lie: residual and bias 0 for none, tables memory of `tableBytes`.
 */
export interface Operands {
  readonly x: number;
  readonly packed: number;
  readonly bias: number;
  readonly residual: number;
  readonly y: number;
  readonly tables: number;
}

/** All pixels, channels innermost. `clamp` holds for every value. */
export function runPlan(backend: Backend, plan: ConvPlan, operands: Operands, clamp = clampOf(NO_ACTIVATION)!): void {
  const { source, phases, isDepthwise, groups, depth, cols, size } = plan;
  const { x, bias, residual, y, tables } = operands;
  let { packed } = operands;
  if (plan.windows) winograd(backend, x, packed, bias, residual, y, tables, plan.windows, clamp);
  if (plan.rows) {
    pixelTable(backend, tables, 1, plan.rows.counts, NUMBERS);
    depthwiseRows(backend, x, packed, bias, residual, y, tables, plan.rows, clamp);
  }
  for (const phase of phases) {
    const { count, runs, run, places } = phase;
    const values = isDepthwise ? places * cols : places * depth * panels(cols);
    if (count > 0) {
      placeTables(backend, source.samples, phase, tables);
      for (let g = 0; g < groups; g++) {
        const from = g * depth;
        const into = g * cols;
        conv(
          backend,
          x + from * 4,
          packed + g * values * 4,
          bias && bias + into * 4,
          residual && residual + into * 4,
          y + into * 4,
          tables,
          tables + align(count * 4),
          tables + align(count * 4) * 2,
          clamp,
          count,
          runs,
          run,
          cols,
          isDepthwise,
          source.size - from,
          size - into,
        );
      }
    }
    packed += groups * values * 4;
  }
}

/** Values of the gradient with respect to the weights, in panels. */
export function gradientLength({ phases: [{ places }], isDepthwise, groups, depth, cols }: ConvPlan): number {
  return isDepthwise ? places * cols : groups * places * depth * panels(cols);
}

/**
 * The same in memory at `dw`: x a source of the plan of outputs, dy their gradient, channels
 * innermost.
 */
export function runWeights(backend: Backend, plan: ConvPlan, x: number, dy: number, dw: number, tables: number): void {
  const { source, phases, isDepthwise, groups, depth, cols, size } = plan;
  const [phase] = phases;
  const { count, runs, run, places } = phase;
  placeTables(backend, source.samples, phase, tables);
  const addresses = { at: tables, to: tables + align(count * 4), taps: tables + align(count * 4) * 2 };
  const sizes = { ...addresses, count, runs, run, cols, isDepthwise };
  for (let g = 0; g < groups; g++) {
    const [from, into] = [g * depth, g * cols];
    // dy moves along with the columns that a part takes
    const call = { ...sizes, reach: source.size - from, span: Math.max(0, size - into - cols) };
    const at = dw + g * places * depth * panels(cols) * 4;
    convWeights(backend, x + from * 4, dy + into * 4, at, isDepthwise ? { ...call, span: size } : call);
  }
}

/** The same as `[out, in/groups, ...kernel]`. */
export function unpackGradient({ heap }: Backend, plan: ConvPlan, dw: number): Float32Array {
  const { phases, isDepthwise, groups, depth, cols } = plan;
  const [{ places }] = phases;
  const packed = floats(heap, dw, gradientLength(plan));
  const sums = new Float32Array(groups * cols * (isDepthwise ? 1 : depth) * places);
  if (isDepthwise) {
    for (let o = 0, i = 0; o < cols; o++) for (let k = 0; k < places; k++) sums[i++] = packed[k * cols + o];
    return sums;
  }
  const panel = places * depth * PANEL;
  let i = 0;
  for (let g = 0; g < groups; g++) {
    const group = g * panel * (panels(cols) / PANEL);
    for (let o = 0; o < cols; o++) {
      const column = group + (o >>> 3) * panel + (o & 7);
      for (let c = 0; c < depth; c++) {
        for (let k = 0, at = column + c * PANEL; k < places; k++, at += depth * PANEL) sums[i++] = packed[at];
      }
    }
  }
  return sums;
}
