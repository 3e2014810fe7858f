// Layers whose input features are given as null: they are built for the first input, for
// `build(shape)`, or in a graph.

import { describe, expect, test } from 'vitest';
import {
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  BatchRenorm,
  BNGRUCell,
  BNLSTMCell,
  Conv1d,
  Conv2d,
  ConvTranspose2d,
  crossEntropy,
  DomainBatchNorm,
  Flatten,
  foldLinear,
  Graph,
  GroupNorm,
  InstanceNorm1d,
  type Layer,
  LayerNorm,
  Linear,
  MaxPool2d,
  namedParameters,
  RecurrentBatchNorm1d,
  ReLU,
  Residual,
  RMSNorm,
  Sequential,
  SGD,
  SpectralNorm,
} from '../../src/index.ts';
import { normals } from '../support/data.ts';

const any = (value: unknown) => value as never;
const sizeOf = (shape: readonly number[]) => shape.reduce((size, length) => size * length, 1);
const inputOf = (shape: number[]) => ({ data: normals(1, sizeOf(shape)), shape });

const cell = { maxSteps: 4, seed: 4 };

const LAYERS: [string, () => Layer, () => Layer, number[]][] = [
  ['Linear', () => new Linear(null, 3, { seed: 4 }), () => new Linear(5, 3, { seed: 4 }), [2, 5]],
  [
    'Linear, no bias, deep',
    () => new Linear(null, 3, { seed: 4, bias: false }),
    () => new Linear(6, 3, { seed: 4, bias: false }),
    [2, 4, 6],
  ],
  ['Conv1d', () => new Conv1d(null, 4, 3, { seed: 4 }), () => new Conv1d(2, 4, 3, { seed: 4 }), [2, 2, 7]],
  [
    'Conv2d, groups, channels last',
    () => new Conv2d(null, 6, 3, { seed: 4, groups: 2, layout: 'channels-last', padding: 'same' }),
    () => new Conv2d(4, 6, 3, { seed: 4, groups: 2, layout: 'channels-last', padding: 'same' }),
    [2, 5, 6, 4],
  ],
  [
    'ConvTranspose2d',
    () => new ConvTranspose2d(null, 3, 2, { seed: 4, stride: 2 }),
    () => new ConvTranspose2d(4, 3, 2, { seed: 4, stride: 2 }),
    [1, 4, 3, 3],
  ],
  [
    'BatchNorm',
    () => new BatchNorm(null, { virtualBatchSize: 2 }),
    () => new BatchNorm(3, { virtualBatchSize: 2 }),
    [4, 3],
  ],
  [
    'BatchNorm1d, channels last',
    () => new BatchNorm1d(null, { layout: 'channels-last' }),
    () => new BatchNorm1d(4, { layout: 'channels-last' }),
    [2, 3, 4],
  ],
  ['BatchNorm2d', () => new BatchNorm2d(null), () => new BatchNorm2d(3), [2, 3, 2, 2]],
  [
    'BatchNorm3d, axis 2',
    () => new BatchNorm3d(null, { axis: 2 }),
    () => new BatchNorm3d(4, { axis: 2 }),
    [2, 3, 4, 2, 2],
  ],
  [
    'BatchRenorm',
    () => new BatchRenorm(null, { rMax: 2, dMax: 1 }),
    () => new BatchRenorm(3, { rMax: 2, dMax: 1 }),
    [4, 3],
  ],
  [
    'DomainBatchNorm',
    () => inDomain(new DomainBatchNorm(null, { domains: ['a', 'b'] })),
    () => inDomain(new DomainBatchNorm(3, { domains: ['a', 'b'] })),
    [4, 3],
  ],
  [
    'RecurrentBatchNorm1d',
    () => new RecurrentBatchNorm1d(null, { maxSteps: 4 }),
    () => new RecurrentBatchNorm1d(5, { maxSteps: 4 }),
    [3, 4, 5],
  ],
  ['GroupNorm', () => new GroupNorm(2, null), () => new GroupNorm(2, 4), [2, 4, 3]],
  [
    'InstanceNorm1d',
    () => new InstanceNorm1d(null, { affine: true, trackRunningStats: true }),
    () => new InstanceNorm1d(3, { affine: true, trackRunningStats: true }),
    [2, 3, 4],
  ],
  ['LayerNorm', () => new LayerNorm(null), () => new LayerNorm(4), [2, 3, 4]],
  [
    'LayerNorm, axes',
    () => new LayerNorm(null, { axis: [1, 2] }),
    () => new LayerNorm([3, 4], { axis: [1, 2] }),
    [2, 3, 4, 2],
  ],
  ['RMSNorm, axis 1', () => new RMSNorm(null, { axis: 1 }), () => new RMSNorm(3, { axis: 1 }), [2, 3, 4]],
  ['BNLSTMCell', () => new BNLSTMCell(null, 3, cell), () => new BNLSTMCell(5, 3, cell), [3, 4, 5]],
  [
    'BNGRUCell, plain',
    () => new BNGRUCell(null, 3, { norm: false, seed: 4 }),
    () => new BNGRUCell(5, 3, { norm: false, seed: 4 }),
    [3, 4, 5],
  ],
];

