// Optimizers, schedules and losses against PyTorch's in float64 (test/fixtures/training).

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  Adam,
  AdamW,
  bceWithLogits,
  CosineLR,
  clipGradNorm,
  crossEntropy,
  huber,
  mse,
  OneCycle,
  type Optimizer,
  type Parameter,
  RMSprop,
  type Schedule,
  SGD,
  StepLR,
  tensor,
  WarmUp,
} from '../../src/index.ts';
import { worstDifference } from '../support/data.ts';

interface Reference {
  shapes: number[][];
  initial: number[][];
  gradients: number[][][];
  optimizers: { name: 'SGD' | 'Adam' | 'AdamW' | 'RMSprop'; options: object; states: number[][] }[];
  groups: number[][];
  schedules: Record<string, { lr: number[]; momentum: number[] }>;
  inputs: Record<'logits' | 'deep' | 'soft' | 'values' | 'targets' | 'chances', number[]>;
  losses: { name: string; loss: number[]; grad: number[]; labels?: number[]; options: object }[];
  clipped: { norm: number; gradients: number[] };
}

const reference: Reference = JSON.parse(
  readFileSync(new URL('../fixtures/training/torch.json', import.meta.url), 'utf8'),
);
const KINDS = { SGD, Adam, AdamW, RMSprop };

const parameters = (): Parameter[] =>
  reference.initial.map((values, i) => ({
    data: Float32Array.from(values),
    grad: new Float32Array(values.length),
    shape: reference.shapes[i],
    frozen: false,
  }));

/**
 * 100 steps with the gradients given; after every tenth the worst difference, over the largest
 * value where that is above 1.
 */
function worstOf(ps: readonly Parameter[], optimizer: Optimizer, states: readonly number[][]): number {
  let worst = 0;
  reference.gradients.forEach((gradients, t) => {
    ps.forEach(({ grad }, i) => {
      grad.set(gradients[i]);
    });
    optimizer.step();
    if (t % 10 !== 9) return;
    const now = ps.flatMap(({ data }) => [...data]);
    const truth = states[(t - 9) / 10];
    worst = Math.max(worst, worstDifference(now, truth) / Math.max(1, ...truth.map(Math.abs)));
  });
  return worst;
}

describe("100 steps are PyTorch's to 1e-6", () => {
  test.each(reference.optimizers)('$name $options', ({ name, options, states }) => {
    const ps = parameters();
    expect(states).toHaveLength(10);
    expect(worstOf(ps, new KINDS[name](ps, options), states)).toBeLessThan(1e-6);
  });

  test('groups with a rate and a decay of their own', () => {
    const ps = parameters();
    const [first, ...others] = ps;
    const groups = [{ parameters: [first], lr: 0.001, weightDecay: 0.5 }, { parameters: others }];
    expect(
      worstOf(ps, new AdamW(groups, { lr: 0.003, weightDecay: 0.2, decayNorms: false }), reference.groups),
    ).toBeLessThan(1e-6);
  });
});

describe("schedules are PyTorch's", () => {
  const MAKE: Record<string, (optimizer: Optimizer) => Schedule> = {
    step: (o) => new StepLR(o, { stepSize: 30 }),
    stepFactor: (o) => new StepLR(o, { stepSize: 7, factor: 0.9 }),
    cosine: (o) => new CosineLR(o, { steps: 100, min: 0.01 }),
    warmUpCosine: (o) => new WarmUp(new CosineLR(o, { steps: 90 }), { steps: 10, start: 0.1 }),
    oneCycle: (o) => new OneCycle(o, { max: 0.5, steps: 100, momentum: [0.85, 0.95] }),
    oneCycleLinear: (o) =>
      new OneCycle(o, { max: 0.5, steps: 100, rise: 0.4, anneal: 'linear', div: 10, finalDiv: 100 }),
  };

  test.each(Object.keys(MAKE))('%s', (name) => {
    const { lr, momentum } = reference.schedules[name];
    const optimizer = new SGD(parameters(), { lr: 0.2, momentum: 0.9 });
    const schedule = MAKE[name](optimizer);
    const [rates, momenta] = [[] as number[], [] as number[]];
    for (let t = 0; t < 100; t++) {
      rates.push(optimizer.lr);
      momenta.push(optimizer.momentum);
      schedule.step();
    }
    expect(lr).toHaveLength(100);
    expect(worstDifference(rates, lr)).toBeLessThan(1e-12);
    expect(worstDifference(momenta, momentum)).toBeLessThan(1e-12);
  });
});

describe("losses are PyTorch's to 1e-6", () => {
  const floats = (name: keyof Reference['inputs']) => Float32Array.from(reference.inputs[name]);
  const logits = { data: floats('logits'), shape: [5, 4] };
  const values = { data: floats('values'), shape: [3, 4] };
  const WORK: Record<
    string,
    (options: object, labels: number[]) => { loss: number | Float64Array; grad: { data: Float32Array } }
  > = {
    crossEntropy: (options, labels) => crossEntropy(logits, labels, options),
    'crossEntropy deep': (options, labels) => crossEntropy({ data: floats('deep'), shape: [2, 4, 3] }, labels, options),
    'crossEntropy soft': (options) => crossEntropy(logits, { data: floats('soft'), shape: [5, 4] }, options),
    mse: (options) => mse(values, { data: floats('targets'), shape: [3, 4] }, options),
    huber: (options) => huber(values, { data: floats('targets'), shape: [3, 4] }, options),
    bceWithLogits: (options) => bceWithLogits(values, { data: floats('chances'), shape: [3, 4] }, options),
  };

  test.each(reference.losses)('$name $options', ({ name, options, labels, loss, grad }) => {
    const found = WORK[name](options, labels ?? []);
    const list = typeof found.loss === 'number' ? [found.loss] : [...found.loss];
    expect(worstDifference(list, loss)).toBeLessThan(1e-6);
    expect(worstDifference(found.grad.data, grad)).toBeLessThan(1e-6);
  });

  test('in tensors as in arrays', () => {
    const [x, t] = [tensor(values.data, [3, 4]), tensor(floats('chances'), [3, 4])];
    for (const work of [mse, huber, bceWithLogits]) {
      const inTensors = work(x, t);
      const inArrays = work(values, { data: floats('chances'), shape: [3, 4] });
      expect(inTensors.loss).toBe(inArrays.loss);
      expect([...inTensors.grad.data]).toEqual([...inArrays.grad.data]);
    }
    const soft = crossEntropy(x, crossEntropySoft(t));
    expect([...soft.grad.data].every(Number.isFinite)).toBe(true);
  });

  /** Rows that sum to 1. */
  function crossEntropySoft({ data }: { data: Float32Array }) {
    const sums = [0, 1, 2].map((n) => data.slice(4 * n, 4 * n + 4).reduce((sum, value) => sum + value, 0));
    return tensor(
      Float32Array.from(data, (value, i) => value / sums[Math.floor(i / 4)]),
      [3, 4],
    );
  }
});

test("clipping by norm is PyTorch's", () => {
  const ps = parameters();
  ps.forEach(({ grad }, i) => {
    grad.set(reference.gradients[0][i]);
  });
  expect(Math.abs(clipGradNorm(ps, 0.5) - reference.clipped.norm)).toBeLessThan(1e-12);
  const grads = ps.flatMap(({ grad }) => [...grad]);
  expect(worstDifference(grads, reference.clipped.gradients)).toBeLessThan(1e-7);
});
