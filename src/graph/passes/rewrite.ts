import type { OperationGraph } from '../graph.ts';
import { absorbConstants } from './absorb-constants.ts';
import { absorbPadding } from './absorb-padding.ts';
import { addResiduals } from './add-residual.ts';
import { dropIdle } from './drop-idle.ts';
import { foldBack } from './fold-back.ts';
import { foldForward } from './fold-forward.ts';
import { fuseActivations } from './fuse-activation.ts';
import { turnLayouts } from './turn-layouts.ts';

const PASSES = [
  absorbConstants,
  dropIdle,
  absorbPadding,
  foldBack,
  foldForward,
  addResiduals,
  fuseActivations,
  turnLayouts,
];

/** Rewrites a graph to as few operations as possible. Each pass relies on those before it. */
export function rewrite(graph: OperationGraph): OperationGraph {
  for (const pass of PASSES) pass(graph);
  return graph;
}
