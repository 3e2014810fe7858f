// Every operation, for networks from files: those of layers, and others.

import type { Description } from '../operation.ts';
import { describeBinary } from './binary.ts';
import { describeConstant } from './constant.ts';
import { describeGather } from './gather.ts';
import { describeGridSample } from './grid-sample.ts';
import { OPERATIONS } from './list.ts';
import { describeMatmul } from './matmul.ts';
import { describeNumbers } from './numbers.ts';
import { describeRecurrent } from './recurrent.ts';
import { describeRecurrentLayer } from './recurrent-layer.ts';
import { describeReduce } from './reduce.ts';
import { describeResize } from './resize.ts';
import { describeReverse } from './reverse.ts';
import { describeScan } from './scan.ts';
import { describeScatter } from './scatter.ts';
import { describeSelect } from './select.ts';
import { describeShapeTo } from './shape-to.ts';
import { describeExpand, describeSlice, describeTranspose } from './strided.ts';
import { describeSurround } from './surround.ts';
import { describeUnary } from './unary.ts';
import { describeWeighted } from './weighted.ts';
import { describeWhere } from './where.ts';
import { describeWindow } from './window.ts';

/** What networks from files have beside layers. */
export const OTHERS: readonly Description[] = [
  describeBinary,
  describeConstant,
  describeGather,
  describeGridSample,
  describeMatmul,
  describeNumbers,
  describeRecurrent,
  describeRecurrentLayer,
  describeReduce,
  describeResize,
  describeReverse,
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

/** The description of a kind of operations. */
export function descriptionOf(kind: string): Description {
  const isIt = ({ runner }: Description) => runner.kind === kind;
  return OPERATIONS.find(isIt) ?? OTHERS.find(isIt)!;
}
