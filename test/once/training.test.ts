// Optimizers, schedules, data and checkpoints: what they keep, and every message whole.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  Adam,
  AdamW,
  accuracy,
  BatchNorm1d,
  batches,
  bceWithLogits,
  CosineLR,
  checkpointBytes,
  clipGradNorm,
  clipGradValue,
  crossEntropy,
  Dropout,
  EMA,
  huber,
  LayerNorm,
  Linear,
  loadCheckpoint,
  mse,
  namedParameters,
  OneCycle,
  type Parameter,
  Random,
  RMSprop,
  Sequential,
  SGD,
  StepLR,
  saveCheckpoint,
  stack,
  topK,
  WarmUp,
} from '../../src/index.ts';
import { readSafetensors, writeSafetensors } from '../../src/weights/index.ts';
import { normals } from '../support/data.ts';
import { errorOf, rejectionOf } from '../support/errors.ts';

// biome-ignore lint/suspicious/noExplicitAny: what a program without types may pass
const any = (value: unknown) => value as any;
const parameter = (...values: number[]): Parameter => ({
  data: Float32Array.from(values),
  grad: new Float32Array(values.length),
  shape: [values.length],
  frozen: false,
});
const two = { data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [2, 3] };
const build = () =>
  new Sequential(
    new Linear(4, 5, { seed: 1 }),
    new LayerNorm([5]),
    new Dropout(0.5, { seed: 2 }),
    new Linear(5, 3, { seed: 3 }),
  );
const fill = (net: Sequential, seed: number) =>
  net.parameters().forEach(({ grad }, i) => {
    grad.set(normals(seed + i, grad.length));
  });
const statesOf = (of: { stateDict(): object }) => JSON.stringify(of.stateDict());

