// Groups of operations for `load`, beyond those of every network.

import { runBinary } from '../graph/operations/binary.ts';
import { runAdd, runMultiply } from '../graph/operations/broadcast.ts';
import { runChannelNorm } from '../graph/operations/channel-norm.ts';
import { runConcat } from '../graph/operations/concat.ts';
import { runConstant } from '../graph/operations/constant.ts';
import { runConv } from '../graph/operations/conv.ts';
import { runCurve } from '../graph/operations/curve.ts';
import { runGather } from '../graph/operations/gather.ts';
import { runGridSample } from '../graph/operations/grid-sample.ts';
import { runMatmul } from '../graph/operations/matmul.ts';
import { runNumbers } from '../graph/operations/numbers.ts';
import { runPad } from '../graph/operations/pad.ts';
import { runPool } from '../graph/operations/pool.ts';
import { runPReLU } from '../graph/operations/prelu.ts';
import { runRecurrent } from '../graph/operations/recurrent.ts';
import { runReduce } from '../graph/operations/reduce.ts';
import { runFlatten, runReshape } from '../graph/operations/reshape.ts';
import { runResize } from '../graph/operations/resize.ts';
import { runReverse } from '../graph/operations/reverse.ts';
import { runRowNorm } from '../graph/operations/row-norm.ts';
import { runScan } from '../graph/operations/scan.ts';
import { runScatter } from '../graph/operations/scatter.ts';
import { runSelect } from '../graph/operations/select.ts';
import { runShapeTo } from '../graph/operations/shape-to.ts';
import { runSoftmax } from '../graph/operations/softmax.ts';
import { runExpand, runSlice, runTranspose } from '../graph/operations/strided.ts';
import { runSurround } from '../graph/operations/surround.ts';
import { runTurn } from '../graph/operations/turn.ts';
import { runUnary } from '../graph/operations/unary.ts';
import { runUpsample } from '../graph/operations/upsample.ts';
import { runWeighted } from '../graph/operations/weighted.ts';
import { runWhere } from '../graph/operations/where.ts';
import { runWindow } from '../graph/operations/window.ts';
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
 * Convolutions, transposed ones, and what stands between them and a classifier: pooling, flatten
 * and reshape.
 *
 *     const run = load(file, { operations: [convolutions] });
 */
export const convolutions: Operations = [runConv, runTurn, runPool, runFlatten, runReshape];

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

/**
 * Functions of one value and of several, reductions, products of matrices, constants: what networks
 * from files compute besides their layers.
 *
 *     const run = load(file, { operations: [arithmetic] });
 */
export const arithmetic: Operations = [
  runConstant,
  runBinary,
  runUnary,
  runWhere,
  runReduce,
  runMatmul,
  runNumbers,
  runScan,
  runWeighted,
];

/**
 * Values at other places: transposition, slices, gathering, padding and resizing by shapes, and
 * windows that pooling layers do not have.
 *
 *     const run = load(file, { operations: [indexing] });
 */
export const indexing: Operations = [
  runGather,
  runGridSample,
  runResize,
  runReverse,
  runScatter,
  runSelect,
  runShapeTo,
  runExpand,
  runSlice,
  runTranspose,
  runSurround,
  runWindow,
];

/**
 * LSTM, GRU and RNN over sequences.
 *
 *     const run = load(file, { operations: [recurrent] });
 */
export const recurrent: Operations = [runRecurrent];
