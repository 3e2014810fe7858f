/// <reference lib="esnext.disposable" preserve="true" />

import { show, showShape, wrongKind, wrongMoment, wrongValue } from '../errors.ts';
import { backend } from '../kernels/backend.ts';
import { floatsOf } from '../typed-arrays.ts';
import type { PlainTensor } from '../types.ts';
import type { Heap } from '../wasm/memory.ts';
import { countOf, readShape } from './shape.ts';

/**
 * Anything a layer takes: a `Tensor`, which lives in linear memory and is used where it lies, or a
 * plain array, which is copied in and out.
 */
export type TensorLike = Tensor | PlainTensor;

/**
 * What a layer returns for an input of type X. The result lives where the input lives, and names
 * its shape as the input does (`shape` or `dims`).
 */
export type Result<X> = X extends Tensor
  ? Tensor
  : X extends {
        /** The name that X uses for its shape. */
        dims: readonly number[];
      }
    ? {
        /** Values, row-major. */
        data: Float32Array;
        /** Length of each axis, outermost first. */
        dims: number[];
      }
    : {
        /** Values, row-major. */
        data: Float32Array;
        /** Length of each axis, outermost first. */
        shape: number[];
      };

/** The rank of an input of type X: a literal where its shape is one, else `number`. */
export type RankOf<X> = X extends {
  /** A shape, if its length is a literal. */
  readonly shape: infer S extends readonly unknown[];
}
  ? S['length']
  : X extends {
        /** The same under its other name. */
        readonly dims: infer S extends readonly unknown[];
      }
    ? S['length']
    : number;

/**
 * What an input of type X must be besides: of one of the ranks R, where its shape is a literal that
 * says its rank.
 */
export type OfRank<X, R extends number> = number extends R
  ? unknown
  : number extends RankOf<X>
    ? unknown
    : RankOf<X> extends R
      ? unknown
      : {
          /** A shape of such a rank. */
          readonly shape: readonly number[] & {
            /** The rank. */
            readonly length: R;
          };
        };

/** Frees what a program forgot. A net only: it never runs in a synchronous loop. */
const forgotten = /* @__PURE__ */ new FinalizationRegistry<{ heap: Heap; ptr: number }>(({ heap, ptr }) =>
  heap.free(ptr),
);

/**
 * The tensor that each view of linear memory was handed out by. As long as a view is held, its
 * tensor lives.
 */
const owners = /* @__PURE__ */ new WeakMap<Float32Array, Tensor>();

/** @internal The tensor whose `data` an array is or was; undefined for any other. */
export function ownerOf(data: Float32Array): Tensor | undefined {
  return owners.get(data);
}

/** The tensors made inside the `tidy` calls under way, innermost last. */
const scopes: Set<Tensor>[] = [];

/**
 * f32 values in linear memory, row-major. Kernels use them where they lie; `tensor` and `zeros`
 * make them.
 *
 *     using x = tensor([1, 2, 3, 4], [2, 2]);
 *     const y = layer.forward(x);   // a Tensor as well: no copies
 *     y.data;                       // Float32Array(4)
 *
 * A tensor ends by `dispose()`, by `using`, or at the end of the `tidy` it was made in. Tensors
 * that a network returns belong to the network (see `Sequential`).
 */
export class Tensor implements Disposable {
  readonly #shape: readonly number[];
  readonly #size: number;
  readonly #heap: Heap;
  readonly #owned: boolean;
  #ptr: number;
  #view: Float32Array | undefined;
  #companion: Tensor | undefined;
  #host: Tensor | undefined;

