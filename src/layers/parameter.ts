import type { Parameter } from '../types.ts';
import type { StateSlot } from './state.ts';

/**
 * Values that belong to a layer and that users may read and write. They lie outside linear memory,
 * so an array that was handed out stays good when memory grows.
 *
 * Caches derived from these values check `isSame`. The check compares one version number until a
 * user takes the array, and all values afterwards.
 */
export class Values {
  readonly #values: Float32Array;
  readonly #bits: Int32Array;
  #version = 0;
  #exposed = false;

  constructor(values: Float32Array) {
    this.#values = values;
    this.#bits = bitsOf(values);
  }

  /** For users, who may write to the array at any time. */
  get open(): Float32Array {
    this.#exposed = true;
    return this.#values;
  }

  /** For reading, by code that does not keep it. */
  get now(): Float32Array {
    return this.#values;
  }

  /** For writing, by code that does not keep it. */
  get writable(): Float32Array {
    this.#version++;
    return this.#values;
  }

  /**
   * Changes whenever the values may have changed: equal stamps mean equal values. NaN, which equals
   * nothing, once a user holds the array.
   */
  get stamp(): number {
    return this.#exposed ? Number.NaN : this.#version;
  }

  /** A copy to compare with later. */
  snapshot(): Snapshot {
    const values = this.#values.slice();
    return { version: this.#version, values, bits: bitsOf(values) };
  }

  isSame({ version, bits }: Snapshot): boolean {
    if (this.#version !== version) return false;
    if (!this.#exposed) return true;
    const now = this.#bits;
    for (let i = 0; i < bits.length; i++) if (now[i] !== bits[i]) return false;
    return true;
  }
}

export interface Snapshot {
  readonly version: number;
  readonly values: Float32Array;
  /** The same as bits: a NaN is the same as itself. */
  readonly bits: Int32Array;
}

function bitsOf({ buffer, byteOffset, length }: Float32Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length);
}

/**
 * A learned parameter: values, and the gradient that `backward` adds to. Both are arrays for as
 * long as the layer lives.
 */
export class LearnedParameter implements Parameter {
  readonly shape: readonly number[];
  /** Learned scale or shift of a norm; undefined for weights and biases. */
  readonly kind: 'gamma' | 'beta' | undefined;
  readonly grad: Float32Array;
  /** @internal */
  readonly values: Values;
  frozen = false;

  constructor(shape: readonly number[], initial: Float32Array, kind?: 'gamma' | 'beta') {
    this.kind = kind;
    this.shape = Object.freeze([...shape]);
    this.values = new Values(initial);
    this.grad = new Float32Array(initial.length);
  }

  get data(): Float32Array {
    return this.values.open;
  }

  /** @internal A parameter is its own entry in a state dict, which is how names find it. */
  slot(): StateSlot {
    return this;
  }

  /** @internal */
  read(): Float32Array {
    return this.values.now.slice();
  }

  /** @internal */
  write(state: ArrayLike<number>): void {
    this.values.writable.set(state);
  }
}

/** Adds sums to the gradient of a parameter, unless it is frozen or there is none. */
export function addToGradient(parameter: LearnedParameter | undefined, sums: ArrayLike<number>): void {
  if (!parameter || parameter.frozen) return;
  const { grad } = parameter;
  for (let i = 0; i < grad.length; i++) grad[i] += sums[i];
}

/** Copies the gradients of parameters into these arrays, which are made where there are none. */
export function copyGradients(parameters: readonly Parameter[], copies: Float32Array[]): void {
  for (let i = 0; i < parameters.length; i++) {
    if (copies[i]) copies[i].set(parameters[i].grad);
    else copies[i] = parameters[i].grad.slice();
  }
}

/** Brings copied gradients back. */
export function restoreGradients(parameters: readonly Parameter[], copies: readonly Float32Array[]): void {
  parameters.forEach(({ grad }, i) => {
    grad.set(copies[i]);
  });
}

/** Copies the gradients of parameters; the function returned brings them back. */
export function gradientsOf(parameters: readonly Parameter[]): () => void {
  const copies: Float32Array[] = [];
  copyGradients(parameters, copies);
  return () => restoreGradients(parameters, copies);
}
