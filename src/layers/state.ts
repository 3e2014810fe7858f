// State dicts: flat records of names to { data, shape }, checked whole before anything is changed.

import { show, showShape, wrongKind, wrongValue } from '../errors.ts';
import { flag, readSchema } from '../named-options.ts';
import { countOf, sameShape } from '../tensors/shape.ts';
import { listOf, viewOf } from '../typed-arrays.ts';
import type { StateDict } from '../types.ts';

/** One entry of a layer's state: its shape, its values now, and how to take new ones. */
export interface StateSlot {
  /** The shape that an entry must have. */
  readonly shape: readonly number[];
  /** A copy of the values now. */
  read(): Float32Array | Float64Array;
  /** What is wrong with these values, in the form "expected …"; undefined if nothing is. */
  refuse?(values: ArrayLike<number>): string | undefined;
  /** Takes values of the right number, already checked. */
  write(values: ArrayLike<number>): void;
}

/** A layer's state by the names of its entries, as `stateDict` lists them. */
export type StateSlots = Record<string, StateSlot>;

export function readState(slots: StateSlots): StateDict {
  return Object.fromEntries(
    Object.entries(slots).map(([name, slot]) => [name, { data: slot.read(), shape: [...slot.shape] }]),
  );
}

/** How a state dict is loaded. */
export interface LoadOptions {
  /**
   * `false`: entries that are missing leave what they are for as it is, and unknown ones are passed
   * by. Default `true`: both are errors.
   */
  strict?: boolean;
}

/**
 * What a state dict did not have, and what nothing took of it; both empty where it had to be whole.
 */
export interface LoadReport {
  /** Entries that the layer has and the state dict has not. */
  readonly missing: readonly string[];
  /** Entries of the state dict that the layer has not. */
  readonly unexpected: readonly string[];
}

/**
 * Takes a whole state dict, or nothing of it; where it need not be whole, what there is of it.
 *
 * @throws ERR_STATE for a missing or unknown entry, by name, unless it need not be whole; for a
 *   misshapen or non-numeric one
 */
export function writeState(
  subject: string,
  slots: StateSlots,
  state: StateDict,
  options: LoadOptions = {},
): LoadReport {
  const { strict } = readSchema(subject, options, { strict: flag(true) });
  if (typeof state !== 'object' || state === null) {
    throw wrongKind('ERR_STATE', subject, 'state', 'a record of names to { data, shape }', show(state));
  }
  const names = Object.keys(slots);
  const unexpected = Object.keys(state).filter((name) => !Object.hasOwn(slots, name));
  if (strict && unexpected.length) {
    const isTorch = Object.keys(state).some((name) => name.endsWith('running_mean'));
    throw wrongValue(
      'ERR_STATE',
      subject,
      'state',
      `only ${names.join(', ') || 'no entries'}`,
      `'${unexpected[0]}'`,
      isTorch ? 'fromTorch of evenkeel/weights reads names of PyTorch' : undefined,
    );
  }
  const missing = names.filter((name) => !Object.hasOwn(state, name));
  const checked = names
    .filter((name) => strict || Object.hasOwn(state, name))
    .map((name) => [slots[name], checkEntry(subject, name, slots[name], state)] as const);
  for (const [slot, values] of checked) slot.write(values);
  return { missing, unexpected };
}

function checkEntry(subject: string, name: string, slot: StateSlot, state: StateDict): ArrayLike<number> {
  if (!Object.hasOwn(state, name)) {
    throw wrongValue('ERR_STATE', subject, 'state', `an entry '${name}'`, 'none');
  }
  const argument = `state '${name}'`;
  const entry = state[name] as { data?: unknown; shape?: unknown } | null;
  const shape = typeof entry === 'object' && entry !== null ? listOf(entry.shape) : undefined;
  if (!shape) throw wrongKind('ERR_STATE', subject, argument, '{ data, shape }', show(entry));
  if (!sameShape(shape as ArrayLike<number>, slot.shape)) {
    throw wrongValue('ERR_STATE', subject, argument, `shape ${showShape(slot.shape)}`, showShape(Array.from(shape)));
  }
  const { data } = entry!;
  const values = numbersIn(data);
  if (!values) throw wrongKind('ERR_STATE', subject, argument, 'numbers', show(data));
  const size = countOf(slot.shape);
  if (values.length !== size) {
    throw wrongValue('ERR_STATE', subject, argument, `${size} values`, `${values.length}`);
  }
  const refusal = slot.refuse?.(values);
  if (refusal) throw wrongValue('ERR_STATE', subject, argument, refusal, show(Array.from(values)));
  return values;
}

/**
 * Numeric arrays of any kind as a copy in numbers, so that taking them cannot fail; undefined for
 * anything else.
 */
function numbersIn(data: unknown): ArrayLike<number> | undefined {
  const view = viewOf(data);
  if (view instanceof BigInt64Array || view instanceof BigUint64Array) return Array.from(view, Number);
  if (view) return view.slice();
  if (!Array.isArray(data)) return undefined;
  const values = Array.from(data);
  return values.every((value) => typeof value === 'number') ? values : undefined;
}
