// What became of a network, as a table.

import type { Node, OperationGraph } from '../graph/graph.ts';
import { activationName } from '../kernels/activations.ts';
import { type Step, stepName } from './program.ts';

/** The plan as text: one line for each step, then what stayed and why, and what was dropped. */
export function explainProgram({ nodes, dropped }: OperationGraph, steps: readonly Step[]): string {
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
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  const right = [0, 3, 4, 5];
  const lines = table.map((row) =>
    row
      .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
      .join('  ')
      .trimEnd(),
  );
  const kept = nodes.filter(({ kept }) => kept).map(({ sources, kept }) => `stays: ${sources[0]}: ${kept}`);
  return [...lines, ...kept, ...dropped.map((source) => `dropped: ${source}: nothing to do in evaluation`)].join('\n');
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
