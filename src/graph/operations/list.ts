// All operations, for who compiles: a loaded network names those that it runs (src/infer/load.ts).

import type { Description, Runner } from '../operation.ts';
import { describeAffine } from './affine.ts';
import { describeBinary } from './binary.ts';
import { describeAdd, describeMultiply } from './broadcast.ts';
import { describeChannelNorm } from './channel-norm.ts';
import { describeConcat } from './concat.ts';
import { describeConstant } from './constant.ts';
import { describeConv } from './conv.ts';
import { describeCurve } from './curve.ts';
import { describeElementwise } from './elementwise.ts';
import { describeGather } from './gather.ts';
import { describeLinear } from './linear.ts';
import { describeMatmul } from './matmul.ts';
import { describeNumbers } from './numbers.ts';
import { describePad } from './pad.ts';
import { describePool } from './pool.ts';
import { describePReLU } from './prelu.ts';
import { describeRecurrent } from './recurrent.ts';
import { describeReduce } from './reduce.ts';
import { describeFlatten, describeReshape } from './reshape.ts';
import { describeResize } from './resize.ts';
import { describeRowNorm } from './row-norm.ts';
import { describeScan } from './scan.ts';
import { describeScatter } from './scatter.ts';
import { describeSelect } from './select.ts';
import { describeShapeTo } from './shape-to.ts';
import { describeSoftmax } from './softmax.ts';
import { describeExpand, describeSlice, describeTranspose } from './strided.ts';
import { describeSurround } from './surround.ts';
import { describeUnary } from './unary.ts';
import { describeUpsample } from './upsample.ts';
import { describeWeighted } from './weighted.ts';
import { describeWhere } from './where.ts';
import { describeWindow } from './window.ts';

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
  describeBinary,
  describeConstant,
  describeGather,
  describeMatmul,
  describeNumbers,
  describeRecurrent,
  describeReduce,
  describeResize,
  describeScan,
  describeScatter,
  describeSelect,
  describeShapeTo,
  describeExpand,
  describeSlice,
  describeTranspose,
  describeSurround,
  describeUnary,
  describeWeighted,
  describeWhere,
  describeWindow,
];

/** What there is to say of the operations of a runner. */
export function descriptionOf(runner: Runner): Description {
  return OPERATIONS.find((description) => description.runner === runner)!;
}