/** Uses another domain than the first. */
function inDomain(norm: DomainBatchNorm): DomainBatchNorm {
  norm.domain = 'b';
  return norm;
}

describe.each(LAYERS)('%s', (_, make, whole, shape) => {
  const x = inputOf(shape);

  test('is, after its first forward, the layer that it would have been', () => {
    const [layer, twin] = [make(), whole()];
    expect(layer.outputShape(shape)).toEqual(twin.outputShape(shape));
    expect(layer.subject).toContain('null');
    expect(layer.forward(x)).toEqual(twin.forward(x));
    expect(layer.subject).toBe(twin.subject);
    expect(layer.stateDict()).toEqual(twin.stateDict());
    const dy = { data: normals(2, sizeOf(layer.outputShape(shape))), shape: layer.outputShape(shape) };
    expect(layer.backward(dy)).toEqual(twin.backward(dy));
    expect(layer.parameters().map(({ grad }) => grad)).toEqual(twin.parameters().map(({ grad }) => grad));
  });

  test('build(shape) makes it before', () => {
    const layer = make();
    const known = shape.map((length, axis) => (axis === 0 ? null : length));
    expect(layer.build(known)).toBe(layer);
    expect(layer.stateDict()).toEqual(whole().stateDict());
    expect(layer.build(known).stateDict()).toEqual(whole().stateDict());
    layer.loadStateDict(layer.stateDict());
  });

  test('before that it says what it needs', () => {
    const layer = make();
    const { subject } = layer;
    const message = `${subject}: parameters expected build(shape) or a forward before them, got neither`;
    for (const work of [
      () => layer.parameters(),
      () => layer.stateDict(),
      () => layer.loadStateDict({}),
      () => layer.zeroGrad(),
      () => new SGD(layer.parameters(), { lr: 0.1 }),
      () => namedParameters(layer),
    ])
      expect(work).toThrow(message);
    expect(() => new Sequential(layer).compile()).toThrow(
      /expected (?:build\(shape\) or a forward before them, got neither|layers of one step|one set of running)/,
    );
    expect(() => layer.backward(x)).toThrow(`${subject}: backward expected a forward before it, got none`);
    // an input that is refused builds nothing
    expect(() => layer.forward({ data: new Float32Array(0), shape: [0] })).toThrow(/ expected /);
    expect(layer.subject).toBe(subject);
    // features that are not known build nothing either
    layer.build(shape.map(() => null));
    expect(layer.subject).toBe(subject);
  });
});

describe('norms that are built later', () => {
  test('say what they do not know yet', () => {
    const later = 'expected build(shape) or a forward before them, got neither';
    const [bn, gn, ln] = [new BatchNorm1d(null), new GroupNorm(2, null), new LayerNorm(null)];
    expect(() => bn.numFeatures).toThrow(`BatchNorm1d(null): numFeatures ${later}`);
    expect(() => bn.runningMean).toThrow(`BatchNorm1d(null): statistics ${later}`);
    expect(() => bn.freeze()).toThrow(`BatchNorm1d(null): statistics ${later}`);
    expect(() => gn.numChannels).toThrow(`GroupNorm(2, null): numChannels ${later}`);
    expect(() => ln.normalizedShape).toThrow(`LayerNorm(null): normalizedShape ${later}`);
    expect(() => new InstanceNorm1d(null).numFeatures).toThrow(`InstanceNorm1d(null): numFeatures ${later}`);
    expect(bn.frozen).toBe(false);
    bn.dispose();
  });

  test('features that they do not take build nothing', () => {
    const gn = new GroupNorm(3, null);
    const x = inputOf([2, 4, 3]);
    expect(() => gn.forward(x)).toThrow('GroupNorm(3, 4): numGroups expected a divisor of the 4 channels, got 3');
    expect(gn.subject).toBe('GroupNorm(3, null)');
    const ln = new LayerNorm(null);
    expect(() => ln.forward({ data: new Float32Array(0), shape: [2, 0] })).toThrow(
      'LayerNorm(null): normalizedShape expected an integer from 1 to 16777216, got 0',
    );
  });

  test('a call that throws builds nothing', () => {
    const bn = new BatchNorm(null);
    const x = inputOf([1, 4]);
    expect(() => bn.forward(x)).toThrow('training expected at least 2 values per channel');
    expect(bn.subject).toBe('BatchNorm(null)');
    expect(bn.forward(inputOf([2, 3])).shape).toEqual([2, 3]);
  });

  test('micro-batches build', () => {
    const [later, now] = [new Sequential(new BatchNorm(null)), new Sequential(new BatchNorm(3))];
    const xs = [inputOf([2, 3]), inputOf([4, 3])];
    expect(later.forwardMicroBatches(xs)).toEqual(now.forwardMicroBatches(xs));
    expect(later.backwardMicroBatches(xs)).toEqual(now.backwardMicroBatches(xs));
    expect(later.stateDict()).toEqual(now.stateDict());
  });

  test('in a graph and in a network', () => {
    const graph = new Graph({ x: [2, 4, 4] }, (g, { x }) =>
      g.apply('norm', new GroupNorm(2, null), g.apply('conv', new Conv2d(null, 4, 3, { seed: 1 }), x)),
    );
    expect(graph.stateDict()['norm.gamma'].shape).toEqual([4]);
    const net = new Sequential(new Linear(null, 6, { seed: 1 }), new BatchNorm1d(null), new LayerNorm(null));
    net.build([null, 3]);
    expect(net.stateDict()['2.gamma'].shape).toEqual([6]);
    expect(net.eval().compile()(inputOf([2, 3])).shape).toEqual([2, 6]);
  });
});

