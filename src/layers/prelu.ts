// PReLU over memory: by the kernels of leaky ReLU where a slope holds for values side by side.

import { activationCode } from '../kernels/activations.ts';
import type { Backend } from '../kernels/create-backend.ts';
import { activate } from '../kernels/inference/calls.ts';
import type { Plan } from '../passes/plan.ts';
import { indexOf } from '../wasm/views.ts';

/** Where values with one slope lie: all of them, planes, or every channel by itself. */
export type Slopes = Pick<Plan, 'outer' | 'channels' | 'inner'>;

/** The kernels' activation with a slope. */
export const sloped = (slope: number) => activationCode('PReLU', { name: 'leaky-relu', slope });

/** Slopes that kernels do not take go value by value. */
const isForKernels = (slopes: ArrayLike<number>) => Array.prototype.every.call(slopes, Number.isFinite);

/** Runs of values that share a slope: whether they are long enough for a kernel. */
export function inRuns({ channels, inner }: Slopes, slopes: ArrayLike<number>): boolean {
  return (channels === 1 || inner >= 16) && isForKernels(slopes);
}

/** y = x where x ≥ 0, slope·x below. */
export function prelu(backend: Backend, plan: Slopes, x: number, y: number, slopes: ArrayLike<number>): void {
  const { outer, channels, inner } = plan;
  if (inRuns(plan, slopes)) {
    const codes = Array.from(slopes, sloped);
    for (let n = 0, at = 0; n < outer; n++) {
      for (let c = 0; c < channels; c++, at += inner * 4) activate(backend, x + at, y + at, codes[c], inner);
    }
    return;
  }
  const { f32 } = backend.heap;
  const [from, to] = [indexOf(x), indexOf(y)];
  for (let n = 0, i = 0; n < outer; n++) {
    for (let c = 0; c < channels; c++) {
      const slope = slopes[c];
      for (let k = 0; k < inner; k++, i++) {
        const v = f32[from + i];
        f32[to + i] = v < 0 ? slope * v : v;
      }
    }
  }
}
