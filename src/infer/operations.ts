// Groups of operations for `load`, beyond those of every network.

import { runAdd, runMultiply } from '../graph/operations/broadcast.ts';
import { runChannelNorm } from '../graph/operations/channel-norm.ts';
import { runConcat } from '../graph/operations/concat.ts';
import { runConv } from '../graph/operations/conv.ts';
import { runCurve } from '../graph/operations/curve.ts';
import { runPad } from '../graph/operations/pad.ts';
import { runPool } from '../graph/operations/pool.ts';
import { runPReLU } from '../graph/operations/prelu.ts';
import { runFlatten, runReshape } from '../graph/operations/reshape.ts';
import { runRowNorm } from '../graph/operations/row-norm.ts';
import { runSoftmax } from '../graph/operations/softmax.ts';
import { runUpsample } from '../graph/operations/upsample.ts';
import type { Operations } from './load.ts';

/**
 * Norms by statistics of their input: layer, RMS, group and instance norm, and batch norm without
 * running statistics.
 *
 *     const run = load(file, { operations: [norms] });
 */
export const norms: Operations = [runChannelNorm, runRowNorm];

/**
 * Sums and products that broadcast, and concatenation: what a `Graph` adds, multiplies and
 * concatenates.
 *
 *     const run = load(file, { operations: [merging] });
 */
export const merging: Operations = [runAdd, runMultiply, runConcat];

/**
 * Softmax and its logarithm.
 *
 *     const run = load(file, { operations: [softmax] });
 */
export const softmax: Operations = [runSoftmax];

/**
 * Max and average pooling.
 *
 *     const run = load(file, { operations: [pooling] });
 */
export const pooling: Operations = [runPool];

/**
 * Convolutions, and transposed ones.
 *
 *     const run = load(file, { operations: [convolutions] });
 */
export const convolutions: Operations = [runConv];

/**
 * Changes of shape: flatten and reshape, padding, upsampling.
 *
 *     const run = load(file, { operations: [reshaping] });
 */
export const reshaping: Operations = [runFlatten, runReshape, runPad, runUpsample];

/**
 * Activations that are steps of their own: PReLU by channel, SELU, softsign, hard tanh, and hard
 * sigmoid with a slope other than 1/6.
 *
 *     const run = load(file, { operations: [activations] });
 */
export const activations: Operations = [runCurve, runPReLU];
