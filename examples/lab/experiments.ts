// All of them, in the order in which the story is told.

import { anatomy } from './anatomy.ts';
import { depth } from './depth.ts';
import { dropout } from './dropout.ts';
import type { Experiment } from './experiment.ts';
import { inferenceCost } from './inference-cost.ts';
import { initialisation } from './initialisation.ts';
import { learningRate } from './learning-rate.ts';
import { oneAtATime } from './one-at-a-time.ts';
import { poison } from './poison.ts';
import { regularisation } from './regularisation.ts';
import { resnetBatches } from './resnet-batches.ts';
import { saturation } from './saturation.ts';
import { sequences } from './sequences.ts';
import { shift } from './shift.ts';
import { smallBatches } from './small-batches.ts';
import { speed } from './speed.ts';
import { trainAndEval } from './train-and-eval.ts';
import { undo } from './undo.ts';

export const EXPERIMENTS: readonly Experiment[] = [
  anatomy,
  undo,
  saturation,
  shift,
  initialisation,
  learningRate,
  depth,
  speed,
  regularisation,
  trainAndEval,
  smallBatches,
  resnetBatches,
  oneAtATime,
  sequences,
  dropout,
  poison,
  inferenceCost,
];
