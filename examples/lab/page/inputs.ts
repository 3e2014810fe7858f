// The inputs of the page: their labels, units and ranges. Labels and errors have the same words.

import type { Controls } from '../experiment.ts';

interface NumberInput {
  readonly label: string;
  readonly unit: string;
  readonly low: number;
  readonly high: number;
  readonly isWhole: boolean;
}

export const NUMBERS: Record<'scale' | 'rate' | 'batch' | 'depth', NumberInput> = {
  rate: { label: 'learning rate', unit: 'of the gradient', low: 1e-6, high: 1e9, isWhole: false },
  scale: { label: 'initial scale', unit: 'times 1/√inputs', low: 1e-3, high: 1e3, isWhole: false },
  batch: { label: 'batch size', unit: 'digits', low: 1, high: 1000, isWhole: true },
  depth: { label: 'hidden layers', unit: 'layers', low: 1, high: 30, isWhole: true },
};

export const CHOICES = {
  norm: { label: 'norm', values: ['batch', 'none', 'renorm', 'layer', 'group'] },
  activation: { label: 'activation', values: ['tanh', 'sigmoid', 'relu'] },
} as const;

export const isNumber = (name: keyof Controls): name is keyof typeof NUMBERS => name in NUMBERS;

/** What an input says of itself: unit and range. */
export function rangeOf(name: keyof typeof NUMBERS): string {
  const { unit, low, high } = NUMBERS[name];
  return `${low} to ${high} ${unit}`;
}

/** The number that was typed, or a sentence about it. */
export function readNumber(name: keyof typeof NUMBERS, typed: string): number | string {
  const { label, low, high, isWhole } = NUMBERS[name];
  const value = typed.trim() === '' ? Number.NaN : Number(typed);
  if (value >= low && value <= high && (!isWhole || Number.isInteger(value))) return value;
  return `${label} expected ${isWhole ? 'a whole number' : 'a number'} from ${low} to ${high}, got ${typed.trim() === '' ? 'nothing' : typed}`;
}
