// The engine of norms of rows: the last axes of each sample by statistics of their own, scale and
// shift by place.

import type { OperationGraph, Value } from '../../graph/graph.ts';
import type { RowNormOperation } from '../../graph/operations/row-norm.ts';
import { type ActivationCode, NO_ACTIVATION } from '../../kernels/activations.ts';
import { backend } from '../../kernels/backend.ts';
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
import { type RowPlan, rowPlanOf } from '../../passes/plan.ts';
import { Region } from '../../tensors/block.ts';
import type { Call } from '../../tensors/call.ts';
import type { ResolvedInputs } from '../../tensors/route.ts';
import type { TensorLike } from '../../tensors/tensor.ts';
import { doubles, fill, floats, store } from '../../wasm/views.ts';
import type { NormEngine } from './norm-engine.ts';
import type { LearnedScale } from './run-arithmetic.ts';

/** What a norm of rows is. */
export interface RowNormDescription {
  readonly subject: string;
  /** Lengths of the axes that are normalised together, the last ones. */
  readonly normalizedShape: readonly number[];
  readonly eps: number;
  /** Is the mean subtracted? */
  readonly centred: boolean;
  readonly activation: ActivationCode;
  readonly learned: LearnedScale;
}

interface RowPass extends Pass {
  readonly plan: RowPlan;
}

/** Values of the piece in which pre-activations are worked out again. */
const PIECE = 1 << 14;

/** Rows of such a piece. */
function pieceRows({ rows, cols }: RowPlan): number {
  return Math.min(rows, Math.max(1, Math.floor(PIECE / cols)));
}

export class RowEngine implements NormEngine<RowPass> {
  readonly #description: RowNormDescription;
  readonly callOptions: readonly string[] = [];
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

  #planOf(shape: readonly number[]): RowPlan {
    return rowPlanOf(this.subject, shape, this.#description.normalizedShape);
  }

  checkShape(shape: readonly number[]): void {
    this.#planOf(shape);
  }

  checkForward(shape: readonly number[]): void {
    this.#planOf(shape);
  }

  channelAxis(rank: number): number {
    return rank - 1;
  }

  begin(shape: readonly number[]): RowPass {
    return { plan: this.#planOf(shape) };
  }

  reuse(pass: RowPass): RowPass {
    return pass;
  }

  forward(call: Call, { plan }: RowPass, { x, residual }: ResolvedInputs, out: TensorLike): void {
    const at = call.input(x);
    const added = residual ? call.input(residual) : 0;
    const to = call.output(out, { x, at });
    const vectors = this.#vectors(plan, call.scratch(plan.rows * 16));
    normRows(backend(), this.#matrix(plan), at, vectors, added, to, this.activation, this.#description.eps);
  }

  forwardEmpty(): void {}

  clearMasked(): void {}

  #matrix({ rows, cols }: RowPlan): Matrix {
    return { rows, cols, centred: this.#description.centred };
  }

  /** Where a forward's vectors lie, gamma and beta as they are now. */
  #vectors({ rows, cols }: RowPlan, moments: number): RowVectors {
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
    const { rows, size } = pass?.plan ?? { rows: 0, size: 0 };
    if (size === 0 || !this.#rows) return null;
    const index = name === 'mean' ? 0 : 1;
    return floats(backend().heap, this.#rows.atLeast(0) + index * rows * 4, rows).slice();
  }

  /** Room for a piece of whole rows. */
  scratchFor({ plan }: RowPass): number {
    return pieceRows(plan) * (plan.cols * 4 + 16) + 8;
  }

  preActivations(
    { plan }: RowPass,
    x: number,
    residual: number,
    scratch: number,
    visit: (from: number, size: number) => void,
  ): void {
    const { rows, cols } = plan;
    const many = pieceRows(plan);
    const values = many * cols * 4;
    const vectors = this.#vectors(plan, scratch + values + (values % 8));
    for (let first = 0; first < rows; first += many) {
      const piece = { ...this.#matrix(plan), rows: Math.min(many, rows - first) };
      const at = first * cols * 4;
      const added = residual && residual + at;
      normRows(backend(), piece, x + at, vectors, added, scratch, NO_ACTIVATION, this.#description.eps, first);
      visit(first * cols, piece.rows * cols);
    }
  }

  trace(graph: OperationGraph, x: Value): Value {
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

  backward(call: Call, { plan }: RowPass, x: number, dy: number, dx: number): void {
    const { gamma, beta } = this.learned;
    const matrix = this.#matrix(plan);
    const { rows, cols } = plan;
    const needs = gradRowsScratch(matrix);
    const sums = call.scratch(needs.sums * 8);
    const lanes = call.scratch(needs.lanes * 4);
    gradRows(backend(), matrix, x, dy, this.#vectors(plan, 0), dx, sums, lanes);
    const segments = segmentsOf(rows);
    for (const [i, parameter] of [beta, gamma].entries()) {
      const parts = doubles(backend().heap, sums + i * segments * cols * 8, segments * cols);
      const total = segments > 1 ? parts.slice(0, cols) : parts;
      for (let s = 1; s < segments; s++) for (let c = 0; c < cols; c++) total[c] += parts[s * cols + c];
      addToGradient(parameter, total);
    }
  }
}
