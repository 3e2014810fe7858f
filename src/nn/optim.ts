import { show, wrongKind, wrongValue } from '../errors.ts';
import { LearnedParameter } from '../layers/parameter.ts';
import { takeOptions } from '../named-options.ts';
import { floatsOf } from '../typed-arrays.ts';
import type { Parameter } from '../types.ts';

/** What optimizers have in common. */
export abstract class Optimizer {
  readonly #subject: string;
  readonly #parameters: readonly Parameter[];
  #lr: number;

  constructor(subject: string, parameters: readonly Parameter[], lr: number) {
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
    this.#subject = subject;
    this.#parameters = [...parameters];
    this.#lr = atLeast0(subject, 'lr', lr);
  }

  /** Learning rate. Setting it throws ERR_OPTION for anything but a finite number of 0 or more. */
  get lr(): number {
    return this.#lr;
  }

  set lr(lr: number) {
    this.#lr = atLeast0(this.#subject, 'lr', lr);
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
  readonly momentum: number;
  readonly weightDecay: number;
  readonly nesterov: boolean;
  readonly #velocity = new Map<number, Float32Array>();

  /** @throws ERR_OPTION, ERR_TYPE */
  constructor(parameters: readonly Parameter[], options: SGDOptions = {}) {
    const taken = takeOptions('SGD', options, ['lr', 'momentum', 'weightDecay', 'nesterov']);
    const { lr = 0.01, momentum = 0, weightDecay = 0, nesterov = false } = taken;
    super('SGD', parameters, lr);
    this.momentum = atLeast0('SGD', 'momentum', momentum);
    this.weightDecay = atLeast0('SGD', 'weightDecay', weightDecay);
    this.nesterov = nesterov;
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
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  readonly #averages = new Map<number, { steps: number; first: Float32Array; second: Float32Array }>();

  /** @throws ERR_OPTION, ERR_TYPE */
  constructor(parameters: readonly Parameter[], options: AdamOptions = {}) {
    const taken = takeOptions('Adam', options, ['lr', 'betas', 'eps', 'weightDecay']);
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0 } = taken;
    super('Adam', parameters, lr);
    this.eps = atLeast0('Adam', 'eps', eps);
    this.weightDecay = atLeast0('Adam', 'weightDecay', weightDecay);
    const [first, second, ...more] = Array.isArray(betas) ? Array.from(betas) : [];
    if (more.length || ![first, second].every((beta) => typeof beta === 'number' && beta >= 0 && beta < 1)) {
      throw wrongValue('ERR_OPTION', 'Adam', 'betas', 'two numbers of 0 or more and below 1', show(betas));
    }
    this.betas = [first, second];
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

function atLeast0(subject: string, argument: string, value: number): number {
  if (typeof value === 'number' && value >= 0 && value < Number.POSITIVE_INFINITY) return value;
  throw wrongValue('ERR_OPTION', subject, argument, 'a finite number of 0 or more', show(value));
}
