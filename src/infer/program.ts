// A compiled network as data: what a file holds and a run executes. Nothing here knows where it came from.

import { type ActivationCode, activationName, NO_ACTIVATION } from '../kernels/activations.ts';
import type { Ranks } from '../layers/plan.ts';
import type { Layout } from '../types.ts';

/** y = x·Wᵀ + bias on the last axis. */
export interface LinearOperation {
  readonly kind: 'linear';
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** `[outFeatures, inFeatures]`. */
  readonly weight: Float32Array;
  readonly bias: Float32Array | null;
}

/** y = (x − center)·scale + shift by channel. */
export interface AffineOperation {
  readonly kind: 'affine';
  /** Null where no channel has one. */
  readonly center: Float32Array | null;
  readonly scale: Float32Array;
  readonly shift: Float32Array;
  readonly layout: Layout;
  readonly ranks: Ranks;
}

/** y = x: for an addition or an activation by itself. */
export interface ElementwiseOperation {
  readonly kind: 'elementwise';
}

export type Operation = LinearOperation | AffineOperation | ElementwiseOperation;

/**
 * One kernel call: y = f(operation(x) + values[add]). Values are numbered: 0 is the input, step i writes value i + 1, and the last value is the
 * output.
 */
export interface Step {
  readonly operation: Operation;
  /** The value that the operation takes. */
  readonly x: number;
  /** A value of the output's shape to add, or −1. */
  readonly add: number;
  readonly activation: ActivationCode;
}

export interface Program {
  /** For inputs of rank 2. */
  readonly flat: readonly Step[];
  /** For inputs of other ranks, where channels and features may be different axes; null where that makes no difference. */
  readonly general: readonly Step[] | null;
  /** Inputs of other ranks are refused. */
  readonly rowsOnly?: boolean;
}

/** A step in a few words. */
export function stepName({ operation, add, activation }: Step): string {
  const name =
    operation.kind === 'linear'
      ? `linear ${operation.inFeatures} → ${operation.outFeatures}`
      : operation.kind === 'affine'
        ? `affine ${operation.scale.length}`
        : 'elementwise';
  const added = add >= 0 ? ' + residual' : '';
  return `${name}${added}${activation.kind === NO_ACTIVATION.kind ? '' : `, ${activationName(activation)}`}`;
}