describe('messages', () => {
  const p = parameter(1);
  const sgd = () => new SGD([p], { momentum: 0.9, nesterov: true });
  const cases: Record<string, [work: () => unknown, name: string, code: string, message: string]> = {
    'a parameter in two groups': [
      () => new AdamW([{ parameters: [p] }, { parameters: [parameter(2), p] }]),
      'RangeError',
      'ERR_OPTION',
      "AdamW: parameters expected each parameter once, got '2' twice (groups 0 and 1)",
    ],
    'a parameter twice in a list': [
      () => new SGD([p, p]),
      'RangeError',
      'ERR_OPTION',
      "SGD: parameters expected each parameter once, got '1' twice (group 0)",
    ],
    'a name twice': [
      () =>
        new SGD([
          ['w', p],
          ['w', parameter(2)],
        ]),
      'RangeError',
      'ERR_OPTION',
      "SGD: parameters expected different names, got 'w' twice (group 0)",
    ],
    'a group among parameters': [
      () => new SGD(any([{ parameters: [p] }, parameter(1)])),
      'TypeError',
      'ERR_TYPE',
      'SGD: groups[1] expected { parameters, … }, got Object',
    ],
    'a misspelt setting of a group': [
      () => new AdamW(any([{ parameters: [p], rate: 1 }])),
      'TypeError',
      'ERR_OPTION',
      "AdamW: options expected 'parameters', 'lr', 'betas', 'eps', 'weightDecay', 'amsgrad' or 'decayNorms', got 'rate'",
    ],
    'NaN in a group': [
      () => new AdamW([{ parameters: [p], lr: Number.NaN }]),
      'RangeError',
      'ERR_OPTION',
      'AdamW: lr expected a finite number of 0 or more, got NaN',
    ],
    'a rate set later': [
      () => Object.assign(sgd(), { lr: -1 }),
      'RangeError',
      'ERR_OPTION',
      'SGD: lr expected a finite number of 0 or more, got -1',
    ],
    'a setting of a group set later': [
      () => Object.assign(sgd().groups[0], { momentum: Number.POSITIVE_INFINITY }),
      'RangeError',
      'ERR_OPTION',
      'SGD: momentum expected a finite number of 0 or more, got Infinity',
    ],
    'a setting that does not go with another': [
      () => Object.assign(sgd(), { momentum: 0 }),
      'RangeError',
      'ERR_OPTION',
      'SGD: momentum expected a value that goes with nesterov true, got 0',
    ],
    'nesterov with dampening': [
      () => new SGD([p], { momentum: 0.9, dampening: 0.1, nesterov: true }),
      'RangeError',
      'ERR_OPTION',
      'SGD: nesterov expected no dampening, got 0.1',
    ],
    dampening: [
      () => new SGD([p], { dampening: Number.NaN }),
      'RangeError',
      'ERR_OPTION',
      'SGD: dampening expected a finite number, got NaN',
    ],
    betas: [
      () => Object.assign(new Adam([p]), { betas: [0.9] }),
      'RangeError',
      'ERR_OPTION',
      'Adam: betas expected two numbers of 0 or more and below 1, got [0.9]',
    ],
    amsgrad: [
      () => new AdamW([p], any({ amsgrad: 1 })),
      'TypeError',
      'ERR_OPTION',
      'AdamW: amsgrad expected true or false, got 1',
    ],
    alpha: [
      () => new RMSprop([p], { alpha: 1 }),
      'RangeError',
      'ERR_OPTION',
      'RMSprop: alpha expected a number of 0 or more and below 1, got 1',
    ],
    'a state with NaN': [
      () => {
        const optimizer = sgd();
        const state = optimizer.stateDict();
        state['groups.0.lr'].data[0] = Number.NaN;
        optimizer.loadStateDict(state);
      },
      'RangeError',
      'ERR_STATE',
      "SGD: state 'groups.0.lr' expected a finite number of 0 or more, got [NaN]",
    ],
    'a state of other parameters': [
      () => {
        const other = new SGD([parameter(1, 2)], { momentum: 0.9 });
        other.step();
        sgd().loadStateDict(other.stateDict());
      },
      'RangeError',
      'ERR_STATE',
      "SGD: state 'parameters.0.velocity' expected shape [1], got [2]",
    ],
    'a state of another optimizer': [
      () => sgd().loadStateDict(new Adam([p]).stateDict()),
      'RangeError',
      'ERR_STATE',
      "SGD: state expected only groups.0.lr, groups.0.momentum, groups.0.dampening, groups.0.weightDecay, groups.0.nesterov, groups.0.decayNorms, parameters.0.steps, got 'groups.0.betas'",
    ],
    'a state without what is remembered': [
      () => {
        const [from, to] = [sgd(), sgd()];
        from.step();
        const { 'parameters.0.velocity': _, ...state } = from.stateDict();
        to.loadStateDict(state);
      },
      'RangeError',
      'ERR_STATE',
      "SGD: state expected an entry 'parameters.0.velocity', got none",
    ],
    'a bound of 0': [
      () => clipGradNorm([p], 0),
      'RangeError',
      'ERR_OPTION',
      'clipGradNorm: max expected a finite number above 0, got 0',
    ],
    'no bound': [
      () => clipGradValue([p], any(undefined)),
      'TypeError',
      'ERR_OPTION',
      'clipGradValue: max expected a finite number above 0, got undefined',
    ],
    'a gradient that is not finite': [
      () => {
        const [good, bad] = [parameter(1), parameter(1, 2)];
        good.grad[0] = 9;
        bad.grad[1] = Number.NaN;
        try {
          clipGradNorm(
            [
              ['good', good],
              ['bad', bad],
            ],
            1,
          );
        } finally {
          expect(good.grad[0]).toBe(9);
        }
      },
      'RangeError',
      'ERR_NON_FINITE',
      "clipGradNorm: gradient of 'bad' expected finite values, got NaN (value 1)",
    ],
    decay: [
      () => new EMA([p], { decay: 1 }),
      'RangeError',
      'ERR_OPTION',
      'EMA: decay expected a number of 0 or more and below 1, got 1',
    ],
    'an update of averages by themselves': [
      () => {
        const ema = new EMA([parameter(1)]);
        ema.swapIn();
        ema.update();
      },
      'Error',
      'ERR_MODE',
      'EMA: update expected the weights in the network, got the averages, swapped in',
    ],
    'swapping out first': [
      () => new EMA([p]).swapOut(),
      'Error',
      'ERR_MODE',
      'EMA: swapOut expected the averages swapped in, got the weights in the network',
    ],
    'a schedule around nothing': [
      () => new StepLR(any(undefined), { stepSize: 1 }),
      'TypeError',
      'ERR_TYPE',
      'StepLR: over expected an optimizer or a schedule, got undefined',
    ],
    'a factor that is NaN': [
      () => new StepLR(sgd(), { stepSize: 1, factor: Number.NaN }),
      'RangeError',
      'ERR_OPTION',
      'StepLR: factor expected a finite number of 0 or more, got NaN',
    ],
    'steps that are NaN': [
      () => new CosineLR(sgd(), { steps: Number.NaN }),
      'RangeError',
      'ERR_OPTION',
      'CosineLR: steps expected a whole number of 1 or more, got NaN',
    ],
    'a warm-up from above': [
      () => new WarmUp(sgd(), { steps: 2, start: 2 }),
      'RangeError',
      'ERR_OPTION',
      'WarmUp: start expected a number from 0 to 1, got 2',
    ],
    'a cycle of a momentum that is not there': [
      () => new OneCycle(sgd(), { steps: 10, momentum: [0, 0.9] }),
      'RangeError',
      'ERR_OPTION',
      'OneCycle: momentum expected two numbers above 0 and below 1, got [0, 0.9]',
    ],
    'a schedule that another drives': [
      () => {
        const inner = new CosineLR(sgd(), { steps: 5 });
        new WarmUp(inner, { steps: 2 });
        inner.step();
      },
      'Error',
      'ERR_MODE',
      'CosineLR: step expected the schedule around it, WarmUp, got a call of its own',
    ],
    'a schedule with NaN': [
      () => {
        const schedule = new CosineLR(sgd(), { steps: 5 });
        const state = schedule.stateDict();
        state.base.data[0] = Number.NaN;
        schedule.loadStateDict(state);
      },
      'RangeError',
      'ERR_STATE',
      "CosineLR: state 'base' expected finite numbers of 0 or more, got [NaN]",
    ],
    smoothing: [
      () => crossEntropy(two, [0, 1], { labelSmoothing: 2 }),
      'RangeError',
      'ERR_OPTION',
      'crossEntropy: labelSmoothing expected a number from 0 to 1, got 2',
    ],
    'weights of another length': [
      () => crossEntropy(two, [0, 1], { classWeights: [1, 2] }),
      'RangeError',
      'ERR_SHAPE',
      'crossEntropy: classWeights expected 3 numbers, one per class, got 2',
    ],
    'a negative weight': [
      () => crossEntropy(two, [0, 1], { classWeights: [1, -2, 1] }),
      'RangeError',
      'ERR_OPTION',
      'crossEntropy: classWeights[1] expected a finite number of 0 or more, got -2',
    ],
    'a label beside the one that is ignored': [
      () => crossEntropy(two, [-100, -1], { ignoreIndex: -100 }),
      'RangeError',
      'ERR_LABEL',
      'crossEntropy: labels[1] expected an integer from 0 to 2, or -100 to ignore, got -1',
    ],
    'only labels that are ignored': [
      () => crossEntropy(two, [-100, -100], { ignoreIndex: -100 }),
      'RangeError',
      'ERR_LABEL',
      'crossEntropy: labels expected a mean over at least one row with a weight, got none',
    ],
    'soft labels of another sum': [
      () => crossEntropy(two, { data: Float32Array.of(0, 0, 1, 0.5, 0.25, 0), shape: [2, 3] }),
      'RangeError',
      'ERR_LABEL',
      'crossEntropy: labels of row 1 expected a sum of 1, got 0.75',
    ],
    'soft labels to ignore': [
      () => crossEntropy(two, two, { ignoreIndex: 0 }),
      'RangeError',
      'ERR_OPTION',
      'crossEntropy: ignoreIndex expected class indices as labels, got soft labels',
    ],
    reduction: [
      () => mse(two, two, any({ reduction: 'average' })),
      'RangeError',
      'ERR_OPTION',
      "mse: reduction expected 'mean', 'sum' or 'none', got 'average'",
    ],
    'a target of another shape': [
      () => huber(two, { data: new Float32Array(6), shape: [3, 2] }),
      'RangeError',
      'ERR_SHAPE',
      'huber: target expected shape [2, 3], got [3, 2]',
    ],
    'a target that is no chance': [
      () => bceWithLogits(two, two),
      'RangeError',
      'ERR_LABEL',
      'bceWithLogits: target[1] expected a number from 0 to 1, got 2',
    ],
    'k above the classes': [
      () => topK(two, [0, 1], 4),
      'RangeError',
      'ERR_OPTION',
      'topK: k expected an integer from 1 to 3, got 4',
    ],
    'labels of no class': [
      () => accuracy(two, [0, 3]),
      'RangeError',
      'ERR_LABEL',
      'accuracy: labels[1] expected an integer from 0 to 2, got 3',
    ],
    'batches of 0': [
      () => batches([1], { size: 0 }),
      'RangeError',
      'ERR_OPTION',
      'batches: size expected a whole number of 1 or more, got 0',
    ],
    'a source that is none': [
      () => batches(any(5), { size: 1 }),
      'TypeError',
      'ERR_TYPE',
      'batches: source expected an array, an iterable or an async iterable, got 5',
    ],
    'a state of batches of another size': [
      () => batches([1], { size: 2 }).loadStateDict(batches([1], { size: 3 }).stateDict()),
      'RangeError',
      'ERR_STATE',
      "batches: state 'size' expected 2 items in a batch, got [3]",
    ],
    'samples of different shapes': [
      () => stack([[1, 2], [3]]),
      'RangeError',
      'ERR_SHAPE',
      'stack: samples[1] expected shape [2], got [1]',
    ],
    'a part without a state': [
      () => checkpointBytes(any({ net: 5 })),
      'TypeError',
      'ERR_TYPE',
      'checkpointBytes: net expected an object with stateDict and loadStateDict, got 5',
    ],
    'a generator of NaN': [
      () => new Random(1).loadStateDict({ state: { data: new Float64Array(5).fill(Number.NaN), shape: [5] } }),
      'RangeError',
      'ERR_STATE',
      "Random: state 'state' expected four integers of 32 bits and a number, got [NaN, NaN, NaN, NaN, NaN]",
    ],
  };

  test.each(Object.keys(cases))('%s', (name) => {
    const [work, ...rest] = cases[name];
    expect(errorOf(work)).toEqual(rest);
  });
});

