// What became of a network, as a table.

import type { Node, OperationGraph } from '../graph/graph.ts';
import type { Shape } from '../graph/operation.ts';
import { activationName } from '../kernels/activations.ts';
import { countOf } from '../tensors/shape.ts';
import { type Step, shapesOf, stepName } from './program.ts';

/** What a step is and costs, for inputs of known shapes. */
export interface StepPlan {
  /** The operation in a few words: `conv 3×3 64 → 128, relu`. */
  readonly step: string;
  /** The layers and nodes in it. */
  readonly layers: string;
  /** The shape of its output. */
  readonly shape: readonly number[];
  /** Bytes of weights. */
  readonly bytes: number;
  /** Of a whole batch; one for each value where an operation has none. */
  readonly multiplyAdds: number;
}

/** Every step for inputs of these shapes. @throws ERR_SHAPE */
export function planOf({ nodes, inputs }: OperationGraph, steps: readonly Step[], given: readonly Shape[]): StepPlan[] {
  const shapes = shapesOf('compiled network', { steps, outputs: [] }, given);
  return steps.map((step, i) => {
    const { description } = nodes[i];
    const shape = shapes[inputs.length + i];
    const own = step.inputs.map((value) => shapes[value]);
    const work = description.work(step.operation);
    const standard = () => (work === null ? countOf(shape) : work * (shape[0] ?? 1));
    return {
      step: stepName(step),
      layers: madeOf(nodes[i]),
      shape,
      bytes: description.bytes(step.operation),
      multiplyAdds: description.multiplyAdds?.(step.operation, own, shape) ?? standard(),
    };
  });
}

/** A table as text; columns of numbers stand to the right. */
export function tableOf(table: readonly (readonly string[])[], right: readonly number[]): string[] {
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  return table.map((row) =>
    row
      .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
      .join('  ')
      .trimEnd(),
  );
}

/** What stayed as it was and why, and what was dropped. */
const remarks = ({ nodes, dropped }: OperationGraph) => [
  ...nodes.filter(({ kept }) => kept).map(({ sources, kept }) => `stays: ${sources[0]}: ${kept}`),
  ...dropped.map((source) => `dropped: ${source}: nothing to do in evaluation`),
];

/** The plan for inputs of known shapes as text. */
export function explainShapes(graph: OperationGraph, steps: readonly Step[], given: readonly Shape[]): string {
  const plan = planOf(graph, steps, given);
  const shown = (value: number) => value.toLocaleString('en');
  const total = (of: 'bytes' | 'multiplyAdds') => shown(plan.reduce((sum, one) => sum + one[of], 0));
  const rows = plan.map(({ step, layers, shape, bytes, multiplyAdds }, i) => {
    const { description, operation } = graph.nodes[i];
    const rounding = description.rounding(operation, steps[i].operation);
    const words = [shape.join('×'), bytes ? shown(bytes) : '', multiplyAdds ? shown(multiplyAdds) : ''];
    return [`${i}`, step, layers, ...words, rounding === null ? '' : rounding.toExponential(1)];
  });
  const head = ['', 'step', 'made of', 'shape', 'bytes', 'multiply-adds', 'rounding per unit of input'];
  const totals = ['', 'in all', '', '', total('bytes'), total('multiplyAdds'), ''];
  return [...tableOf([head, ...rows, totals], [0, 4, 5, 6]), ...remarks(graph)].join('\n');
}

/** The plan as text: one line for each step, then what stayed and why, and what was dropped. */
export function explainProgram(graph: OperationGraph, steps: readonly Step[]): string {
  const { nodes } = graph;
  const shown = (value: number | null, otherwise: string) => value?.toLocaleString('en') ?? otherwise;
  const total = (values: readonly (number | null)[]) =>
    values.reduce<number>((sum, value) => sum + (value ?? 0), 0).toLocaleString('en');
  const facts = steps.map((step, i) => {
    const { description, operation } = nodes[i];
    return {
      bytes: description.bytes(step.operation),
      work: description.work(step.operation),
      words: description.workWords?.(step.operation) ?? '1 per value',
      rounding: description.rounding(operation, step.operation),
    };
  });
  const rows = steps.map((step, i) => {
    const { bytes, work, words, rounding } = facts[i];
    return [
      `${i}`,
      stepName(step),
      madeOf(nodes[i]),
      shown(bytes, ''),
      // a row may have many values in each channel: the work is per value
      shown(work, words),
      rounding === null ? '' : rounding.toExponential(1),
    ];
  });
  const totals = ['', 'in all', '', total(facts.map(({ bytes }) => bytes)), total(facts.map(({ work }) => work)), ''];
  const table = [
    ['', 'step', 'made of', 'bytes', 'multiply-adds per row', 'rounding per unit of input'],
    ...rows,
    totals,
  ];
  return [...tableOf(table, [0, 3, 4, 5]), ...remarks(graph)].join('\n');
}

/**
 * `0 Linear(4, 3) + 1 BatchNorm1d(3)`; layers that came twice, as a norm and its activation, are
 * named once.
 */
function madeOf({ sources, description, operation, activation }: Node): string {
  const names = [...new Set(sources)];
  if (names.length) return names.join(' + ');
  return activation.kind ? activationName(activation) : description.runner.name(operation);
}
