// Groups of operations for `load`, beyond those of every network.

import { runChannelNorm } from '../graph/operations/channel-norm.ts';
import { runRowNorm } from '../graph/operations/row-norm.ts';
import type { Operations } from './load.ts';

/** Norms by statistics of their input: layer, RMS, group and instance norm, and batch norm without running statistics. */
export const norms: Operations = [runChannelNorm, runRowNorm];
