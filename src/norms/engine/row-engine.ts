// The engine of norms of rows: the values along some axes of each sample by statistics of their own,
// scale and shift by place. Kernels work on rows that lie side by side: others are brought there
// and back, and so are those that count where a mask leaves some out.

import { show, wrongMoment } from '../../errors.ts';
import type { OperationGraph, Value } from '../../graph/graph.ts';
import type { RowNormOperation } from '../../graph/operations/row-norm.ts';
import type { TurnOperation } from '../../graph/operations/turn.ts';
import { type ActivationCode, NO_ACTIVATION } from '../../kernels/activations.ts';
import { backend } from '../../kernels/backend.ts';
import { activate } from '../../kernels/inference/calls.ts';
import {
  gradRows,
  gradRowsScratch,
  type Matrix,
  normRows,
  type RowVectors,
  segmentsOf,
} from '../../kernels/rows/calls.ts';
import type { Pass } from '../../layers/leaf-layer.ts';
import { addToGradient } from '../../layers/parameter.ts';
import { type MaskOptions, readPlaces } from '../../passes/mask.ts';
import type { RowPlan } from '../../passes/plan.ts';
import {
  type ArrangedPlan,
  arrangedPlan,
  gatherRows,
  type RowMask,
  rowMaskOf,
  scatterRows,
} from '../../passes/row-plan.ts';
import { clearWithoutWeight, type WeightedRows, weightedRows, weightedRowsBack } from '../../passes/weighted-rows.ts';
import { Region } from '../../tensors/block.ts';
import type { Call } from '../../tensors/call.ts';
import type { ResolvedInputs } from '../../tensors/route.ts';
import type { TensorLike } from '../../tensors/tensor.ts';
import type { Layout } from '../../types.ts';
import { doubles, fill, floats, indexOf, store } from '../../wasm/views.ts';
import type { NormEngine } from './norm-engine.ts';
import type { LearnedScale } from './run-arithmetic.ts';

/** What a norm of rows is. */
export interface RowNormDescription {
  readonly subject: string;
  /** Lengths of the axes that are normalised together. */
  readonly normalizedShape: readonly number[];
  /** Those axes, from the end where they are negative; null: the last ones. */
  readonly axes: readonly number[] | null;
  readonly eps: number;
  /** Is the mean subtracted? */
  readonly centred: boolean;
  readonly activation: ActivationCode;
  readonly learned: LearnedScale;
}

interface RowPass extends Pass {
  readonly plan: ArrangedPlan;
  readonly mask: RowMask | undefined;
}

/** Do kernels take the rows where they lie? */
const isPlain = ({ plan, mask }: RowPass) => !plan.order && !mask;

/** Rows that count. */
const rowsOf = ({ plan, mask }: RowPass) => mask?.rows.length ?? plan.rows;

/** Values of the piece in which pre-activations are worked out again. */
const PIECE = 1 << 14;

/** Rows of such a piece. */
function pieceRows({ rows, cols }: RowPlan): number {
  return Math.min(rows, Math.max(1, Math.floor(PIECE / cols)));
}

export class RowEngine implements NormEngine<RowPass> {
  readonly #description: RowNormDescription;
  readonly observable = undefined;
  /** gamma and beta, by place. */
  #columns: Region | undefined;
  /** Statistics of the last forward, by row. */
  #rows: Region | undefined;

  constructor(description: RowNormDescription) {
    this.#description = description;
  }

  get subject(): string {
    return this.#description.subject;
  }

  get learned(): LearnedScale {
    return this.#description.learned;
  }

  get activation(): ActivationCode {
    return this.#description.activation;
  }

