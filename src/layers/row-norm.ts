// Norms of rows: the last axes of each sample by statistics of their own, scale and shift by place.

import { show, wrongKind } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import type { RowNormOperation } from '../graph/operations/row-norm.ts';
import { NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import {
  gradRows,
  gradRowsScratch,
  type Matrix,
  normRows,
  type RowVectors,
  segmentsOf,
} from '../kernels/rows/calls.ts';
import { Region } from '../tensors/block.ts';
import type { Call } from '../tensors/call.ts';
import type { Located } from '../tensors/route.ts';
import { countOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import { doubles, fill, floats, store } from '../wasm/views.ts';
import type { Pass } from './leaf-layer.ts';
import { learned, Norm, traceActivation } from './norm.ts';
import { type AffineOptions, checkFeatures, readKinOptions } from './options.ts';
import { addToGradient } from './parameter.ts';
import { type RowPlan, rowPlanOf } from './plan.ts';

/** Options of `LayerNorm` and `RMSNorm`: `eps`, `affine` and `activation`. */
export type RowNormOptions = Omit<AffineOptions, 'layout'>;

interface RowPass extends Pass {
  readonly plan: RowPlan;
}

/** Values of the piece in which pre-activations are worked out again. */
const PIECE = 1 << 14;

/** Rows of such a piece. */
function pieceRows({ rows, cols }: RowPlan): number {
  return Math.min(rows, Math.max(1, Math.floor(PIECE / cols)));
}

export abstract class RowNorm extends Norm<RowPass> {
  readonly subject: string;
  /** Lengths of the axes that are normalised together, the last ones. */
  readonly normalizedShape: readonly number[];
  /** @internal */
  protected readonly settings: ReturnType<
    typeof readKinOptions<RowNormOptions, { eps: number; affine: boolean | 'gamma' | 'beta' }>
  >;
  /** @internal */
  protected readonly learned: ReturnType<typeof learned>;
  /** gamma and beta, by place. */
  #columns: Region | undefined;
  /** Statistics of the last forward, by row. */
  #rows: Region | undefined;

  constructor(
    normalizedShape: number | readonly number[],
    options: RowNormOptions,
    defaults: { eps: number; affine: boolean | 'gamma' | 'beta' },
  ) {
    super();
    const { kind } = this.form();
    const shape = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape;
    if (!Array.isArray(shape) || shape.length === 0) {
      throw wrongKind('ERR_OPTION', kind, 'normalizedShape', 'a length, or an array of lengths', show(normalizedShape));
    }
    for (const length of shape) checkFeatures(kind, 'normalizedShape', length);
    checkFeatures(kind, 'normalizedShape', countOf(shape));
    this.subject = `${kind}(${shape.join(', ')})`;
    this.normalizedShape = Object.freeze([...shape]);
    this.settings = readKinOptions(this.subject, options, defaults);
    this.learned = learned(this.settings.affine, this.normalizedShape);
  }

  /** @internal The name in errors, and whether the mean is taken away. */
  protected abstract form(): { kind: string; centred: boolean };

  /** @internal */
  protected get activation() {
    return this.settings.activation;
  }

  /**
   * Mean of each row of the last forward, a copy; 0 where the norm takes none away. `null` before
   * one.
   */
  get savedMean(): Float32Array | null {
    return this.#saved(0);
  }

  /**
   * 1/√(variance + eps), or 1/√(mean square + eps), of each row of the last forward, a copy; `null`
   * before one.
   */
  get savedInvStd(): Float32Array | null {
    return this.#saved(1);
  }

  outputShape(shape: readonly number[]): readonly number[] {
    rowPlanOf(this.subject, shape, this.normalizedShape);
    return shape;
  }

  /** @internal */
  override channelAxis(rank: number): number {
    return rank - 1;
  }

  override trace(graph: OperationGraph, x: Value): Value {
    const { normalizedShape, learned, activation, settings } = this;
    const operation: RowNormOperation = {
      kind: 'row-norm',
      normalizedShape,
      centred: this.form().centred,
      eps: settings.eps,
      gamma: learned.gamma?.values.now ?? null,
      beta: learned.beta?.values.now ?? null,
    };
    return traceActivation(graph, graph.append(operation, [x]), activation);
  }

  /**
   * Gives back the linear memory that the norm works in: gamma, beta and the statistics of rows.
   */
  override dispose(): void {
    super.dispose();
    this.#columns?.release();
    this.#rows?.release();
    this.#columns = this.#rows = undefined;
  }

  /** @internal */
  protected override begin(shape: readonly number[]): RowPass {
    return { plan: rowPlanOf(this.subject, shape, this.normalizedShape) };
  }

  /** @internal */
  protected override write(call: Call, { plan }: RowPass, { x, residual }: Located, out: TensorLike): void {
    const at = call.input(x);
    const added = residual ? call.input(residual) : 0;
    const to = call.output(out, { x, at });
    const vectors = this.#vectors(plan, call.scratch(plan.rows * 16));
    normRows(backend(), this.#matrix(plan), at, vectors, added, to, this.activation, this.settings.eps);
  }

  #matrix({ rows, cols }: RowPlan): Matrix {
    return { rows, cols, centred: this.form().centred };
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

  #saved(index: number): Float32Array | null {
    const { rows, size } = this.lastPass?.plan ?? { rows: 0, size: 0 };
    if (size === 0 || !this.#rows) return null;
    return floats(backend().heap, this.#rows.atLeast(0) + index * rows * 4, rows).slice();
  }

  /** @internal Pieces of whole rows. */
  protected override scratchFor({ plan }: RowPass): number {
    return pieceRows(plan) * (plan.cols * 4 + 16) + 8;
  }

  /** @internal */
  protected override preActivations(
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
      normRows(backend(), piece, x + at, vectors, added, scratch, NO_ACTIVATION, this.settings.eps, first);
      visit(first * cols, piece.rows * cols);
    }
  }

  /** @internal */
  protected override gradients(call: Call, { plan }: RowPass, x: number, dy: number, dx: number): void {
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