  /** @internal Use `tensor` or `zeros`. `at`: memory of another owner. */
  constructor(shape: readonly number[], at?: number) {
    this.#shape = Object.freeze(readShape('Tensor', 'x', shape));
    this.#size = countOf(this.#shape);
    this.#heap = backend().heap;
    this.#owned = at === undefined;
    this.#ptr = at ?? this.#heap.alloc(this.#size * 4);
    if (this.#owned) {
      forgotten.register(this, { heap: this.#heap, ptr: this.#ptr }, this);
      scopes.at(-1)?.add(this);
    }
  }

  /** @internal A tensor that no `tidy` disposes: for layers, which dispose it themselves. */
  static unscoped(shape: readonly number[]): Tensor {
    const result = new Tensor(shape);
    for (const scope of scopes) scope.delete(result);
    return result;
  }

  /** Sizes along each axis. */
  get shape(): readonly number[] {
    return this.#shape;
  }

  /** Number of values. */
  get size(): number {
    return this.#size;
  }

  /**
   * The values. Taken afresh when memory has grown since the last time, so ask for it again rather
   * than keep it. As long as this array is held the tensor is not collected; parts of it
   * (`subarray`) do not hold the tensor.
   *
   * @throws ERR_DISPOSED
   */
  get data(): Float32Array {
    const { buffer } = this.#heap;
    if (this.#ptr === 0) throw disposed('Tensor', 'data', this.#shape);
    if (this.#view?.buffer !== buffer) {
      this.#view = new Float32Array(buffer as ArrayBuffer, this.#ptr, this.#size);
      owners.set(this.#view, this);
    }
    return this.#view;
  }

  /** `true` after `dispose()`: reading `data` then throws ERR_DISPOSED. */
  get disposed(): boolean {
    return this.#ptr === 0;
  }

  /** @internal Where it lies in linear memory; 0 after dispose(). */
  get ptr(): number {
    return this.#ptr;
  }

  /**
   * @internal A tensor of the same shape that lives and dies with this one: where a loss puts its
   *   gradient. Made at the first call.
   */
  get companion(): Tensor {
    if (!this.#companion) {
      this.#companion = Tensor.unscoped(this.shape);
      this.#companion.#host = this;
    }
    return this.#companion;
  }

  /** @internal Makes a companion a tensor of its own. */
  leaveHost(): void {
    if (this.#host) this.#host.#companion = undefined;
    this.#host = undefined;
  }

  /** Gives the memory back. Doing so twice is harmless. */
  dispose(): void {
    if (this.#ptr === 0) return;
    this.#companion?.dispose();
    if (this.#owned) {
      forgotten.unregister(this);
      this.#heap.free(this.#ptr);
      for (const scope of scopes) scope.delete(this);
    }
    this.#ptr = 0;
  }

  /**
   * What programs are shown. Not a static name, as layers have: with one, each `instanceof` takes
   * V8 25 ns longer.
   */
  get [Symbol.toStringTag](): string {
    return 'Tensor';
  }

  /** `dispose()`, at the end of a block that declares the tensor with `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

export function disposed(subject: string, argument: string, shape: readonly number[]): Error {
  return wrongMoment(
    'ERR_DISPOSED',
    subject,
    argument,
    'a live tensor',
    'one that was disposed',
    `shape ${showShape(shape)}`,
  );
}

/**
 * Copies values into linear memory.
 *
 *     const x = tensor(Float32Array.of(1, 2, 3, 4), [2, 2]);
 *
 * @param data values, row-major
 * @param shape lengths by axis; their product is the number of values
 * @throws ERR_SHAPE where shape and values differ; ERR_TYPE for anything but numbers; ERR_MEMORY
 */
export function tensor(data: Float32Array | readonly number[], shape: readonly number[]): Tensor {
  let values: ArrayLike<number> | undefined = floatsOf(data);
  if (!values && Array.isArray(data)) {
    values = Array.from(data);
    const at = Array.prototype.findIndex.call(values, (value) => typeof value !== 'number');
    if (at >= 0) throw wrongKind('ERR_TYPE', 'tensor', `data[${at}]`, 'a number', show(values[at]));
  }
  if (!values) throw wrongKind('ERR_TYPE', 'tensor', 'data', 'a Float32Array or an array of numbers', show(data));
  const sizes = readShape('tensor', 'data', shape);
  const size = countOf(sizes);
  if (values.length !== size) {
    throw wrongValue('ERR_SHAPE', 'tensor', 'data', `${size} values`, `${values.length}`, `shape ${showShape(sizes)}`);
  }
  // values that are a view of linear memory: growth would take them away
  const source = values instanceof Float32Array && backend().heap.holds(values) ? values.slice() : values;
  const result = new Tensor(sizes);
  result.data.set(source);
  return result;
}

/**
 * A tensor of zeros.
 *
 *     const out = zeros([32, 10]);
 *
 * @param shape lengths by axis, integers of 0 or more
 * @throws ERR_SHAPE for anything else; ERR_MEMORY for more values than memory holds
 */
export function zeros(shape: readonly number[]): Tensor {
  const result = new Tensor(shape);
  result.data.fill(0);
  return result;
}

/**
 * Runs `work` and disposes every tensor made inside it, but for those it returns: a tensor, or an
 * array or record of tensors. What an outer `tidy` surrounds belongs to that one afterwards.
 *
 *     const y = tidy(() => layer.forward(tensor(values, [32, 4])));   // the input is gone
 *
 * @param work what to run, synchronously
 * @throws ERR_TYPE for anything but a function; what `work` throws
 */
export function tidy<T>(work: () => T): T {
  if (typeof work !== 'function') throw wrongKind('ERR_TYPE', 'tidy', 'work', 'a function', show(work));
  const scope = new Set<Tensor>();
  scopes.push(scope);
  let survivors: Tensor[] = [];
  try {
    const result = work();
    survivors = tensorsIn(result);
    return result;
  } finally {
    scopes.pop();
    const outer = scopes.at(-1);
    for (const survivor of survivors) {
      survivor.leaveHost();
      if (scope.delete(survivor)) outer?.add(survivor);
    }
    for (const left of scope) left.dispose();
  }
}

function tensorsIn(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value];
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return [];
  if (value instanceof Promise) {
    throw wrongKind('ERR_TYPE', 'tidy', 'work', 'a synchronous function', 'one that returns a Promise');
  }
  return Object.values(value).flatMap((part) =>
    part instanceof Tensor ? [part] : Array.isArray(part) ? tensorsIn(part) : [],
  );
}
