import type { OperationGraph, Value } from '../../graph/graph.ts';
import type { ActivationCode } from '../../kernels/activations.ts';
import type { Pass } from '../../layers/leaf-layer.ts';
import type { LearnedParameter } from '../../layers/parameter.ts';
import type { Call } from '../../tensors/call.ts';
import type { ResolvedInputs } from '../../tensors/route.ts';
import type { TensorLike } from '../../tensors/tensor.ts';
import type { ChannelEngine } from './channel-engine.ts';

/** Learned arrays by their names in a state dict. */
export type LearnedArrays = { readonly [name: string]: LearnedParameter | undefined };

/**
 * What a norm works with: the layer checks and remembers calls, its engine computes. `P` is what a
 * forward finds out.
 */
export interface NormEngine<P extends Pass = Pass> {
  /** The layer in errors: `BatchNorm(64)`. */
  readonly subject: string;
  /** Learned arrays by their names in a state dict. */
  readonly learned: LearnedArrays;
  /** Applied to the output, in the same pass. */
  readonly activation: ActivationCode;
  /** Whose statistics may be observed: those of a norm of single channels. */
  readonly observable: ChannelEngine | undefined;
  /** Throws ERR_SHAPE for a shape that the norm does not take. */
  checkShape(shape: readonly number[]): void;
  /** Throws what a forward throws for an input of this shape. */
  checkForward(shape: readonly number[], training: boolean): void;
  /** Along which axis the channels of a tensor of this rank lie. */
  channelAxis(rank: number): number;
  /** Reads a shape and decides what a forward does. Throws before anything has changed. */
  begin(shape: readonly number[], options: object, training: boolean): P;
  /** The same for a call that has been checked before. */
  reuse(pass: P, training: boolean): P;
  /** The output of a batch with values in it. */
  forward(call: Call, pass: P, inputs: ResolvedInputs, out: TensorLike): void;
  /** What a forward without values does. */
  forwardEmpty(pass: P): void;
  /** Bytes of scratch for `preActivations`. */
  scratchFor(pass: P): number;
  /**
   * What the activation was applied to, worked out again piece by piece just as forward did, so
   * that corners fall the same way. `visit` is told where each piece begins and how many values it
   * has; they lie in `scratch` then.
   */
  preActivations(
    pass: P,
    x: number,
    residual: number,
    scratch: number,
    visit: (from: number, size: number) => void,
  ): void;
  /** Sets the gradients of places that do not count to 0. */
  clearMasked(call: Call, pass: P, dy: number): void;
  /**
   * dx and the gradients of learned arrays, from dy behind the activation. `dx` may be `dy` or `x`.
   */
  backward(call: Call, pass: P, x: number, dy: number, dx: number): void;
  /**
   * Mean or 1/√(variance + eps) of the last forward, a copy; `null` if it used no statistics of its
   * input.
   */
  saved(pass: P | undefined, name: 'mean' | 'invStd'): Float32Array | null;
  /** Appends what the norm does in evaluation to a graph of operations, without the activation. */
  trace(graph: OperationGraph, x: Value): Value;
  /** Gives back the linear memory the engine works in. */
  release(): void;
}
