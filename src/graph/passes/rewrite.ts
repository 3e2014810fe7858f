import type { OperationGraph } from '../graph.ts';
import { addResiduals } from './add-residual.ts';
import { dropIdle } from './drop-idle.ts';
import { foldBack } from './fold-back.ts';
import { foldForward } from './fold-forward.ts';
import { fuseActivations } from './fuse-activation.ts';

/** Rewrites a graph to as few operations as possible. Each pass relies on those before it. */
export function rewrite(graph: OperationGraph): OperationGraph {
  for (const pass of [dropIdle, foldBack, foldForward, addResiduals, fuseActivations]) pass(graph);
  return graph;
}
