// The inputs of the page: their labels, units and ranges. Labels and errors have the same words.

import type { Controls } from '../experiment.ts';
import { listed, type Text, t, type Value } from '../words.ts';

interface NumberInput {
  readonly label: Text;
  readonly unit: Text;
  readonly low: number;
  readonly high: number;
  readonly isWhole: boolean;
}

export const NUMBERS: Record<'scale' | 'rate' | 'batch' | 'depth', NumberInput> = {
  rate: { label: t`learning rate`, unit: t`times the gradient`, low: 1e-6, high: 1e9, isWhole: false },
  scale: { label: t`initial scale`, unit: t`times 1/√inputs`, low: 1e-3, high: 1e3, isWhole: false },
  depth: { label: t`hidden layers`, unit: t`layers`, low: 1, high: 30, isWhole: true },
  batch: { label: t`batch size`, unit: t`digits`, low: 1, high: 1000, isWhole: true },
};

export const CHOICES: Record<
  'norm' | 'activation',
  { readonly label: Text; readonly values: Readonly<Record<string, Text>> }
> = {
  norm: {
    label: t`norm`,
    values: {
      batch: t`batch norm`,
      none: t`no norm`,
      renorm: t`batch renorm`,
      layer: t`layer norm`,
      group: t`group norm`,
    },
  },
  activation: { label: t`activation`, values: { tanh: t`tanh`, sigmoid: t`sigmoid`, relu: t`ReLU` } },
};

export const isNumber = (name: string): name is keyof typeof NUMBERS => name in NUMBERS;
export const labelOf = (name: keyof Controls): Text => (isNumber(name) ? NUMBERS[name] : CHOICES[name]).label;

/** A value as a person reads it; choices have names. */
export const wordFor = (name: keyof Controls, value: string | number): Value =>
  typeof value === 'number' ? exactly(value) : isNumber(name) ? value : (CHOICES[name].values[value] ?? value);

const RAISED = '⁰¹²³⁴⁵⁶⁷⁸⁹';

/** A number as JavaScript writes it, with a raised power of ten. */
function raised(text: string): string {
  const [digits, power] = text.split('e');
  const ten =
    power && `10${power.startsWith('-') ? '⁻' : ''}${[...power.slice(1)].map((c) => RAISED[Number(c)]).join('')}`;
  const factor = Number(digits);
  return (ten ? (factor === 1 ? ten : `${factor}·${ten}`) : text).replace('-', '−');
}

/** Is a number so large or small that it is written with a power of ten? */
const isFar = (value: number) => value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3);

/** A number in three digits, of whatever size: 0.05, 1.2·10⁻⁷, 10⁹. */
export function shortly(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return raised(isFar(value) ? value.toExponential(1) : String(Number(value.toPrecision(3))));
}

/** A number with all of its digits. */
export const exactly = (value: number): string => raised(isFar(value) ? value.toExponential() : String(value));

/**
 * Batch norm needs two values to take a variance of. Where the norm is not to be chosen, nets with
 * batch norm take part.
 */
const lowest = (name: keyof typeof NUMBERS, { norm = 'batch' }: Readonly<Record<string, string>>) =>
  name === 'batch' && (norm === 'batch' || norm === 'renorm') ? 2 : NUMBERS[name].low;

/** What an input says of itself: unit, range and default. */
export function aboutOf(name: keyof typeof NUMBERS, initial: number, hasNorm: boolean): Text {
  const { unit, high } = NUMBERS[name];
  const low = lowest(name, hasNorm ? { norm: 'none' } : {});
  return t`${unit}; ${shortly(low)} to ${shortly(high)}, default ${initial}`;
}

/** An input that cannot be what it is, and why. */
export interface Refused {
  readonly refused: keyof Controls;
  readonly why: Text;
}

export const isRefused = (read: Partial<Controls> | Refused): read is Refused => 'refused' in read;

/** The number that was typed, or a sentence about it. */
function readNumber(name: keyof typeof NUMBERS, typed: Readonly<Record<string, string>>): number | Text {
  const { label, high, isWhole } = NUMBERS[name];
  const low = lowest(name, typed);
  const text = typed[name].trim();
  const value = text === '' ? Number.NaN : Number(text);
  if (value >= low && value <= high && (!isWhole || Number.isInteger(value))) return value;
  const got = text === '' ? t`nothing` : text;
  const [from, to] = [shortly(low), shortly(high)];
  if (low !== NUMBERS[name].low) {
    return t`${label} expected a whole number from ${from} to ${to} with batch norm, got ${got}`;
  }
  return isWhole
    ? t`${label} expected a whole number from ${from} to ${to}, got ${got}`
    : t`${label} expected a number from ${from} to ${to}, got ${got}`;
}

/** What inputs are set to, or the first that cannot be. */
export function readControls(typed: Readonly<Record<string, string>>): Partial<Controls> | Refused {
  const found: Record<string, number | string> = {};
  for (const name of Object.keys(typed) as (keyof Controls)[]) {
    if (isNumber(name)) {
      const value = readNumber(name, typed);
      if (typeof value !== 'number') return { refused: name, why: value };
      found[name] = value;
    } else {
      const { label, values } = CHOICES[name];
      if (!(typed[name] in values)) {
        return { refused: name, why: t`${label} expected one of ${listed(Object.keys(values))}, got ${typed[name]}` };
      }
      found[name] = typed[name];
    }
  }
  return found as Partial<Controls>;
}

/** Settings in words: `learning rate 0.5, batch size 8`. */
export const settingsIn = (controls: Partial<Controls>): Value =>
  listed(
    (Object.keys(controls) as (keyof Controls)[]).map((name) => t`${labelOf(name)} ${wordFor(name, controls[name]!)}`),
  );
