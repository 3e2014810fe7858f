// Groups of operations for `load`, beyond those of every network.

import { runAdd, runMultiply } from '../graph/operations/broadcast.ts';
import { runChannelNorm } from '../graph/operations/channel-norm.ts';
import { runConcat } from '../graph/operations/concat.ts';
import { runConv } from '../graph/operations/conv.ts';
import { runPool } from '../graph/operations/pool.ts';
import { runRowNorm } from '../graph/operations/row-norm.ts';
import { runSoftmax } from '../graph/operations/softmax.ts';
import type { Operations } from './load.ts';

/** Norms by statistics of their input: layer, RMS, group and instance norm, and batch norm without running statistics. */
export const norms: Operations = [runChannelNorm, runRowNorm];

/** Sums and products that broadcast, and concatenation: what a `Graph` adds, multiplies and concatenates. */
export const merging: Operations = [runAdd, runMultiply, runConcat];

/** Softmax and its logarithm. */
export const softmax: Operations = [runSoftmax];

/** Max and average pooling. */
export const pooling: Operations = [runPool];

/** Convolutions, and transposed ones. */
export const convolutions: Operations = [runConv];
