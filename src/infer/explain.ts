// What became of a network, as a table.

import { activationName } from '../kernels/activations.ts';
import type { Node, Optimized } from './optimize.ts';
import { type Step, stepName } from './program.ts';

/** The plan as text: one line for each step, then what stayed and why, and what was dropped. */
export function explainProgram(
  { nodes, dropped }: Optimized,
  steps: readonly Step[],
  rounding: readonly (number | null)[],
): string {
  const rows = steps.map((step, i) => [
    `${i}`,
    stepName(step),
    describe(nodes[i]),
    bytesOf(step).toLocaleString('en'),
    workOf(step),
    rounding[i] === null ? '' : rounding[i]!.toExponential(1),
  ]);
  const totals = [
    '',
    'in all',
    '',
    steps.reduce((sum, step) => sum + bytesOf(step), 0).toLocaleString('en'),
    totalWork(steps),
    '',
  ];
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
  const kept = nodes
    .filter(({ operation, kept }) => operation.kind === 'affine' && kept)
    .map(({ sources, kept }) => `stays: ${sources[0]}: ${kept}`);
  return [...lines, ...kept, ...dropped.map((source) => `dropped: ${source}: nothing to do in evaluation`)].join('\n');
}

/** `0 Linear(4, 3) + 1 BatchNorm1d(3)`; layers that came twice, as a norm and its activation, are named once. */
function describe({ sources, operation, activation }: Node): string {
  const names = [...new Set(sources)];
  if (names.length) return names.join(' + ');
  return operation.kind === 'elementwise' ? activationName(activation) : operation.kind;
}

/** Bytes of weights that a run reads. */
function bytesOf({ operation }: Step): number {
  if (operation.kind === 'linear') return 4 * (operation.weight.length + (operation.bias?.length ?? 0));
  return operation.kind === 'affine' ? (operation.center ? 12 : 8) * operation.scale.length : 0;
}

/** A normalization's row may have many values in each channel: its work is per value. */
function workOf({ operation }: Step): string {
  if (operation.kind === 'linear') return operation.weight.length.toLocaleString('en');
  if (operation.kind === 'elementwise') return '0';
  return operation.ranks[0] <= 2 ? operation.scale.length.toLocaleString('en') : '1 per value';
}

function totalWork(steps: readonly Step[]): string {
  const sum = steps.reduce((total, { operation }) => {
    if (operation.kind === 'linear') return total + operation.weight.length;
    return operation.kind === 'affine' && operation.ranks[0] <= 2 ? total + operation.scale.length : total;
  }, 0);
  return sum.toLocaleString('en');
}
