// Operations as loops over arrays: what is neither hot enough for a kernel nor part of one. The
// same loop runs on linear
// memory and, in f64, in a certificate.

import { countOf } from '../tensors/shape.ts';
import { indexOf } from '../wasm/views.ts';
import type { Valued } from './error-analysis.ts';
import type { Description, Fields, Operation, Runner, Shape, StoreVector } from './operation.ts';

export type Values = Float32Array | Float64Array;

/** From inputs that begin at `from` to an output that begins at `to`. */
export type Work = (xs: readonly Values[], from: readonly number[], y: Values, to: number) => void;

/** An operation in f32 as its file says it. */
export interface Plain<O extends Operation> {
  readonly kind: string;
  readonly arity: number;
  readonly overwrites?: readonly number[];
  name(operation: O): string;
  shape(subject: string, operation: O, shapes: readonly Shape[]): Shape;
  /** The loop for inputs of these shapes. */
  prepare(operation: O, shapes: readonly Shape[]): Work;
  read(fields: Fields): O;
}

export function plainRunner<O extends Operation>(plain: Plain<O>): Runner<O> {
  const { kind, arity, name, shape, read } = plain;
  return {
    kind,
    arity,
    fuses: false,
    overwrites: plain.overwrites ?? [],
    name,
    shape,
    read,
    call({ backend, operation, shapes, inputs, output }) {
      const work = plain.prepare(operation, shapes);
      const from = inputs.map(() => 0);
      const xs: Float32Array[] = inputs.map(() => backend.heap.f32);
      return () => {
        const { f32 } = backend.heap;
        for (let i = 0; i < from.length; i++) {
          from[i] = indexOf(inputs[i]());
          xs[i] = f32;
        }
        work(xs, from, f32, indexOf(output()));
      };
    },
  };
}

export interface Described<O extends Operation> {
  readonly group: string;
  readonly noun: string;
  json(operation: O, store: StoreVector): Readonly<Record<string, unknown>>;
  /**
   * How far values are off where inputs are off as `inputs` says. Default: nothing is known, which
   * is infinitely far
   * wherever an input is off at all.
   */
  /** Multiply-adds, where there are any. */
  readonly multiplyAdds?: (operation: O, shapes: readonly Shape[], output: Shape) => number;
  readonly error?: (inputs: readonly Valued[], operation: O, shape: Shape) => Float64Array;
}

export function plainDescription<O extends Operation>(
  plain: Plain<O>,
  runner: Runner<O>,
  { group, noun, json, error, multiplyAdds }: Described<O>,
): Description<O> {
  return {
    runner,
    group,
    noun,
    exact: (given) => given,
    rounded: (exact) => exact,
    rounding: () => null,
    json,
    bytes: () => 0,
    work: () => 0,
    ...(multiplyAdds && { multiplyAdds }),
    analyse(inputs, operation) {
      const shapes = inputs.map((one) => one.shape);
      const shape = plain.shape('certificate', operation, shapes);
      const value = new Float64Array(countOf(shape));
      const values = inputs.map((one) => one.value);
      plain.prepare(operation, shapes)(
        values,
        values.map(() => 0),
        value,
        0,
      );
      return { shape, value, error: error?.(inputs, operation, shape) ?? unknown(value.length) };
    },
  };
}

const unknown = (size: number) => new Float64Array(size).fill(Number.POSITIVE_INFINITY);

/** The error of an operation that only moves values: it moves errors alike. */
export function movedError<O extends Operation>(plain: Plain<O>): NonNullable<Described<O>['error']> {
  return (inputs, operation, shape) => {
    const moved = new Float64Array(countOf(shape));
    const errors = inputs.map((one) => one.error);
    plain.prepare(
      operation,
      inputs.map((one) => one.shape),
    )(
      errors,
      errors.map(() => 0),
      moved,
      0,
    );
    return moved.map(Math.abs);
  };
}

/** An axis that may be counted from the end. Throws ERR_SHAPE through `fail`. */
export function axisIn(rank: number, axis: number): number {
  return axis < 0 ? axis + rank : axis;
}
