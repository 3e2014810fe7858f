// Batch normalization over micro-batches as if they were one batch: sums of each are merged before
// the first value is mapped. What accumulating gradients alone cannot do, because every micro-batch
// would be normalised by itself.

import { NO_ACTIVATION } from '../../kernels/activations.ts';
import { backend } from '../../kernels/backend.ts';
import { activate, affine } from '../../kernels/inference/calls.ts';
import { activateGrad, gradInput, gradStats } from '../../kernels/training/calls.ts';
import { addToGradient } from '../../layers/parameter.ts';
import { reserveTraining, setGradient, setTraining, type Training } from '../../passes/coefficients.ts';
import { activationScratch, preActivations, statistics } from '../../passes/passes.ts';
import type { Plan } from '../../passes/plan.ts';
import { locate, makeLike, within } from '../../tensors/call.ts';
import { checkGradients, disposeAll, locateAll } from '../../tensors/several.ts';
import { shapeOf } from '../../tensors/shape.ts';
import type { Result, TensorLike } from '../../tensors/tensor.ts';
import { mergeMoments } from '../statistics/moments.ts';
import type { BatchPolicy } from './batch-policy.ts';
import type { ChannelEngine } from './channel-engine.ts';

/** The number of micro-batches that make one batch, among the runs of a pass. */
const TOGETHER = -1;

/** What a step over micro-batches leaves for its backward. */
export interface MicroStep {
  backward<D extends TensorLike>(dys: readonly D[]): Result<D>[];
  dispose(): void;
}

/**
 * Normalises micro-batches together, and returns what their backward needs.
 *
 * @throws what shapes and policies say; nothing has changed then
 */
export function forwardTogether<X extends TensorLike>(
  engine: ChannelEngine,
  policy: BatchPolicy,
  xs: readonly X[],
): { ys: Result<X>[]; step: MicroStep } {
  const { subject, channels, eps, activation, learned, transform } = engine.description;
  transform?.begin?.(policy.running);
  const parts = locateAll(subject, 'micro-batch', xs).map((x) => ({ x, plan: engine.planOf(shapeOf(x)) }));
  const current = backend();
  const v = reserveTraining(current.heap, channels);
  const ys: Result<X>[] = [];
  let commit: (() => void) | undefined;
  try {
    within((call) => {
      const at = parts.map(({ x }) => call.input(x));
      const merged = { count: 0, mean: new Float64Array(channels), m2: new Float64Array(channels) };
      parts.forEach(({ plan }, i) => {
        if (plan.size === 0) return;
        statistics(current, plan, at[i], v);
        const { mean, variance } = v.views();
        mergeMoments(merged, { count: plan.count, mean, m2: variance.map((value) => value * plan.count) });
      });
      const { count, mean, m2 } = merged;
      v.views().mean.set(mean);
      v.views().variance.set(m2.map((sum) => (count ? sum / count : 0)));
      const { gamma, beta } = learned;
      const finite = setTraining(v, 0, channels, eps, gamma?.values.now, beta?.values.now);
      commit = policy.checkTogether(count, v, finite, xs.length === 1 ? '1 micro-batch' : `${xs.length} micro-batches`);
      engine.adjust(v, TOGETHER);
      parts.forEach(({ plan }, i) => {
        ys.push(makeLike(xs[i], plan.shape) as Result<X>);
      });
      parts.forEach(({ plan }, i) => {
        if (plan.size) affine(current, plan, at[i], v, 0, call.output(ys[i]), activation);
      });
    });
    commit?.();
  } catch (error) {
    disposeAll(ys);
    v.release();
    throw error;
  }
  const step: MicroStep = { backward: (dys) => backwardTogether(engine, parts, v, dys), dispose: () => v.release() };
  return { ys, step };
}

function backwardTogether<D extends TensorLike>(
  engine: ChannelEngine,
  parts: readonly { readonly x: TensorLike; readonly plan: Plan }[],
  v: Training,
  dys: readonly D[],
): Result<D>[] {
  const { subject, channels, activation, learned, transform } = engine.description;
  const given = checkGradients(
    subject,
    dys,
    parts.map(({ plan }) => plan.shape),
  );
  parts.forEach(({ x }, i) => {
    locate(subject, `backward: micro-batch ${i} of the last forward`, x);
  });
  const current = backend();
  const dxs: Result<D>[] = [];
  try {
    dys.forEach((dy, i) => {
      dxs.push(makeLike(dy, parts[i].plan.shape) as Result<D>);
    });
    within((call) => {
      const work = parts
        .map(({ x, plan }, i) => ({ plan, x: call.input(x), dy: call.input(given[i]), dx: call.output(dxs[i]) }))
        .filter(({ plan }) => plan.size > 0);
      const scratch = call.scratch(Math.max(4, ...work.map(({ plan }) => activationScratch(plan))));
      for (const { plan, x, dy, dx } of work) {
        if (!activation.kind) activate(current, dy, dx, NO_ACTIVATION, plan.size);
        else {
          preActivations(current, plan, x, 0, v, scratch, (from, size) =>
            activateGrad(current, scratch, dy + from * 4, dx + from * 4, activation, size),
          );
        }
      }
      /** The sums of channels `from` to `to` over all micro-batches. */
      const sum = (from: number, to: number) => {
        const totals = [new Float64Array(to - from), new Float64Array(to - from)];
        for (const { plan, x, dx } of work) {
          gradStats(current, plan, x, dx, v, from, to);
          const { dbeta, dgamma } = v.views();
          for (let c = from; c < to; c++) {
            totals[0][c - from] += dbeta[c];
            totals[1][c - from] += dgamma[c];
          }
        }
        v.views().dbeta.set(totals[0], from);
        v.views().dgamma.set(totals[1], from);
      };
      sum(0, channels);
      const count = work.reduce((total, { plan }) => total + plan.count, 0);
      setGradient(v, 0, channels, count, (c) => sum(c, c + 1));
      for (const { plan, x, dx } of work) gradInput(current, plan, x, dx, v, dx, 0, channels);
    });
    transform?.adjustGradient?.(v, TOGETHER);
    const { dgamma, dbeta } = v.views();
    addToGradient(learned.gamma, dgamma);
    addToGradient(learned.beta, dbeta);
  } catch (error) {
    disposeAll(dxs);
    throw error;
  }
  return dxs;
}
