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

/** Options of `Adam`. */
export interface AdamOptions extends CommonOptions {
  /** Learning rate, 0 or more. Default 1e-3. May be changed later: `optimizer.lr`. */
  lr?: number;
  /**
   * Weights of the old averages of gradient and squared gradient, each in [0, 1). Default [0.9,
   * 0.999].
   */
  betas?: readonly [number, number];
  /** Added to the root of the second average. Default 1e-8. */
  eps?: number;
  /**
   * Pull towards 0: in Adam added to the gradient as weightDecay·value, default 0; in AdamW taken
   * off the value, default 0.01.
   */
  weightDecay?: number;
  /**
   * Divides by the root of the largest second average so far (Reddi et al. 2018). Default `false`.
   */
  amsgrad?: boolean;
}

/** Options of `AdamW`: those of `Adam`, with a weight decay of 0.01 by default. */
export type AdamWOptions = AdamOptions;

const DEFAULTS: Required<AdamOptions> = {
  lr: 1e-3,
  betas: [0.9, 0.999],
  eps: 1e-8,
  weightDecay: 0,
  amsgrad: false,
  decayNorms: true,
};

/** What Adam and AdamW share: all but where the decay goes. */
abstract class AdaptiveMoments extends Optimizer<AdamOptions> {
  /**
   * Weights of the old averages, [β₁, β₂], of the first group. Setting them sets those of every
   * group.
   *
   * @throws ERR_OPTION for anything but two numbers of 0 or more and below 1
   */
  get betas(): readonly [number, number] {
    return this.get('betas');
  }

  /**
   * Sets the weights of the old averages, [β₁, β₂], of every group.
   *
   * @throws ERR_OPTION for anything but two numbers of 0 or more and below 1
   */
  set betas(betas: readonly [number, number]) {
    this.set('betas', betas);
  }

  /**
   * Added to the root of the second average; of the first group. Setting it sets that of every
   * group.
   *
   * @throws ERR_OPTION for anything but a finite number of 0 or more
   */
  get eps(): number {
    return this.get('eps');
  }

  /**
   * Sets what is added to the root of the second average, of every group.
   *
   * @throws ERR_OPTION for anything but a finite number of 0 or more
   */
  set eps(eps: number) {
    this.set('eps', eps);
  }

  /** @internal Is the decay apart from the gradient? */
  protected abstract readonly isDecoupled: boolean;

  /** @internal */
  protected override faultIn(settings: Settings): Fault | undefined {
    const { betas } = settings;
    const isPair =
      Array.isArray(betas) &&
      betas.length === 2 &&
      Array.from(betas).every((beta) => typeof beta === 'number' && beta >= 0 && beta < 1);
    return (
      faultAtLeast0(settings, ['lr', 'eps', 'weightDecay']) ??
      (isPair ? undefined : (['betas', 'two numbers of 0 or more and below 1', betas] as const)) ??
      faultBoolean(settings, ['amsgrad', 'decayNorms'])
    );
  }

  /** @internal */
  protected override get memories(): readonly string[] {
    return ['first', 'second', 'largestSecond'];
  }

  /** @internal */
  protected override remembered({ amsgrad }: Settings): readonly string[] {
    return amsgrad ? ['first', 'second', 'largestSecond'] : ['first', 'second'];
  }

  /** @internal */
  protected override move(values: Float32Array, grad: Float32Array, memory: Memory, settings: Settings): void {
    const { lr, eps, weightDecay } = settings as Record<string, number>;
    const [b1, b2] = settings.betas as readonly [number, number];
    const { steps, arrays } = memory;
    const first = (arrays.first ??= new Float32Array(values.length));
    const second = (arrays.second ??= new Float32Array(values.length));
    const largest = settings.amsgrad ? (arrays.largestSecond ??= new Float32Array(values.length)) : undefined;
    const rate = lr / (1 - b1 ** steps);
    const correction = Math.sqrt(1 - b2 ** steps);
    const pull = this.isDecoupled ? 0 : weightDecay;
    const kept = this.isDecoupled ? 1 - lr * weightDecay : 1;
    for (let k = 0; k < values.length; k++) {
      const g = grad[k] + pull * values[k];
      const m = b1 * first[k] + (1 - b1) * g;
      const v = b2 * second[k] + (1 - b2) * g * g;
      first[k] = m;
      second[k] = v;
      if (largest) largest[k] = Math.max(largest[k], v);
      values[k] = kept * values[k] - (rate * m) / (Math.sqrt(largest ? largest[k] : v) / correction + eps);
    }
  }
}

/**
 * Adam (Kingma & Ba 2015), as torch.optim.Adam, in f64 and kept in f32:
 *
 *   g ← grad + weightDecay·p     m ← β₁·m + (1 − β₁)·g     v ← β₂·v + (1 − β₂)·g²
 *   p ← p − lr/(1 − β₁ᵗ)·m / (√v/√(1 − β₂ᵗ) + eps)
 *
 * with `amsgrad` the largest v so far in place of v. t counts the steps of each parameter.
 *
 *     const optimizer = new Adam(net.parameters(), { lr: 1e-3 });
 */
export class Adam extends AdaptiveMoments {
  static override readonly name: string = 'Adam';

  /**
   * @param parameters `net.parameters()`, `namedParameters(net)`, or groups `{ parameters, lr, … }`
   * @throws ERR_OPTION for an unknown option or a value it does not take, no parameter, or one
   *   given twice; ERR_TYPE for anything but parameters
   */
  constructor(parameters: Parameters | readonly GroupOptions<AdamOptions>[], options: AdamOptions = {}) {
    super('Adam', parameters, options, DEFAULTS);
  }

  /** @internal */
  protected override get isDecoupled(): boolean {
    return false;
  }
}

/**
 * Adam with decoupled weight decay (Loshchilov & Hutter 2019), as torch.optim.AdamW:
 *
 *   p ← (1 − lr·weightDecay)·p, then the step of Adam without decay
 *
 * Decay is 0.01 by default.
 *
 *     new AdamW(net.parameters(), { lr: 1e-3, weightDecay: 0.05, decayNorms: false });
 */
export class AdamW extends AdaptiveMoments {
  static override readonly name: string = 'AdamW';

  /**
   * @param parameters `net.parameters()`, `namedParameters(net)`, or groups `{ parameters, lr, … }`
   * @throws ERR_OPTION for an unknown option or a value it does not take, no parameter, or one
   *   given twice; ERR_TYPE for anything but parameters
   */
  constructor(parameters: Parameters | readonly GroupOptions<AdamWOptions>[], options: AdamWOptions = {}) {
    super('AdamW', parameters, options, { ...DEFAULTS, weightDecay: 0.01 });
  }

  /** @internal */
  protected override get isDecoupled(): boolean {
    return true;
  }
}
