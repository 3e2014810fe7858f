import { show, wrongKind, wrongValue } from '../errors.ts';
import { LearnedParameter } from '../layers/parameter.ts';
import { checkNames } from '../named-options.ts';
import { floatsOf } from '../typed-arrays.ts';
import type { Parameter } from '../types.ts';

/** What optimizers have in common. */
export abstract class Optimizer {
  readonly #parameters: readonly Parameter[];

  constructor(subject: string, parameters: readonly Parameter[]) {
    if (
      !Array.isArray(parameters) ||
      !parameters.every((p) => floatsOf(p?.data) && floatsOf(p.data)!.length === floatsOf(p.grad)?.length)
    ) {
      throw wrongKind(
        'ERR_TYPE',
        subject,
        'parameters',
        'an array of { data, grad } of equal lengths',
        show(parameters),
      );
    }
    this.#parameters = [...parameters];
  }

  /** Moves every parameter that is not frozen against its gradient. */
  step(): void {
    this.#parameters.forEach((parameter, i) => {
      if (parameter.frozen) return;
      const values = parameter instanceof LearnedParameter ? parameter.values.writable : parameter.data;
      this.move(values, parameter.grad, i);
    });
  }

  /** Sets all gradients to 0. */
  zeroGrad(): void {
    for (const parameter of this.#parameters) parameter.grad.fill(0);
  }

  /** @internal One parameter, the i-th. */
  protected abstract move(values: Float32Array, grad: Float32Array, i: number): void;
}

export interface SGDOptions {
  /** Learning rate, 0 or more. Default 0.01. May be changed later: `optimizer.lr`. */
  lr?: number;
  /** Weight of the old velocity, 0 or more. Default 0. */
  momentum?: number;
  /** Pull towards 0, added to the gradient as weightDecay·value. Default 0. */
  weightDecay?: number;
  /** Nesterov's momentum. Needs `momentum` above 0. Default `false`. */
  nesterov?: boolean;
}

/**
 * Stochastic gradient descent, as torch.optim.SGD: g ← grad + weightDecay·p; v ← momentum·v + g; p ← p − lr·(g + momentum·v with
 * Nesterov, v without).
 */
export class SGD extends Optimizer {
  static override readonly name: string = 'SGD';
  lr: number;
  readonly momentum: number;
  readonly weightDecay: number;
  readonly nesterov: boolean;
  readonly #velocity = new Map<number, Float32Array>();

  /** @throws ERR_OPTION, ERR_TYPE */
  constructor(parameters: readonly Parameter[], options: SGDOptions = {}) {
    super('SGD', parameters);
    checkNames('SGD', options, ['lr', 'momentum', 'weightDecay', 'nesterov']);
    this.lr = atLeast0('SGD', 'lr', options.lr, 0.01);
    this.momentum = atLeast0('SGD', 'momentum', options.momentum, 0);
    this.weightDecay = atLeast0('SGD', 'weightDecay', options.weightDecay, 0);
    this.nesterov = options.nesterov ?? false;
    if (typeof this.nesterov !== 'boolean')
      throw wrongKind('ERR_OPTION', 'SGD', 'nesterov', 'true or false', show(this.nesterov));
    if (this.nesterov && this.momentum === 0)
      throw wrongValue('ERR_OPTION', 'SGD', 'nesterov', 'momentum above 0', '0');
  }

  protected override move(values: Float32Array, grad: Float32Array, i: number): void {
    const { lr, momentum, weightDecay, nesterov } = this;
    if (momentum === 0) {
      for (let k = 0; k < values.length; k++) values[k] -= lr * (grad[k] + weightDecay * values[k]);
      return;
    }
    let velocity = this.#velocity.get(i);
    if (!velocity) this.#velocity.set(i, (velocity = new Float32Array(values.length)));
    const ahead = nesterov ? 1 : 0;
    const pull = nesterov ? momentum : 1;
    for (let k = 0; k < values.length; k++) {
      const g = grad[k] + weightDecay * values[k];
      const v = momentum * velocity[k] + g;
      velocity[k] = v;
      values[k] -= lr * (ahead * g + pull * v);
    }
  }
}

export interface AdamOptions {
  /** Learning rate, 0 or more. Default 1e-3. May be changed later: `optimizer.lr`. */
  lr?: number;
  /** Weights of the old averages of gradient and squared gradient, each in [0, 1). Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Added to the root of the second average. Default 1e-8. */
  eps?: number;
  /** Pull towards 0, added to the gradient as weightDecay·value. Default 0. */
  weightDecay?: number;
}

/** Adam (Kingma & Ba 2015), as torch.optim.Adam. */
export class Adam extends Optimizer {
  static override readonly name: string = 'Adam';
  lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  readonly #averages = new Map<number, { steps: number; first: Float32Array; second: Float32Array }>();

  /** @throws ERR_OPTION, ERR_TYPE */
  constructor(parameters: readonly Parameter[], options: AdamOptions = {}) {
    super('Adam', parameters);
    checkNames('Adam', options, ['lr', 'betas', 'eps', 'weightDecay']);
    this.lr = atLeast0('Adam', 'lr', options.lr, 1e-3);
    this.eps = atLeast0('Adam', 'eps', options.eps, 1e-8);
    this.weightDecay = atLeast0('Adam', 'weightDecay', options.weightDecay, 0);
    const betas = options.betas ?? [0.9, 0.999];
    if (!Array.isArray(betas) || betas.length !== 2 || !betas.every((beta) => beta >= 0 && beta < 1)) {
      throw wrongValue('ERR_OPTION', 'Adam', 'betas', 'two numbers of 0 or more and below 1', show(betas));
    }
    this.betas = [betas[0], betas[1]];
  }

  protected override move(values: Float32Array, grad: Float32Array, i: number): void {
    const { lr, eps, weightDecay } = this;
    const [b1, b2] = this.betas;
    let averages = this.#averages.get(i);
    if (!averages) {
      averages = { steps: 0, first: new Float32Array(values.length), second: new Float32Array(values.length) };
      this.#averages.set(i, averages);
    }
    const { first, second } = averages;
    // counted by parameter: one that was frozen at first begins when it is not
    averages.steps++;
    const rate = lr / (1 - b1 ** averages.steps);
    const correction = Math.sqrt(1 - b2 ** averages.steps);
    for (let k = 0; k < values.length; k++) {
      const g = grad[k] + weightDecay * values[k];
      const m = b1 * first[k] + (1 - b1) * g;
      const v = b2 * second[k] + (1 - b2) * g * g;
      first[k] = m;
      second[k] = v;
      values[k] -= (rate * m) / (Math.sqrt(v) / correction + eps);
    }
  }
}

function atLeast0(subject: string, argument: string, value: number | undefined, standard: number): number {
  if (value === undefined) return standard;
  if (typeof value === 'number' && value >= 0 && value < Number.POSITIVE_INFINITY) return value;
  throw wrongValue('ERR_OPTION', subject, argument, 'a finite number of 0 or more', show(value));
}