  #planOf(shape: readonly number[]): ArrangedPlan {
    const { normalizedShape, axes } = this.#description;
    return arrangedPlan(this.subject, shape, normalizedShape, axes);
  }

  checkShape(shape: readonly number[]): void {
    this.#planOf(shape);
  }

  checkForward(shape: readonly number[]): void {
    this.#planOf(shape);
  }

  channelAxis(rank: number): number {
    const axis = this.#description.axes?.at(-1) ?? -1;
    return axis < 0 ? axis + rank : axis;
  }

  begin(shape: readonly number[], options: MaskOptions): RowPass {
    const plan = this.#planOf(shape);
    return { plan, mask: rowMaskOf(plan, readPlaces(this.subject, shape, plan.axes, options)) };
  }

  reuse(pass: RowPass): RowPass {
    return pass.mask ? { plan: pass.plan, mask: undefined } : pass;
  }

  forward(call: Call, pass: RowPass, { x, residual }: ResolvedInputs, out: TensorLike): void {
    const at = call.input(x);
    const added = residual ? call.input(residual) : 0;
    const to = call.output(out, { x, at });
    const rows = rowsOf(pass);
    const moments = call.scratch(rows * 16);
    if (isPlain(pass)) {
      const vectors = this.#vectors(rows, pass.plan.cols, moments);
      normRows(backend(), this.#matrix(pass), at, vectors, added, to, this.activation, this.#description.eps);
      return;
    }
    const bytes = pass.plan.size * 4;
    const gathered = call.scratch(bytes);
    this.#normGathered(pass, at, added, gathered, added && call.scratch(bytes), moments, this.activation);
    scatterRows(backend().heap.f32, indexOf(gathered), indexOf(to), pass.plan, pass.mask);
  }

  /** The rows that count, side by side at `y`. `z` is room for those of the residual. */
  #normGathered(
    pass: RowPass,
    x: number,
    residual: number,
    y: number,
    z: number,
    moments: number,
    activation: ActivationCode,
  ): void {
    const { plan, mask } = pass;
    const current = backend();
    const rows = rowsOf(pass);
    const vectors = this.#vectors(rows, plan.cols, moments);
    const { f32 } = current.heap;
    gatherRows(f32, indexOf(x), indexOf(y), plan, mask);
    if (residual) gatherRows(f32, indexOf(residual), indexOf(z), plan, mask);
    if (rows === 0) return;
    if (!mask?.weights) {
      normRows(current, this.#matrix(pass), y, vectors, residual && z, y, activation, this.#description.eps);
      return;
    }
    const [center, invStd] = [indexOf(vectors.center), indexOf(vectors.invStd)];
    const at = indexOf(y);
    weightedRows(this.#weighted(pass), f32, at, residual ? indexOf(z) : -1, at, (r, mean, s) => {
      f32[center + r] = mean;
      f32[invStd + r] = s;
    });
    if (!activation.kind) return;
    activate(current, y, y, activation, rows * plan.cols);
    clearWithoutWeight(mask.weights, f32, at);
  }

  #weighted({ plan, mask }: RowPass): WeightedRows {
    const { centred, eps, learned } = this.#description;
    const weights = mask!.weights!;
    const [gamma, beta] = [learned.gamma?.values.now, learned.beta?.values.now];
    return { rows: mask!.rows.length, cols: plan.cols, weights, centred, gamma, beta, eps };
  }

  forwardEmpty(): void {}

  clearMasked(call: Call, { plan, mask }: RowPass, dy: number): void {
    if (!mask) return;
    const gathered = call.scratch(plan.size * 4);
    const { f32 } = backend().heap;
    const [from, at] = [indexOf(dy), indexOf(gathered)];
    gatherRows(f32, from, at, plan, mask);
    if (mask.weights) clearWithoutWeight(mask.weights, f32, at);
    scatterRows(f32, at, from, plan, mask);
  }

  #matrix(pass: RowPass): Matrix {
    return { rows: rowsOf(pass), cols: pass.plan.cols, centred: this.#description.centred };
  }

  /** Where a forward's vectors lie, gamma and beta as they are now. */
  #vectors(rows: number, cols: number, moments: number): RowVectors {
    const { heap } = backend();
    this.#columns ??= new Region(heap);
    this.#rows ??= new Region(heap);
    const gamma = this.#columns.atLeast(cols * 8);
    const beta = gamma + cols * 4;
    const center = this.#rows.atLeast(rows * 12);
    const place = (values: Float32Array | undefined, at: number, otherwise: number) => {
      if (values) store(heap, at, values);
      else fill(heap, at, cols, otherwise);
    };
    place(this.learned.gamma?.values.now, gamma, 1);
    place(this.learned.beta?.values.now, beta, 0);
    return { gamma, beta, center, invStd: center + rows * 4, left: center + rows * 8, moments };
  }

  saved(pass: RowPass | undefined, name: 'mean' | 'invStd'): Float32Array | null {
    if (!pass || pass.plan.size === 0 || !this.#rows) return null;
    const rows = rowsOf(pass);
    const index = name === 'mean' ? 0 : 1;
    const values = floats(backend().heap, this.#rows.atLeast(0) + index * rows * 4, rows);
    if (!pass.mask) return values.slice();
    // rows that do not count have none
    const all = new Float32Array(pass.plan.rows).fill(Number.NaN);
    pass.mask.rows.forEach((r, i) => {
      all[r] = values[i];
    });
    return all;
  }

  /** Room for a piece of whole rows; for all of them where they are gathered. */
  scratchFor(pass: RowPass): number {
    const { plan } = pass;
    if (!isPlain(pass)) return plan.size * 12 + rowsOf(pass) * 16 + 8;
    return pieceRows(plan) * (plan.cols * 4 + 16) + 8;
  }

  preActivations(
    pass: RowPass,
    x: number,
    residual: number,
    scratch: number,
    visit: (from: number, size: number) => void,
  ): void {
    const { plan, mask } = pass;
    const { rows, cols, size } = plan;
    if (!isPlain(pass)) {
      const [y, z] = [scratch + size * 4, scratch + size * 8];
      this.#normGathered(pass, x, residual, y, z, scratch + size * 12 + ((size * 4) % 8), NO_ACTIVATION);
      scatterRows(backend().heap.f32, indexOf(y), indexOf(scratch), plan, mask);
      visit(0, size);
      return;
    }
    const many = pieceRows(plan);
    const values = many * cols * 4;
    const vectors = this.#vectors(rows, cols, scratch + values + (values % 8));
    for (let first = 0; first < rows; first += many) {
      const piece = { ...this.#matrix(pass), rows: Math.min(many, rows - first) };
      const at = first * cols * 4;
      const added = residual && residual + at;
      normRows(backend(), piece, x + at, vectors, added, scratch, NO_ACTIVATION, this.#description.eps, first);
      visit(first * cols, piece.rows * cols);
    }
  }

  trace(graph: OperationGraph, x: Value): Value {
    const { axes } = this.#description;
    if (!axes) return this.#traceLast(graph, x);
    const turned = (value: Value, to: Layout, axis: number) => {
      const operation: TurnOperation = { kind: 'turn', to, axis };
      return graph.append(operation, [value]);
    };
    const turns = turnsOf(this.subject, axes, x.shape?.length);
    const rows = turns.reduce((value, axis) => turned(value, 'channels-last', axis), x);
    return turns.reduceRight((value, axis) => turned(value, 'channels-first', axis), this.#traceLast(graph, rows));
  }

  #traceLast(graph: OperationGraph, x: Value): Value {
    const { normalizedShape, centred, eps, learned } = this.#description;
    const operation: RowNormOperation = {
      kind: 'row-norm',
      normalizedShape,
      centred,
      eps,
      gamma: learned.gamma?.values.now ?? null,
      beta: learned.beta?.values.now ?? null,
    };
    return graph.append(operation, [x]);
  }

  release(): void {
    this.#columns?.release();
    this.#rows?.release();
    this.#columns = this.#rows = undefined;
  }

  backward(call: Call, pass: RowPass, x: number, dy: number, dx: number): void {
    if (isPlain(pass)) {
      this.#gradients(call, pass, x, dy, dx);
      return;
    }
    const { plan, mask } = pass;
    const [from, g] = [call.scratch(plan.size * 4), call.scratch(plan.size * 4)];
    const { gamma, beta } = this.learned;
    const { f32 } = backend().heap;
    gatherRows(f32, indexOf(x), indexOf(from), plan, mask);
    gatherRows(f32, indexOf(dy), indexOf(g), plan, mask);
    if (mask?.weights) {
      const sums = weightedRowsBack(this.#weighted(pass), f32, indexOf(from), indexOf(g), indexOf(g));
      scatterRows(f32, indexOf(g), indexOf(dx), plan, mask);
      addToGradient(beta, sums.dbeta);
      addToGradient(gamma, sums.dgamma);
      return;
    }
    if (rowsOf(pass) > 0) this.#gradients(call, pass, from, g, g);
    const { f32: now } = backend().heap;
    scatterRows(now, indexOf(g), indexOf(dx), plan, mask);
  }

  /** dx of rows that lie side by side; adds the gradients of gamma and beta. */
  #gradients(call: Call, pass: RowPass, x: number, dy: number, dx: number): void {
    const { gamma, beta } = this.learned;
    const matrix = this.#matrix(pass);
    const { rows, cols } = matrix;
    const needs = gradRowsScratch(matrix);
    const sums = call.scratch(needs.sums * 8);
    const lanes = call.scratch(needs.lanes * 4);
    gradRows(backend(), matrix, x, dy, this.#vectors(rows, cols, 0), dx, sums, lanes);
    const segments = segmentsOf(rows);
    for (const [i, parameter] of [beta, gamma].entries()) {
      const parts = doubles(backend().heap, sums + i * segments * cols * 8, segments * cols);
      const total = segments > 1 ? parts.slice(0, cols) : parts;
      for (let s = 1; s < segments; s++) for (let c = 0; c < cols; c++) total[c] += parts[s * cols + c];
      addToGradient(parameter, total);
    }
  }
}

/**
 * The axes that are brought to the end one after the other until those that are normalised lie
 * there in their order: each as it is counted once the ones before it have left.
 */
function turnsOf(subject: string, axes: readonly number[], rank: number | undefined): number[] {
  const isMixed = axes.some((axis) => axis < 0) && axes.some((axis) => axis > 0);
  if (isMixed && rank === undefined) {
    const got = show(axes);
    throw wrongMoment('ERR_MODE', subject, 'compile', 'axes that are all counted from one end', got);
  }
  const placed = isMixed ? axes.map((axis) => (axis < 0 ? axis + rank! : axis)) : axes;
  return placed.map((axis, i) => axis - placed.slice(0, i).filter((before) => before < axis).length);
}
