import { type PlainRecord, sameShape, shapeOf } from './shape.ts';
import { Tensor, type TensorLike } from './tensor.ts';

/** The inputs of a call, checked and located. */
export type ResolvedInputs = { x: TensorLike; residual: TensorLike | undefined };

/** A call's options, as far as they name tensors. */
export interface Destinations {
  readonly out?: TensorLike;
  readonly residual?: TensorLike;
}

/** Values of a call's inputs, and of its output where they are not as many. */
interface Extent {
  readonly size: number;
  readonly outSize?: number;
}

/**
 * A call that has been checked: given the same again, unchanged, a layer need not look at it again.
 */
export class Route<Plan extends Extent> {
  readonly plan: Plan;
  readonly inputs: ResolvedInputs;
  readonly out: TensorLike;
  readonly #given: readonly [x: TensorLike, residual: TensorLike | undefined, out: TensorLike];

  private constructor(
    given: readonly [TensorLike, TensorLike | undefined, TensorLike],
    plan: Plan,
    inputs: ResolvedInputs,
    out: TensorLike,
  ) {
    this.plan = plan;
    this.inputs = inputs;
    this.out = out;
    this.#given = given;
  }

  /**
   * Remembers a call with values in it and with `out`, which was found as `target`. None into a
   * view of linear memory, which may die.
   */
  static of<Plan extends Extent>(
    x: TensorLike,
    { out, residual }: Destinations,
    plan: Plan,
    inputs: ResolvedInputs,
    target: TensorLike | undefined,
  ): Route<Plan> | undefined {
    if (!out || !target || plan.size === 0 || out instanceof Tensor !== target instanceof Tensor) return undefined;
    return new Route([x, residual, out], plan, inputs, target);
  }

  /** Is a call given just what this one was? False also for options that have to be refused. */
  takes(x: TensorLike, options: Destinations): boolean {
    const given = this.#given;
    if (given[0] !== x || typeof options !== 'object' || options === null) return false;
    if (given[1] !== options.residual || given[2] !== options.out) return false;
    for (const name in options) if (name !== 'out' && name !== 'residual') return false;
    const { size, outSize = size } = this.plan;
    const { inputs } = this;
    return (
      isStill(x, inputs.x, size) && isStill(given[1], inputs.residual, size) && isStill(given[2], this.out, outSize)
    );
  }
}

/**
 * Is a tensor of `size` values still what it was when it was located? An array may have been given
 * away meanwhile, and be empty.
 */
function isStill(given: TensorLike | undefined, located: TensorLike | undefined, size: number): boolean {
  if (!given || !located) return given === located;
  if (given instanceof Tensor) return given === located && !given.disposed;
  const { given: array, data, shape } = located as PlainRecord;
  return given.data === array && data.length === size && sameShape(shapeOf(given), shape);
}