describe('optimizers', () => {
  test('a setting that is refused stays as it was, in every group', () => {
    const optimizer = new SGD([{ parameters: [parameter(1)] }, { parameters: [parameter(2)], lr: 0.5 }], { lr: 0.1 });
    expect(errorOf(() => Object.assign(optimizer, { lr: Number.NaN }))).toBeDefined();
    expect(optimizer.groups.map(({ lr }) => lr)).toEqual([0.1, 0.5]);
    optimizer.lr = 0.25;
    expect(optimizer.groups.map(({ lr }) => lr)).toEqual([0.25, 0.25]);
    expect(() => Object.assign(optimizer.groups[0], { rate: 1 })).toThrow(TypeError);
  });

  test('decayNorms: false spares norms and biases, whatever their shape', () => {
    const net = new Sequential(new Linear(2, 6, { seed: 1 }), new LayerNorm([2, 3]), new BatchNorm1d(3));
    const parameters = namedParameters(net);
    expect(parameters.map(([name]) => name)).toEqual(['0.weight', '0.bias', '1.gamma', '1.beta', '2.gamma', '2.beta']);
    for (const [, { data }] of parameters) data.fill(1);
    new AdamW(parameters, { lr: 0.1, weightDecay: 0.5, decayNorms: false }).step();
    expect(parameters.map(([, { data }]) => data[0])).toEqual([Math.fround(0.95), 1, 1, 1, 1, 1]);
    new AdamW(parameters, { lr: 0.1, weightDecay: 0.5 }).step();
    expect(parameters.map(([, { data }]) => data[0]).slice(1)).toEqual(Array(5).fill(Math.fround(0.95)));
  });

  test('state goes by name: another order of the same parameters takes it', () => {
    const net = build();
    fill(net, 4);
    const from = new Adam(namedParameters(net), { lr: 0.3, amsgrad: true });
    from.step();
    expect(Object.keys(from.stateDict())).toContain('parameters.3.weight.largestSecond');
    const to = new Adam(namedParameters(net).reverse());
    to.loadStateDict(from.stateDict());
    expect(to.lr).toBe(0.3);
    expect(new Map(Object.entries(to.stateDict()))).toEqual(new Map(Object.entries(from.stateDict())));
  });

  test('a state that is refused changes nothing', () => {
    const net = build();
    fill(net, 5);
    const optimizer = new RMSprop(net.parameters(), { centered: true });
    optimizer.step();
    const [before, state] = [statesOf(optimizer), optimizer.stateDict()];
    optimizer.step();
    const now = statesOf(optimizer);
    state['parameters.3.average'].shape = [1];
    expect(errorOf(() => optimizer.loadStateDict(state))?.[1]).toBe('ERR_STATE');
    expect(statesOf(optimizer)).toBe(now);
    expect(now).not.toBe(before);
  });

  test('frozen parameters have no part in clipping', () => {
    const [a, b] = [parameter(0), parameter(0)];
    a.grad[0] = 3;
    b.grad[0] = 4;
    expect(clipGradNorm([a, b], 10)).toBe(5);
    expect([a.grad[0], b.grad[0]]).toEqual([3, 4]);
    b.frozen = true;
    expect(clipGradNorm([a, b], 1)).toBe(3);
    expect(a.grad[0]).toBeCloseTo(1, 5);
    expect(b.grad[0]).toBe(4);
    b.frozen = false;
    clipGradValue([a, b], 0.5);
    expect([a.grad[0], b.grad[0]]).toEqual([0.5, 0.5]);
  });

  test('EMA follows its formula and gives the weights back bit for bit', () => {
    const p = parameter(1, 0.1);
    const ema = new EMA([p], { decay: 0.9 });
    p.data.set([2, 0.3]);
    ema.update();
    ema.swapIn();
    expect([...p.data]).toEqual([0.9 + 0.1 * 2, 0.9 * Math.fround(0.1) + 0.1 * Math.fround(0.3)].map(Math.fround));
    ema.swapOut();
    expect([...p.data]).toEqual([2, Math.fround(0.3)]);
    const other = new EMA([parameter(0, 0)]);
    other.loadStateDict(ema.stateDict());
    expect(statesOf(other)).toBe(statesOf(ema));
    expect(other.updates).toBe(1);
  });
});

