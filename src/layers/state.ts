// State dicts: flat records of names to { data, shape }, checked whole before anything is changed.

import { show, showShape, wrongKind, wrongValue } from '../errors.ts';
import { countOf, sameShape } from '../tensors/shape.ts';
import type { StateDict } from '../types.ts';

/** One entry of a layer's state: its shape, its values now, and how to take new ones. */
export interface StateSlot {
  readonly shape: readonly number[];
  read(): Float32Array | Float64Array;
  /** What is wrong with these values, in the form "expected …"; undefined if nothing is. */
  refuse?(values: ArrayLike<number>): string | undefined;
  write(values: ArrayLike<number>): void;
}

export type StateSlots = Record<string, StateSlot>;

export function readState(slots: StateSlots): StateDict {
  return Object.fromEntries(
    Object.entries(slots).map(([name, slot]) => [name, { data: slot.read(), shape: [...slot.shape] }]),
  );
}

/**
 * Takes a whole state dict, or nothing of it.
 *
 * @throws ERR_STATE for a missing, unknown, misshapen or non-numeric entry, by name
 */
export function writeState(subject: string, slots: StateSlots, state: StateDict): void {
  if (typeof state !== 'object' || state === null) {
    throw wrongKind('ERR_STATE', subject, 'state', 'a record of names to { data, shape }', show(state));
  }
  const names = Object.keys(slots);
  for (const name of Object.keys(state)) {
    if (!Object.hasOwn(slots, name)) {
      throw wrongValue('ERR_STATE', subject, 'state', `only ${names.join(', ') || 'no entries'}`, `'${name}'`);
    }
  }
  const checked = names.map((name) => [slots[name], checkEntry(subject, name, slots[name], state)] as const);
  for (const [slot, values] of checked) slot.write(values);
}

function checkEntry(subject: string, name: string, slot: StateSlot, state: StateDict): ArrayLike<number> {
  if (!Object.hasOwn(state, name)) {
    throw wrongValue('ERR_STATE', subject, 'state', `an entry '${name}'`, 'none');
  }
  const argument = `state '${name}'`;
  const entry = state[name] as { data?: unknown; shape?: unknown } | null;
  if (typeof entry !== 'object' || entry === null || !Array.isArray(entry.shape)) {
    throw wrongKind('ERR_STATE', subject, argument, '{ data, shape }', show(entry));
  }
  if (!sameShape(entry.shape, slot.shape)) {
    throw wrongValue('ERR_STATE', subject, argument, `shape ${showShape(slot.shape)}`, showShape(entry.shape));
  }
  const values = numbersIn(entry.data);
  if (!values) throw wrongKind('ERR_STATE', subject, argument, 'numbers', show(entry.data));
  const size = countOf(slot.shape);
  if (values.length !== size) {
    throw wrongValue('ERR_STATE', subject, argument, `${size} values`, `${values.length}`);
  }
  const refusal = slot.refuse?.(values);
  if (refusal) throw wrongValue('ERR_STATE', subject, argument, refusal, show(Array.from(values)));
  return values;
}

/** Numeric arrays of any kind as numbers; undefined for anything else. */
function numbersIn(data: unknown): ArrayLike<number> | undefined {
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Array.from(data, Number);
  if (ArrayBuffer.isView(data) && !(data instanceof DataView)) return data as unknown as ArrayLike<number>;
  if (Array.isArray(data) && Array.from(data).every((value) => typeof value === 'number')) return data;
  return undefined;
}
