// Operations of compiled networks as operations of a graph of layers, with a gradient.

import type { Operation as GraphOperation } from '../graph/operation.ts';
import { descriptionOf } from '../graph/operations/every.ts';
import { NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { within } from '../tensors/call.ts';
import { countOf, shapeOf } from '../tensors/shape.ts';
import type { Backward } from './gradients/backward.ts';
import { gradientOf } from './operation-gradients.ts';
import type { Operation } from './operations.ts';

/** The operation as a node of a graph. A run in evaluation is that of the compiled network. */
export function evaluated(given: GraphOperation): Operation {
  const description = descriptionOf(given.kind);
  const { runner, rounded } = description;
  const operation = rounded(given);
  let gradient: Backward | undefined;
  return {
    name: given.kind,
    readsInputs: true,
    shape: (subject, where, shapes) => runner.shape(`${subject}: ${where}`, operation, shapes),
    forward(xs, y) {
      if (countOf(shapeOf(y)) === 0) return;
      within((call) => {
        const current = backend();
        const inputs = xs.map((x) => call.input(x));
        const output = call.output(y);
        const shapes = xs.map(shapeOf);
        const bytes = runner.bytes?.(operation, xs.length) ?? 0;
        const weights = bytes ? call.scratch(bytes) : 0;
        const room = runner.scratch?.(operation, shapes) ?? 0;
        const scratch = room ? call.scratch(room) : 0;
        runner.fill?.(current, operation, weights, xs.length);
        const places = inputs.map((at) => () => at);
        runner.call({
          backend: current,
          operation,
          weights,
          shapes,
          inputs: places,
          residual: () => 0,
          output: () => output,
          scratch: () => scratch,
          activation: NO_ACTIVATION,
        })();
      });
    },
    handsOn: () => false,
    backward(dy, xs, dxs) {
      gradient ??= gradientOf(given);
      if (xs.length > 0) gradient(dy, xs, dxs);
    },
    trace: (graph, values) => graph.append(given, values, NO_ACTIVATION, description),
  };
}
