import { show, showShape, wrongKind, wrongValue } from '../errors.ts';
import { backend } from '../kernels/backend.ts';
import type { Backend } from '../kernels/create-backend.ts';
import { checkNames } from '../named-options.ts';
import type { PlainTensor } from '../types.ts';
import { checkShape, type PlainRecord, readPlain, shapeOf, sizeOf } from './shape.ts';
import { disposed, ownerOf, type Result, Tensor, type TensorLike } from './tensor.ts';

/**
 * Checks that an input is a live tensor whose data fit its shape. A plain array comes back in a
 * record of our own, so that what a layer keeps for backward does not change when the caller's
 * record does; one that is a view of linear memory is copied, since the view may die.
 *
 * @throws ERR_DISPOSED for a tensor that was disposed, and for a view of one
 */
export function locate(subject: string, argument: string, x: TensorLike): TensorLike {
  if (x instanceof Tensor) {
    if (x.disposed) throw disposed(subject, argument, x.shape);
    return x;
  }
  const plain = readPlain(subject, argument, x);
  if (!isView(subject, argument, plain)) return plain;
  const copy = plain.data.slice();
  const record: PlainRecord = { data: copy, shape: plain.shape, given: copy };
  return record;
}

/**
 * The same for `out`, which is written where it lies: a view of linear memory comes back as a
 * tensor over that memory.
 */
export function locateOut(subject: string, out: TensorLike): TensorLike {
  if (out instanceof Tensor) return locate(subject, 'out', out);
  const plain = readPlain(subject, 'out', out);
  return isView(subject, 'out', plain) ? new Tensor(plain.shape, plain.data.byteOffset) : plain;
}

/**
 * Is it a view of linear memory? Throws for a view of a disposed tensor, as other values may lie
 * there now.
 */
function isView(subject: string, argument: string, { data, shape, given }: PlainRecord): boolean {
  const { heap } = backend();
  if (!heap.holds(data)) return false;
  if (ownerOf(given)?.disposed || !heap.isLive(data.byteOffset, data.byteLength)) {
    throw disposed(subject, argument, shape);
  }
  return true;
}

/** Checks the options of a call by name; a tensor in their place is a forgotten `{ out }`. */
export function checkCallOptions(subject: string, options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null || options instanceof Tensor || ArrayBuffer.isView(options)) {
    throw wrongKind('ERR_OPTION', subject, 'options', `{ ${known.join(', ')} }`, show(options));
  }
  checkNames(subject, options, known);
}

/** May a kernel write its output where one of its inputs lies? */
export type Aliasing = 'in-place' | 'apart';

/**
 * Bytes from the beginning of `a` to the beginning of `b`; infinite where they lie in different
 * buffers.
 */
function distanceBetween(a: TensorLike, b: TensorLike): number {
  if (a instanceof Tensor && b instanceof Tensor) return b.ptr - a.ptr;
  return a.data.buffer === b.data.buffer ? b.data.byteOffset - a.data.byteOffset : Number.POSITIVE_INFINITY;
}

/** Do two tensors lie in the same place? */
export function sameMemory(a: TensorLike, b: TensorLike): boolean {
  return distanceBetween(a, b) === 0;
}

/** What a kernel reads, by name; all of it located. */
type Inputs = Record<string, TensorLike | undefined>;

export interface Product {
  readonly subject: string;
  /** What the result is like where there is no `out`. */
  readonly like: TensorLike;
  readonly shape: readonly number[];
  readonly out: TensorLike | undefined;
  readonly inputs: Inputs;
  readonly aliasing: Aliasing;
}

/**
 * Finds `out`, if there is one, and checks before anything is written its shape, and that its
 * memory is an input's own (if the kernel can) or apart from it.
 */
export function targetOf({ subject, shape, out: given, inputs, aliasing }: Product): TensorLike | undefined {
  if (given === undefined) return undefined;
  const out = locateOut(subject, given);
  checkShape(subject, 'out', shapeOf(out), shape, 'shape');
  for (const name in inputs) {
    const x = inputs[name];
    if (!x) continue;
    const distance = distanceBetween(out, x);
    // a plain array is copied before anything is written, so that its own memory is always good
    // enough
    if (distance === 0 && (aliasing === 'in-place' || !(out instanceof Tensor))) continue;
    if (x.data.length > 0 && distance < out.data.byteLength && -distance < x.data.byteLength) {
      throw wrongValue(
        'ERR_ALIAS',
        subject,
        'out',
        aliasing === 'in-place' ? `the memory of ${name} itself, or memory apart from it` : `memory apart from ${name}`,
        distance === 0 ? `${name} itself` : 'a partial overlap',
        `shape ${showShape(shape)}${distance ? `, ${Math.abs(distance)} bytes apart` : ''}`,
      );
    }
  }
  return out;
}

