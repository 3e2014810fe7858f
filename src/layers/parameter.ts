import type { Stored } from '../tensors/stored.ts';
import { Values } from '../tensors/values.ts';
import type { Parameter } from '../types.ts';
import type { StateSlot } from './state.ts';

/**
 * A learned parameter: values, and the gradient that `backward` adds to. Each is one array for as
 * long as the layer lives, made when it is asked for.
 */
export class LearnedParameter implements Parameter {
  readonly shape: readonly number[];
  /** Learned scale or shift of a norm; undefined for weights and biases. */
  readonly kind: 'gamma' | 'beta' | undefined;
  /** @internal */
  readonly values: Values;
  frozen = false;
  readonly #length: number;
  #grad: Float32Array | undefined;

  constructor(shape: readonly number[], initial: Float32Array | Stored, kind?: 'gamma' | 'beta') {
    this.kind = kind;
    this.shape = Object.freeze([...shape]);
    this.values = new Values(initial);
    this.#length = initial.length;
  }

  /** Made when it is asked for: networks that only run have none. */
  get grad(): Float32Array {
    this.#grad ??= new Float32Array(this.#length);
    return this.#grad;
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
