// The operations of layers, for who compiles: a loaded network names those that it runs
// (src/infer/load.ts).

import type { Description } from '../operation.ts';
import { describeAffine } from './affine.ts';
import { describeAdd, describeMultiply } from './broadcast.ts';
import { describeChannelNorm } from './channel-norm.ts';
import { describeConcat } from './concat.ts';
import { describeConv } from './conv.ts';
import { describeCurve } from './curve.ts';
import { describeElementwise } from './elementwise.ts';
import { describeLinear } from './linear.ts';
import { describePad } from './pad.ts';
import { describePool } from './pool.ts';
import { describePReLU } from './prelu.ts';
import { describeFlatten, describeReshape } from './reshape.ts';
import { describeRowNorm } from './row-norm.ts';
import { describeSoftmax } from './softmax.ts';
import { describeTurn } from './turn.ts';
import { describeUpsample } from './upsample.ts';

/** What layers trace themselves into, and what rewrites make of it. */
export const OPERATIONS: readonly Description[] = [
  describeLinear,
  describeAffine,
  describeElementwise,
  describeConv,
  describeChannelNorm,
  describeRowNorm,
  describeSoftmax,
  describeAdd,
  describeMultiply,
  describeConcat,
  describePool,
  describeFlatten,
  describeReshape,
  describePad,
  describeCurve,
  describePReLU,
  describeUpsample,
  describeTurn,
];
