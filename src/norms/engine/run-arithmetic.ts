// The arithmetic of one run: statistics, then a map; backward two sums, then the gradient's map.

import { type ActivationCode, NO_ACTIVATION } from '../../kernels/activations.ts';
import { backend } from '../../kernels/backend.ts';
import { type AffineVectors, affine } from '../../kernels/inference/calls.ts';
import type { LearnedParameter } from '../../layers/parameter.ts';
import {
  EvaluationMap,
  setConstantGradient,
  setGradient,
  setTraining,
  type Training,
} from '../../passes/coefficients.ts';
import {
  type MaskInMemory,
  maskedAffine,
  maskedGradInput,
  maskedGradStats,
  maskedStats,
} from '../../passes/masked-passes.ts';
import { constantBackward, statistics, trainBackward, trainForward } from '../../passes/passes.ts';
import type { RunBlocks, Scaling } from '../../passes/run-blocks.ts';
import type { Run, SourcedRun } from '../../passes/runs.ts';
import type { NormPolicy, NormTransform } from './policy.ts';

/** Scale and shift, where there are such. */
export type LearnedScale = { readonly gamma?: LearnedParameter; readonly beta?: LearnedParameter };

/** What the arithmetic of a norm by channel depends on. */
export interface ChannelNormParts {
  readonly channels: number;
  readonly eps: number;
  readonly activation: ActivationCode;
  readonly learned: LearnedScale;
  readonly policy: NormPolicy;
  readonly transform?: NormTransform;
}

/**
 * Statistics, maps and gradients of runs, which lie in `RunBlocks` between forward and backward.
 */
export class RunArithmetic {
  readonly #parts: ChannelNormParts;
  /** Maps by running statistics: one, or one for each time step. */
  readonly #evaluations = [new EvaluationMap()];

  constructor(parts: ChannelNormParts) {
    this.#parts = parts;
  }

  /** Scale and shift as they are now. */
  get scaling(): Scaling {
    const { gamma, beta } = this.#parts.learned;
    return { gamma: gamma?.values.now, beta: beta?.values.now };
  }

  /** Mean and variance of a run's channels, in `v`. */
  statistics({ plan }: Run, x: number, v: Training, mask: MaskInMemory | undefined): void {
    if (mask) maskedStats(backend(), plan, x, mask, v);
    else statistics(backend(), plan, x, v);
    this.#parts.transform?.pool?.(v, mask?.mask);
  }

  /**
   * Normalises a run by its own statistics.
   *
   * @param known the statistics are in `v` already
   * @returns whether all statistics are finite in f32
   */
  normalize(
    run: Run,
    index: number,
    x: number,
    residual: number,
    y: number,
    v: Training,
    mask: MaskInMemory | undefined,
    known: boolean,
  ): boolean {
    const { channels, eps, activation, learned, transform } = this.#parts;
    const gamma = learned.gamma?.values.now;
    const beta = learned.beta?.values.now;
    let finite = true;
    const derive = (from: number, to: number) => {
      if (!setTraining(v, from, to, eps, gamma, beta)) finite = false;
      if (transform?.adjust) this.adjust(v, index, from, to);
    };
    // masked and pooled statistics are not to be had channel by channel
    const apart = mask !== undefined || transform?.pool !== undefined;
    if (apart && !known) this.statistics(run, x, v, mask);
    if (mask) {
      derive(0, channels);
      maskedAffine(backend(), run.plan, x, v, residual, y, activation, mask);
    } else {
      trainForward(backend(), run.plan, x, residual, y, activation, v, derive, known || apart);
    }
    return finite;
  }

  /**
   * Lets the transform change the training map of channels `from` to `to`; `recalled` is the
   * scaling of an earlier forward.
   */
  adjust(v: Training, run: number, from: number, to: number, recalled?: Scaling): void {
    const { transform, policy } = this.#parts;
    const scaling = recalled ?? this.scaling;
    transform?.adjust?.({ v, run, from, to, scaling, running: policy.running, isRecalled: recalled !== undefined });
  }

  /** Normalises a run by the running statistics. */
  evaluate(run: Run, x: number, residual: number, y: number, mask: MaskInMemory | undefined): void {
    const { activation } = this.#parts;
    const map = this.evaluationMap(run);
    if (mask) maskedAffine(backend(), run.plan, x, map, residual, y, activation, mask);
    else affine(backend(), run.plan, x, map, residual, y, activation);
  }

  /** The map by running statistics. */
  evaluationMap({ step, mapIndex }: Run): AffineVectors {
    const { policy, eps, learned } = this.#parts;
    const { mean, variance } = policy.running!.at(step);
    this.#evaluations[mapIndex] ??= new EvaluationMap();
    return this.#evaluations[mapIndex].from(mean, variance, eps, learned.gamma?.values, learned.beta?.values);
  }

  /** The map by which the last forward mapped a run. */
  mapOf({ source, mapIndex }: SourcedRun, index: number, blocks: RunBlocks): AffineVectors {
    return source === 'batch' ? this.#recall(index, blocks) : this.#evaluations[mapIndex].last.map;
  }

  /** The block of a run that was normalised by its statistics, as forward left it. */
  #recall(index: number, blocks: RunBlocks): Training {
    const { channels, eps } = this.#parts;
    const v = blocks.at(index);
    const scaling = blocks.recall(index);
    if (scaling) {
      setTraining(v, 0, channels, eps, scaling.gamma, scaling.beta);
      this.adjust(v, index, 0, channels, scaling);
    }
    return v;
  }

  /**
   * dx of a run, and its sums Σdy and Σdy·x̂ in its block.
   *
   * @param learns are the sums asked for where statistics are constants?
   */
  backward(
    run: SourcedRun,
    index: number,
    blocks: RunBlocks,
    x: number,
    dy: number,
    dx: number,
    mask: MaskInMemory | undefined,
    spare: number,
    learns: boolean,
  ): void {
    const current = backend();
    const { channels, eps, transform } = this.#parts;
    const { plan } = run;
    if (plan.size === 0) return;
    const v = run.source === 'batch' ? this.#recall(index, blocks) : blocks.at(index);
    const sum = (from = 0, to = channels) => mask && maskedGradStats(current, plan, x, dy, mask, v, from, to);
    if (run.source === 'batch') {
      if (transform?.gradient) transform.gradient(run, x, dy, dx, v, this.scaling, mask, spare);
      else if (mask) {
        sum();
        setGradient(v, 0, channels, mask.mask.total, (c) => sum(c, c + 1));
        maskedGradInput(current, plan, x, dy, v, dx, mask, spare);
      } else trainBackward(current, plan, x, dy, dx, v);
      transform?.adjustGradient?.(v, index);
    } else {
      setConstantGradient(v, this.#evaluations[run.mapIndex].last.source, eps);
      if (mask) {
        if (learns) sum();
        const map = { center: 0, scale: v.scale, shift: v.k };
        maskedAffine(current, plan, dy, map, 0, dx, NO_ACTIVATION, mask);
      } else constantBackward(current, plan, x, dy, dx, v, learns);
    }
  }

  /** Gives back the memory of the maps by running statistics. */
  release(): void {
    // time steps that were never evaluated have none
    for (const map of this.#evaluations) map?.release();
  }
}
