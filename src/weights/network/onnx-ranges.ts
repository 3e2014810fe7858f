// Matrices that follow from their lengths: identities and triangles.

import type { Operation as GraphOperation } from '../../graph/operation.ts';
import { type Flow, lengthsFor } from './draft.ts';
import type { Call } from './onnx-call.ts';
import { binary, reshaped } from './onnx-layers.ts';
import type { Sym } from './terms.ts';

/** 0, 1, … up to a length. */
export function rangeOf(call: Call, length: Sym): Flow {
  const { lengths, inputs } = lengthsFor([0, length, 1], []);
  const operation = { kind: 'numbers', as: 'range', numbers: lengths, value: 0, shape: [] } as GraphOperation;
  return call.draft.operate(operation, inputs, [length], 'I64');
}

/**
 * Where column − row − k compares with 0 as said: of 'equal' the diagonal, of 'less-equal' the
 * lower triangle.
 */
export function triangle(
  call: Call,
  rows: Sym,
  columns: Sym,
  k: number,
  of: 'equal' | 'less-equal' | 'greater-equal',
): Flow {
  const row = call.draft.add(
    reshaped(call, rangeOf(call, rows), [rows, 1]),
    call.draft.constant({ dtype: 'I64', shape: [], data: Float64Array.of(k) }),
  );
  return binary(call, of, rangeOf(call, columns), row, 'BOOL');
}

/** Ones on the diagonal k, and zeros. */
export const eye = (call: Call, rows: Sym, columns: Sym, k: number, dtype: string): Flow =>
  call.draft.retyped(triangle(call, rows, columns, k, 'equal'), dtype);
