// Weight and bias of linear layers and convolutions, from the first values on.

import { LearnedParameter } from '../layers/parameter.ts';
import { countOf } from '../tensors/shape.ts';
import type { Stored } from '../tensors/stored.ts';
import { type Initializer, type StoredInitializer, torchUniform } from './initializers.ts';
import { Random } from './random.ts';

/** What a layer learns. */
export interface Learned {
  readonly weight: LearnedParameter;
  readonly bias: LearnedParameter | undefined;
}

/** How it begins. */
export interface LearnedSettings {
  readonly bias: boolean;
  readonly init: Initializer | undefined;
  readonly seed: number | undefined;
}

/** A weight of a shape, and a bias of so many values unless there is to be none. */
export function learn(
  shape: readonly number[],
  outputs: number,
  fanIn: number,
  fanOut: number,
  { bias, init, seed }: LearnedSettings,
): Learned {
  const random = new Random(seed);
  const weight = taken(init) ?? new Float32Array(countOf(shape));
  if (weight instanceof Float32Array) (init ?? torchUniform())(weight, fanIn, fanOut, random);
  const values = new Float32Array(outputs);
  if (bias && !init) torchUniform()(values, fanIn, fanOut, random);
  return {
    weight: new LearnedParameter(shape, weight),
    bias: bias ? new LearnedParameter([outputs], values) : undefined,
  };
}

/** What an initializer has stored, which then is the parameter's. */
function taken(init: (Initializer & Partial<StoredInitializer>) | undefined): Stored | undefined {
  const stored = init?.stored;
  if (init && stored) init.stored = undefined;
  return stored;
}