describe('schedules', () => {
  test('one around another multiplies, and drives it', () => {
    const optimizer = new SGD([{ parameters: [parameter(1)] }, { parameters: [parameter(1)], lr: 1 }], { lr: 0.5 });
    const schedule = new StepLR(new CosineLR(optimizer, { steps: 4 }), { stepSize: 2, factor: 0.1 });
    const rates = [0, 1, 2, 3, 4, 5].map(() => {
      const { lr } = optimizer;
      expect(optimizer.groups[1].lr).toBeCloseTo(2 * lr, 15);
      schedule.step();
      return lr;
    });
    const cosine = (t: number) => (1 + Math.cos((Math.PI * t) / 4)) / 4;
    [cosine(0), cosine(1), 0.1 * cosine(2), 0.1 * cosine(3), 0, 0].forEach((rate, t) => {
      expect(rates[t]).toBeCloseTo(rate, 15);
    });
    expect(schedule.ratesAt(1)[0]).toBe(rates[1]);
  });

  test('one that is refused leaves the rate as it was', () => {
    const optimizer = new SGD([parameter(1)], { lr: 0.5 });
    const cosine = new CosineLR(optimizer, { steps: 4 });
    expect(errorOf(() => new WarmUp(cosine, { steps: 0 }))).toBeDefined();
    expect(optimizer.lr).toBe(0.5);
    cosine.step();
    expect(optimizer.lr).toBeLessThan(0.5);
  });
});