const convnet = () =>
  new Sequential(
    new Conv2d(null, 4, 3, { padding: 1, seed: 1 }),
    new BatchNorm2d(4),
    new ReLU(),
    new Residual(new Conv2d(null, 4, 1, { seed: 2 }), new BatchNorm2d(4)),
    new MaxPool2d(2),
    new Flatten(),
    new Linear(null, 3, { seed: 3 }),
  );

test('a network builds all of its layers, and trains', () => {
  const net = convnet().build([null, 2, 6, 6]);
  expect(namedParameters(net).map(([name, { shape }]) => [name, shape.join('x')])).toEqual([
    ['0.weight', '4x2x3x3'],
    ['0.bias', '4'],
    ['1.gamma', '4'],
    ['1.beta', '4'],
    ['3.0.weight', '4x4x1x1'],
    ['3.0.bias', '4'],
    ['3.1.gamma', '4'],
    ['3.1.beta', '4'],
    ['6.weight', '3x36'],
    ['6.bias', '3'],
  ]);
  const twin = convnet();
  const x = inputOf([5, 2, 6, 6]);
  expect(net.forward(x)).toEqual(twin.forward(x));
  const optimizer = new SGD(twin.parameters(), { lr: 0.1 });
  const losses = Array.from({ length: 20 }, () => {
    const { loss, grad } = crossEntropy(twin.forward(x), [0, 1, 2, 0, 1]);
    optimizer.zeroGrad();
    twin.backward(grad);
    optimizer.step();
    return loss;
  });
  expect(losses[19]).toBeLessThan(0.5 * losses[0]);
});

test('a shape that does not fit is refused with the place', () => {
  expect(() => convnet().build([null, 2, 6])).toThrow(
    'Sequential, layer 0: Conv2d(null, 4): x expected rank 4, got rank 3 (shape [null, 2, 6])',
  );
});

test('in a graph a layer is built where it is applied', () => {
  const net = new Graph({ a: [3], b: [5] }, (g, { a, b }) => {
    const both = g.concat([g.apply('fa', new Linear(null, 4), a), g.apply('fb', new Linear(null, 4), b)], 1);
    return g.apply('out', new Sequential(new ReLU(), new Linear(null, 2)), both);
  });
  const shapes = Object.entries(net.stateDict()).map(([name, { shape }]) => `${name} ${shape.join('x')}`);
  expect(shapes).toEqual([
    'fa.weight 4x3',
    'fa.bias 4',
    'fb.weight 4x5',
    'fb.bias 4',
    'out.1.weight 2x8',
    'out.1.bias 2',
  ]);
  expect(() => new Graph({ x: [null] }, (g, { x }) => g.apply('fc', new Linear(null, 2), x))).toThrow(
    'Linear(null, 2): parameters expected build(shape) or a forward before them, got neither',
  );
});

test.each<[string, () => unknown, string]>([
  [
    'undefined is not null',
    () => new Linear(any(undefined), 3),
    'Linear: inFeatures expected an integer from 1 to 16777216, got undefined',
  ],
  [
    'groups that do not divide the channels of the input',
    () => new Conv2d(null, 6, 3, { groups: 3 }).forward(inputOf([1, 4, 5, 5])),
    'Conv2d(4, 6): groups expected an integer of 1 or more that divides the channels, got 3 (4 in, 6 out)',
  ],
  [
    'groups that do not divide the outputs',
    () => new Conv2d(null, 5, 3, { groups: 3 }),
    'Conv2d(null, 5): groups expected an integer of 1 or more that divides the channels, got 3 (null in, 5 out)',
  ],
  [
    'inFeatures',
    () => new Linear(null, 2).inFeatures,
    'Linear(null, 2): inFeatures expected build(shape) or a forward before them, got neither',
  ],
  [
    'inChannels',
    () => new Conv2d(null, 2, 1).inChannels,
    'Conv2d(null, 2): inChannels expected build(shape) or a forward before them, got neither',
  ],
  [
    'a wrapper of what is not built',
    () => new SpectralNorm(new Linear(null, 2)),
    'Linear(null, 2): parameters expected build(shape) or a forward before them, got neither',
  ],
  [
    'folding of what is not built',
    () => foldLinear(new Linear(null, 2), { scale: [1, 2] }),
    'Linear(null, 2): parameters expected build(shape) or a forward before them, got neither',
  ],
])('refused: %s', (_, work, message) => {
  let thrown: Error | undefined;
  try {
    work();
  } catch (error) {
    thrown = error as Error;
  }
  expect(thrown?.message).toBe(message);
});
