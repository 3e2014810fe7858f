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

/** Options of `SGD`. */
export interface SGDOptions extends CommonOptions {
  /** Learning rate, 0 or more. Default 0.01. May be changed later: `optimizer.lr`. */
  lr?: number;
  /** Weight of the old velocity, 0 or more. Default 0. */
  momentum?: number;
  /**
   * Takes from the weight of a new gradient in the velocity, except the first: 1 − dampening.
   * Finite; default 0.
   */
  dampening?: number;
  /** Pull towards 0, added to the gradient as weightDecay·value. Default 0. */
  weightDecay?: number;
  /** Nesterov's momentum. Needs `momentum` above 0 and no dampening. Default `false`. */
  nesterov?: boolean;
}

const DEFAULTS: Required<SGDOptions> = {
  lr: 0.01,
  momentum: 0,
  dampening: 0,
  weightDecay: 0,
  nesterov: false,
  decayNorms: true,
};

/**
 * Stochastic gradient descent, as torch.optim.SGD, in f64 and kept in f32:
 *
 *   g ← grad + weightDecay·p     v ← momentum·v + (1 − dampening)·g, at first v ← g
 *   p ← p − lr·(g + momentum·v) with Nesterov, p ← p − lr·v without
 *
 *     const optimizer = new SGD(net.parameters(), { lr: 0.1, momentum: 0.9 });
 */
export class SGD extends Optimizer<SGDOptions> {
  static override readonly name: string = 'SGD';

  /**
   * @param parameters `net.parameters()`, `namedParameters(net)`, or groups `{ parameters, lr, … }`
   * @throws ERR_OPTION for an unknown option or a value it does not take, no parameter, or one
   *   given twice; ERR_TYPE for anything but parameters
   */
  constructor(parameters: Parameters | readonly GroupOptions<SGDOptions>[], options: SGDOptions = {}) {
    super('SGD', parameters, options, DEFAULTS);
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

  /**
   * Nesterov's momentum, of the first group. Setting it sets that of every group.
   *
   * @throws ERR_OPTION for anything but true or false, and for `true` without momentum or with
   *   dampening
   */
  get nesterov(): boolean {
    return this.get('nesterov');
  }

  /**
   * Turns Nesterov's momentum on or off, in every group.
   *
   * @throws ERR_OPTION for anything but true or false, and for `true` without momentum or with
   *   dampening
   */
  set nesterov(nesterov: boolean) {
    this.set('nesterov', nesterov);
  }

  /** @internal */
  protected override faultIn(settings: Settings): Fault | undefined {
    const fault =
      faultAtLeast0(settings, ['lr', 'momentum', 'weightDecay']) ??
      (Number.isFinite(settings.dampening)
        ? undefined
        : (['dampening', 'a finite number', settings.dampening] as const)) ??
      faultBoolean(settings, ['nesterov', 'decayNorms']);
    if (fault || !settings.nesterov) return fault;
    if (settings.momentum === 0) return ['nesterov', 'momentum above 0', 0];
    return settings.dampening === 0 ? undefined : ['nesterov', 'no dampening', settings.dampening];
  }

  /** @internal */
  protected override get memories(): readonly string[] {
    return ['velocity'];
  }

  /** @internal */
  protected override remembered({ momentum }: Settings): readonly string[] {
    return momentum === 0 ? [] : ['velocity'];
  }

  /** @internal */
  protected override move(values: Float32Array, grad: Float32Array, { arrays }: Memory, settings: Settings): void {
    const { lr, momentum, dampening, weightDecay, nesterov } = settings as Record<string, number>;
    if (momentum === 0) {
      for (let k = 0; k < values.length; k++) values[k] -= lr * (grad[k] + weightDecay * values[k]);
      return;
    }
    const weight = arrays.velocity ? 1 - dampening : 1;
    const velocity = (arrays.velocity ??= new Float32Array(values.length));
    const ahead = nesterov ? 1 : 0;
    const pull = nesterov ? momentum : 1;
    for (let k = 0; k < values.length; k++) {
      const g = grad[k] + weightDecay * values[k];
      const v = momentum * velocity[k] + weight * g;
      velocity[k] = v;
      values[k] -= lr * (ahead * g + pull * v);
    }
  }
}