/**
 * The frame of every layer call: makes a result like the input, unless `out` was found as `target`
 * (`targetOf`); runs `work`, which finds its inputs and its output through the call; copies results
 * out, and gives borrowed memory back. After an error nothing is left behind.
 */
export function produce<O extends TensorLike>(
  product: Product,
  target: TensorLike | undefined,
  work: (call: Call, result: TensorLike) => void,
): O {
  const { like, shape, out } = product;
  const result = target ?? makeLike(like, shape);
  try {
    within(work, result);
  } catch (error) {
    if (!target && result instanceof Tensor) result.dispose();
    throw error;
  }
  return (out ?? result) as O;
}

/** Runs a piece of work on something, copies its results out, and gives back what it borrowed. */
export function within(work: (call: Call) => void): void;
export function within<T>(work: (call: Call, on: T) => void, on: T): void;
export function within<T>(work: (call: Call, on?: T) => void, on?: T): void {
  const call = new Call(backend());
  try {
    work(call, on);
    call.finish();
  } finally {
    call.end();
  }
}

/**
 * The memory of one call: inputs are found or copied in, outputs are found or reserved, everything
 * borrowed goes back at the end.
 */
export class Call {
  readonly #backend: Backend;
  #borrowed: number[] | undefined;
  #copies: { target: PlainTensor; at: number }[] | undefined;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Where a located input lies; a plain array is copied in. */
  input(x: TensorLike): number {
    if (x instanceof Tensor) return x.ptr;
    const at = this.scratch(x.data.length * 4);
    this.#backend.heap.f32.set(x.data, at >>> 2);
    return at;
  }

  /**
   * Where the output is to be written; `finish` copies it out if `target` is a plain array.
   *
   * @param over a located input of the same size that the kernel may write over where it was copied
   *   in anyway
   */
  output(target: TensorLike, over?: { x: TensorLike; at: number }): number {
    if (target instanceof Tensor) return target.ptr;
    const at = over && !(over.x instanceof Tensor) ? over.at : this.scratch(target.data.length * 4);
    this.#copies ??= [];
    this.#copies.push({ target, at });
    return at;
  }

  /** Memory for the length of the call. */
  scratch(bytes: number): number {
    const at = this.#backend.heap.alloc(bytes);
    this.#borrowed ??= [];
    this.#borrowed.push(at);
    return at;
  }

  /** Copies outputs to the plain arrays they belong in. */
  finish(): void {
    if (!this.#copies) return;
    const { f32 } = this.#backend.heap;
    for (const { target, at } of this.#copies) target.data.set(f32.subarray(at >>> 2, (at >>> 2) + target.data.length));
  }

  /** Gives borrowed memory back, once. */
  end(): void {
    if (this.#borrowed) for (const at of this.#borrowed) this.#backend.heap.free(at);
  }
}

/**
 * A new tensor of the kind of `like`: a Tensor for a Tensor, a plain array for a plain array,
 * `dims` for `dims`.
 */
export function makeLike<X extends TensorLike>(like: X, shape: readonly number[]): Result<X>;
export function makeLike(like: TensorLike, shape: readonly number[]): TensorLike {
  if (like instanceof Tensor) return new Tensor(shape);
  const data = new Float32Array(sizeOf('a result', 'out', shape));
  return 'shape' in like ? { data, shape: [...shape] } : { data, dims: [...shape] };
}

/** The same values in a plain array of their own. */
export function plainCopy(x: TensorLike): { data: Float32Array; shape: number[] } {
  return { data: x.data.slice(), shape: [...shapeOf(x)] };
}

/** The same values in new memory of the kind of `like`. */
export function copyLike<X extends TensorLike>(x: TensorLike, like: X): Result<X> {
  const copy = makeLike(like, shapeOf(x));
  (copy as TensorLike).data.set(x.data);
  return copy;
}
