import {
  type CommonOptions,
  type Fault,
  faultAtLeast0,
  faultBoolean,
  type GroupOptions,
  type Memory,
  Optimizer,
  type Settings,
} from './optimizer.ts';
import type { Parameters } from './parameters.ts';

/** Options of `RMSprop`. */
export interface RMSpropOptions extends CommonOptions {
  /** Learning rate, 0 or more. Default 0.01. May be changed later: `optimizer.lr`. */
  lr?: number;
  /** Weight of the old average of squared gradients, in [0, 1). Default 0.99. */
  alpha?: number;
  /** Added to the root of the average. Default 1e-8. */
  eps?: number;
  /** Pull towards 0, added to the gradient as weightDecay·value. Default 0. */
  weightDecay?: number;
  /** Weight of the old velocity, 0 or more. Default 0. */
  momentum?: number;
  /**
   * Divides by the root of the gradient's variance: less the square of its average. Default
   * `false`.
   */
  centered?: boolean;
}

const DEFAULTS: Required<RMSpropOptions> = {
  lr: 0.01,
  alpha: 0.99,
  eps: 1e-8,
  weightDecay: 0,
  momentum: 0,
  centered: false,
  decayNorms: true,
};

/**
 * RMSprop (Tieleman & Hinton 2012; centred: Graves 2013), as torch.optim.RMSprop, in f64 and kept
 * in f32:
 *
 *   g ← grad + weightDecay·p     s ← α·s + (1 − α)·g²     d = √s + eps
 *   p ← p − lr·g/d; with momentum b ← momentum·b + g/d and p ← p − lr·b
 *
 * centred with a ← α·a + (1 − α)·g and d = √(s − a²) + eps, where a negative s − a², which only
 * rounding makes, counts as 0.
 *
 *     const optimizer = new RMSprop(net.parameters(), { lr: 0.01, momentum: 0.9 });
 */
export class RMSprop extends Optimizer<RMSpropOptions> {
  static override readonly name: string = 'RMSprop';

  /**
   * @param parameters `net.parameters()`, `namedParameters(net)`, or groups `{ parameters, lr, … }`
   * @throws ERR_OPTION for an unknown option or a value it does not take, no parameter, or one
   *   given twice; ERR_TYPE for anything but parameters
   */
  constructor(parameters: Parameters | readonly GroupOptions<RMSpropOptions>[], options: RMSpropOptions = {}) {
    super('RMSprop', parameters, options, DEFAULTS);
  }

  /**
   * Weight of the old velocity, of the first group. Setting it sets that of every group.
   *
   * @throws ERR_OPTION for anything but a finite number of 0 or more
   */
  get momentum(): number {
    return this.get('momentum');
  }

  /**
   * Sets the weight of the old velocity, of every group.
   *
   * @throws ERR_OPTION for anything but a finite number of 0 or more
   */
  set momentum(momentum: number) {
    this.set('momentum', momentum);
  }

  /** @internal */
  protected override faultIn(settings: Settings): Fault | undefined {
    const { alpha } = settings;
    const isWeight = typeof alpha === 'number' && alpha >= 0 && alpha < 1;
    return (
      faultAtLeast0(settings, ['lr', 'eps', 'weightDecay', 'momentum']) ??
      (isWeight ? undefined : (['alpha', 'a number of 0 or more and below 1', alpha] as const)) ??
      faultBoolean(settings, ['centered', 'decayNorms'])
    );
  }

  /** @internal */
  protected override get memories(): readonly string[] {
    return ['square', 'average', 'velocity'];
  }

  /** @internal */
  protected override remembered({ centered, momentum }: Settings): readonly string[] {
    return ['square', ...(centered ? ['average'] : []), ...(momentum === 0 ? [] : ['velocity'])];
  }

  /** @internal */
  protected override move(values: Float32Array, grad: Float32Array, { arrays }: Memory, settings: Settings): void {
    const { lr, alpha, eps, weightDecay, momentum } = settings as Record<string, number>;
    const make = (name: string) => (arrays[name] ??= new Float32Array(values.length));
    const square = make('square');
    const average = settings.centered ? make('average') : undefined;
    const velocity = momentum === 0 ? undefined : make('velocity');
    for (let k = 0; k < values.length; k++) {
      const g = grad[k] + weightDecay * values[k];
      const s = alpha * square[k] + (1 - alpha) * g * g;
      square[k] = s;
      let variance = s;
      if (average) {
        const a = alpha * average[k] + (1 - alpha) * g;
        average[k] = a;
        variance = Math.max(s - a * a, 0);
      }
      const ratio = g / (Math.sqrt(variance) + eps);
      if (!velocity) values[k] -= lr * ratio;
      else {
        const b = momentum * velocity[k] + ratio;
        velocity[k] = b;
        values[k] -= lr * b;
      }
    }
  }
}