describe('accuracy and topK', () => {
  const logits = { data: Float32Array.of(1, 2, 2, 9, 0, 1, Number.NaN, 0, 5), shape: [3, 3] };

  test('the first of equal ones counts, and a row with NaN is wrong', () => {
    expect(accuracy(logits, [1, 0, 2])).toBeCloseTo(2 / 3);
    expect(accuracy(logits, [2, 0, 2])).toBeCloseTo(1 / 3);
    expect(topK(logits, [2, 2, 2], 2)).toBeCloseTo(2 / 3);
    expect(accuracy(logits, [1, 0, -1], { ignoreIndex: -1 })).toBe(1);
  });
});

describe('batches', () => {
  const items = Array.from({ length: 10 }, (_, i) => i);
  async function* stream() {
    yield* items;
  }

  test('in order, with and without the last', () => {
    expect([...batches(items, { size: 4 })]).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ]);
    expect([...batches(new Set(items), { size: 4, dropLast: true })]).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
    ]);
    expect([...batches(any(Uint8Array.from(items)), { size: 9 })]).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 8], [9]]);
    expect([...batches([], { size: 4 })]).toEqual([]);
  });

  test.each([true, 4])(
    'shuffle %s: every item once, each epoch in another order, the same for a seed',
    async (shuffle) => {
      for (const source of [items, new Set(items)]) {
        const [a, b] = [1, 2].map(() => batches(source, { size: 3, shuffle, seed: 5 }));
        const [first, second] = [[...a], [...a]];
        expect(first.flat().toSorted((x, y) => x - y)).toEqual(items);
        expect(first).not.toEqual(second);
        expect([[...b], [...b]]).toEqual([first, second]);
      }
      const all: number[] = [];
      for await (const batch of batches({ [Symbol.asyncIterator]: stream }, { size: 3, shuffle, seed: 5 }))
        all.push(...batch);
      expect(all).not.toEqual(items);
      expect(all.toSorted((x, y) => x - y)).toEqual(items);
    },
  );

  test('an epoch left early is followed by another order', () => {
    const data = batches(items, { size: 10, shuffle: true, seed: 1 });
    const [first] = data;
    expect([...data][0]).not.toEqual(first);
  });

  test.each(['array', 'async'])('%s: a state in the middle goes on there', async (kind) => {
    const make = (seed: number) =>
      kind === 'array'
        ? batches(items, { size: 3, shuffle: true, seed })
        : batches({ [Symbol.asyncIterator]: stream }, { size: 3, shuffle: 5, seed });
    const [a, b] = [make(1), make(2)];
    const whole: number[][] = [];
    let state: ReturnType<typeof a.stateDict> | undefined;
    for (let epoch = 0; epoch < 3; epoch++) {
      for await (const batch of a) {
        whole.push(batch);
        if (whole.length === 6) state = a.stateDict();
      }
    }
    b.loadStateDict(state!);
    const rest: number[][] = [];
    for (let epoch = 1; epoch < 3; epoch++) for await (const batch of b) rest.push(batch);
    expect(rest).toEqual(whole.slice(6));
  });

  test('a source that throws leaves nothing half done', async () => {
    let fails = true;
    let closed = 0;
    async function* failing() {
      try {
        yield* items.slice(0, 5);
        if (fails) throw new Error('the line is cut');
        yield* items.slice(5);
      } finally {
        closed++;
      }
    }
    const data = batches({ [Symbol.asyncIterator]: failing }, { size: 3 });
    const read = async () => {
      const found: number[][] = [];
      try {
        for await (const batch of data) found.push(batch);
      } catch (error) {
        return [found, (error as Error).message];
      }
      return [found];
    };
    expect(await read()).toEqual([[[0, 1, 2]], 'the line is cut']);
    fails = false;
    expect(await read()).toEqual([[[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]]);
    for await (const _ of data) break;
    expect(closed).toBe(3);
  });

  test('stack', () => {
    expect(stack([[1, 2], Float32Array.of(3, 4)])).toEqual({ data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] });
    expect(stack([two]).shape).toEqual([1, 2, 3]);
  });
});

describe('checkpoints', () => {
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  const parts = () => {
    const net = build();
    const optimizer = new AdamW(namedParameters(net));
    fill(net, 9);
    optimizer.step();
    net.forward({ data: new Float32Array(8), shape: [2, 4] });
    return { net, optimizer, random: new Random(5) };
  };

  test('are safetensors files with the names of parts, the same for the same state', () => {
    const all = parts();
    const bytes = checkpointBytes(all, { metadata: { epoch: '3' } });
    expect(bytes).toEqual(checkpointBytes(all, { metadata: { epoch: '3' } }));
    const { tensors, metadata } = readSafetensors(bytes);
    expect(metadata.epoch).toBe('3');
    for (const name of ['net/0.weight', 'net//generators/2', 'optimizer/parameters.3.bias.second', 'random/state'])
      expect(tensors.has(name)).toBe(true);
  });

  test('bring everything, dropout included, and say what was not asked for', async () => {
    const [from, to] = [parts(), parts()];
    fill(from.net, 20);
    from.optimizer.step();
    const x = { data: normals(1, 40), shape: [10, 4] };
    from.net.forward(x);
    const bytes = checkpointBytes(from, { metadata: { epoch: '3' } });
    const { random: _, ...some } = to;
    expect(await loadCheckpoint(bytes, some)).toEqual({ metadata: { epoch: '3' }, unused: ['random'] });
    expect([...to.net.forward(x).data]).toEqual([...from.net.forward(x).data]);
  });

  test('in files: whole, through links, with nothing left beside', async () => {
    const [file, link] = [join(folder, 'a.safetensors'), join(folder, 'link.safetensors')];
    writeFileSync(file, 'old');
    symlinkSync(file, link);
    const all = parts();
    await saveCheckpoint(link, all);
    expect(new Uint8Array(readFileSync(file))).toEqual(checkpointBytes(all));
    expect(readdirSync(folder).toSorted()).toEqual(['a.safetensors', 'link.safetensors']);
    await loadCheckpoint(new URL(`file://${file}`), all);
    const lost = join(folder, 'nowhere', 'a.safetensors');
    await expect(saveCheckpoint(lost, all)).rejects.toMatchObject({
      code: 'ENOENT',
      message: expect.stringContaining(`'${lost}'`),
      path: lost,
    });
    expect(existsSync(join(folder, 'nowhere'))).toBe(false);
  });

  test('with another content are named', async () => {
    const other = join(folder, 'other.safetensors');
    writeFileSync(other, writeSafetensors({}));
    await expect(loadCheckpoint(other, parts())).rejects.toThrow(
      `loadCheckpoint: file expected 'evenkeel checkpoint 1', got another safetensors file (loading '${other}')`,
    );
    rmSync(other);
  });

  const refused: Record<string, [load: () => Promise<unknown>, code: string, message: string]> = {
    'another network': [
      () => {
        const net = new Sequential(
          new Linear(4, 6, { seed: 1 }),
          new LayerNorm([6]),
          new Dropout(0.5),
          new Linear(6, 3),
        );
        return loadCheckpoint(checkpointBytes({ ...parts(), net }), target);
      },
      'ERR_STATE',
      "loadCheckpoint, net: Sequential: state '0.weight' expected shape [5, 4], got [6, 4]",
    ],
    'the optimizer of another network': [
      () => {
        const net = new Sequential(new Linear(4, 5));
        return loadCheckpoint(checkpointBytes({ ...parts(), optimizer: new SGD(namedParameters(net)) }), target);
      },
      'ERR_STATE',
      expect.stringMatching(
        /^loadCheckpoint, optimizer: AdamW: state expected only groups\.0\.lr, .*, got 'groups\.0\.momentum'$/,
      ) as unknown as string,
    ],
    'a part that is not there': [
      () => loadCheckpoint(checkpointBytes({ net: build() }), target),
      'ERR_STATE',
      "loadCheckpoint: file expected a part 'optimizer', got 'net'",
    ],
    'a network without generators': [
      () => {
        const { net, optimizer, random } = parts();
        const { 'x//generators/2': _, ...rest } = { 'x//generators/2': 0, ...net.stateDict() };
        return loadCheckpoint(
          checkpointBytes({ net: { stateDict: () => any(rest), loadStateDict() {} }, optimizer, random }),
          target,
        );
      },
      'ERR_STATE',
      "loadCheckpoint, net: Sequential: state expected an entry '/generators/2', got none",
    ],
    'another safetensors file': [
      () => loadCheckpoint(writeSafetensors({}), target),
      'ERR_FORMAT',
      "loadCheckpoint: file expected 'evenkeel checkpoint 1', got another safetensors file",
    ],
    'a file cut short': [
      () => loadCheckpoint(checkpointBytes(parts()).slice(0, -8), target),
      'ERR_FORMAT',
      expect.stringMatching(
        /^safetensors: tensor 'random\/state' expected an end by \d+, got \d+ \(offset \d+\)$/,
      ) as unknown as string,
    ],
    'no file': [
      () => loadCheckpoint(any(undefined), target),
      'ERR_TYPE',
      'loadCheckpoint: file expected a path, a URL or bytes, got undefined',
    ],
  };
  const target = parts();

  test.each(Object.keys(refused))('%s is refused, and nothing has changed', async (name) => {
    const [load, ...rest] = refused[name];
    fill(target.net, 30);
    target.optimizer.step();
    const before = checkpointBytes(target);
    expect((await rejectionOf(load()))?.slice(1)).toEqual(rest);
    expect(checkpointBytes(target)).toEqual(before);
  });
});
