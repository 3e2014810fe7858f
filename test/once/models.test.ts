// evenkeel/models: torchvision's names, shapes and results, training, options and what they refuse.

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  BatchNorm2d,
  type BatchNormOptions,
  crossEntropy,
  GroupNorm,
  type Parameter,
  PReLU,
  SGD,
  tensor,
} from '../../src/index.ts';
import { type Convnet, digitConvnet, digitResnet, mobilenetV2, resnet } from '../../src/models/index.ts';
import { fromTorch, toTorch } from '../../src/weights/index.ts';
import { worstDifference } from '../support/data.ts';
import { noise, sizeOf, torchState, torchvision } from '../support/torchvision.ts';

const TORCHVISION: Record<string, () => Convnet> = {
  resnet18: () => resnet(18, { seed: 1 }),
  resnet34: () => resnet(34, { seed: 1 }),
  resnet50: () => resnet(50, { seed: 1 }),
  mobilenet_v2: () => mobilenetV2({ seed: 1 }),
};

describe.each(Object.keys(TORCHVISION))("%s is torchvision's", (name) => {
  const reference = torchvision[name];
  const net = TORCHVISION[name]();

  test('names and shapes of its state', () => {
    const ours = [...toTorch(net.stateDict())].map(([key, { shape }]) => [key, [...shape]]);
    expect(ours.length).toBeGreaterThan(100);
    expect(ours.sort()).toEqual([...reference.state].sort());
  });

  test('weights load without a map, and give its logits: in evaluation and compiled, norms folded', () => {
    const { state, missing, unused, differences } = fromTorch(torchState(reference), { layer: net });
    expect([missing, unused, differences]).toEqual([[], [], []]);
    net.loadStateDict(state);
    net.eval();
    const x = { data: noise(sizeOf(reference.x), 1000), shape: reference.x };
    const run = net.compile();
    for (const { data } of [net.forward(x), run(x)]) {
      const classes = data.length / reference.x[0];
      expect(classes).toBe(1000);
      reference.logits.forEach((truth, n) => {
        const row = data.subarray(n * classes, (n + 1) * classes);
        expect(worstDifference(row.subarray(0, truth.length), truth)).toBeLessThan(2e-5 * reference.largest);
        const sum = row.reduce((all, value) => all + value, 0);
        expect(Math.abs(sum - reference.sums[n])).toBeLessThan(2e-5 * reference.largest * classes);
      });
    }
    expect(run.steps.filter((step) => /norm/i.test(step))).toEqual([]);
    run.dispose();
  });
});

/** So many steps on one batch; the losses. */
function trained(net: Convnet, shape: number[], classes: number, steps: number, lr: number): number[] {
  const x = tensor(noise(sizeOf(shape), 5), shape);
  const labels = Array.from({ length: shape[0] }, (_, n) => n % classes);
  const optimizer = new SGD(net.parameters(), { lr, momentum: 0.9 });
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const { loss, grad } = crossEntropy(net.forward(x), labels);
    losses.push(loss);
    net.zeroGrad();
    net.backward(grad, { inputGradient: false });
    if (step === 0) {
      const still = net.parameters().filter(({ grad }: Parameter) => grad.every((value) => value === 0));
      expect(still).toEqual([]);
    }
    optimizer.step();
  }
  x.dispose();
  return losses;
}

describe('training moves every parameter and lowers the loss', () => {
  test.each<[string, () => Convnet, number[]]>([
    ['resnet(18)', () => resnet(18, { classes: 4, width: 8, seed: 3 }), [4, 3, 32, 32]],
    ['resnet(34)', () => resnet(34, { classes: 4, width: 4, seed: 3 }), [4, 3, 40, 32]],
    ['resnet(50)', () => resnet(50, { classes: 4, width: 4, seed: 3 }), [4, 3, 48, 48]],
    [
      'resnet(18), channels last',
      () => resnet(18, { classes: 4, width: 8, layout: 'channels-last', seed: 3 }),
      [4, 32, 32, 3],
    ],
    ['norms before', () => resnet(18, { classes: 4, width: 8, normPlace: 'before', seed: 3 }), [4, 3, 32, 32]],
    ['no norms', () => resnet(18, { classes: 4, width: 8, norm: null, seed: 3 }), [4, 3, 32, 32]],
    [
      'group norm',
      () => resnet(18, { classes: 4, width: 8, norm: (channels) => new GroupNorm(4, channels), seed: 3 }),
      [4, 3, 32, 32],
    ],
    ['mobilenetV2', () => mobilenetV2({ classes: 4, width: 0.25, dropout: 0, seed: 3 }), [8, 3, 64, 64]],
    [
      'mobilenetV2, norms before',
      () => mobilenetV2({ classes: 4, width: 0.25, dropout: 0, normPlace: 'before', seed: 3 }),
      [8, 3, 64, 64],
    ],
    ['digitConvnet', () => digitConvnet({ width: 4, seed: 3 }), [20, 1, 12, 12]],
    ['digitResnet(8)', () => digitResnet(8, { width: 4, seed: 3 }), [20, 1, 12, 12]],
    ['digitResnet(14)', () => digitResnet(14, { width: 4, normPlace: 'before', seed: 3 }), [20, 1, 12, 12]],
  ])('%s', (name, make, shape) => {
    const classes = name.startsWith('digit') ? 10 : 4;
    const losses = trained(make(), shape, classes, 40, name === 'no norms' ? 0.02 : 0.05);
    expect(losses.at(-1)!).toBeLessThan(0.7 * losses[0]);
  });
});

test('training steps of ResNet-18 on 8 images of 64×64 fit in 600 MB, the process included', () => {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const args = ['--import', './scripts/typescript.mjs', 'test/support/training-memory.ts'];
  const { losses, peak } = JSON.parse(execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' }));
  expect(losses).toHaveLength(3);
  expect(losses[2]).toBeLessThan(losses[0]);
  expect(peak).toBeLessThan(600e6);
});

const count = (net: Convnet) => net.parameters().reduce((sum, { data }) => sum + data.length, 0);

describe('options', () => {
  test('the same seed gives the same net, another another', () => {
    const bits = (seed: number) => toTorch(mobilenetV2({ width: 0.35, classes: 3, seed }).stateDict());
    expect(bits(4)).toEqual(bits(4));
    expect(bits(4).get('features.0.0.weight')).not.toEqual(bits(5).get('features.0.0.weight'));
  });

  test('classes, channels and width are in the shapes', () => {
    const net = resnet(50, { classes: 7, channels: 1, width: 8, seed: 1 });
    const state = net.stateDict();
    expect(state['conv1.weight'].shape).toEqual([8, 1, 7, 7]);
    expect(state['layer4.2.conv3.weight'].shape).toEqual([256, 64, 1, 1]);
    expect(state['fc.weight'].shape).toEqual([7, 256]);
    expect(net.outputShape([5, 1, 224, 224])).toEqual([5, 7]);
    expect(net.outputShape([null, 1, null, null])).toEqual([null, 7]);
    expect(mobilenetV2({ width: 1.4, seed: 1 }).stateDict()['classifier.1.weight'].shape).toEqual([1000, 1792]);
    expect(mobilenetV2({ width: 0.5, seed: 1 }).stateDict()['features.0.0.weight'].shape).toEqual([16, 3, 3, 3]);
  });

  test('without norms convolutions have a bias, with them none', () => {
    const names = (norm: null | undefined) => Object.keys(digitResnet(8, { norm, seed: 1 }).stateDict());
    expect(names(null).filter((name) => /bn|gamma/.test(name))).toEqual([]);
    expect(names(null).filter((name) => name.endsWith('.bias'))).toHaveLength(10);
    expect(names(undefined).filter((name) => name.endsWith('.bias'))).toEqual(['fc.bias']);
  });

  test('norms before convolutions have the channels of the inputs, and a last one', () => {
    const state = digitResnet(8, { width: 8, normPlace: 'before', seed: 1 }).stateDict();
    expect(state['layer2.0.bn1.gamma'].shape).toEqual([8]);
    expect(state['layer2.0.bn2.gamma'].shape).toEqual([16]);
    expect(state['norm.gamma'].shape).toEqual([32]);
    expect(Object.keys(state).filter((name) => name.includes('downsample'))).toEqual([
      'layer2.0.downsample.0.weight',
      'layer3.0.downsample.0.weight',
    ]);
  });

  test('MobileNetV2 with norms before: the same names, gammas as long as inputs', () => {
    const [behind, before] = (['behind', 'before'] as const).map((normPlace) =>
      mobilenetV2({ width: 0.25, normPlace, seed: 1 }).stateDict(),
    );
    expect(Object.keys(before).sort()).toEqual(Object.keys(behind).sort());
    // 8 channels, widened to 48, and narrowed to 8
    const gammas = ['0.1', '1.1', '3'].map((place) => `features.3.conv.${place}.gamma`);
    expect(gammas.map((name) => before[name].shape)).toEqual([[8], [48], [48]]);
    expect(gammas.map((name) => behind[name].shape)).toEqual([[48], [48], [8]]);
  });

  test('norms that take the channels they meet', () => {
    const net = resnet(18, { width: 4, norm: () => new GroupNorm(4, null), zeroLastGamma: true, seed: 1 });
    expect(net.stateDict()['layer2.0.bn2.gamma']).toEqual({ data: new Float32Array(8), shape: [8] });
  });

  test.each([
    ['resnet(18)', () => resnet(18, { width: 4, zeroLastGamma: true }), /^layer\d\.\d\.bn2\.gamma$/, 8],
    ['resnet(50)', () => resnet(50, { width: 4, zeroLastGamma: true }), /^layer\d\.\d\.bn3\.gamma$/, 16],
    ['mobilenetV2', () => mobilenetV2({ width: 0.25, zeroLastGamma: true }), /^features\.\d+\.conv\.[23]\.gamma$/, 11],
    ['digitResnet(8)', () => digitResnet(8, { zeroLastGamma: true }), /^layer\d\.0\.bn2\.gamma$/, 3],
  ])('zeroLastGamma: blocks of %s begin as the identity', (_, make, of, many) => {
    const gammas = Object.entries(make().stateDict()).filter(([name]) => name.endsWith('gamma'));
    const zero = gammas.filter(([, { data }]) => data.every((value) => value === 0)).map(([name]) => name);
    expect(zero).toHaveLength(many);
    expect(zero.filter((name) => !of.test(name))).toEqual([]);
    expect(gammas.filter(([name]) => !zero.includes(name)).every(([, { data }]) => data.every((v) => v === 1))).toBe(
      true,
    );
  });

  test('a norm of their own is called for each place with its channels', () => {
    const seen: number[] = [];
    const options: BatchNormOptions = { eps: 1e-3, momentum: 0.01 };
    const net = digitConvnet({
      width: 4,
      norm: (channels) => {
        seen.push(channels);
        return new BatchNorm2d(channels, options);
      },
    });
    expect(seen).toEqual([4, 8, 16, 32]);
    expect((net.layers.get('bn3') as BatchNorm2d).options.eps).toBe(1e-3);
  });

  test('channels last gives what channels first gives', () => {
    const [first, last] = (['channels-first', 'channels-last'] as const).map((layout) =>
      digitResnet(8, { width: 4, channels: 2, layout, seed: 9 }),
    );
    const x = noise(3 * 2 * 10 * 8, 1);
    const turned = new Float32Array(x.length);
    for (let n = 0; n < 3; n++)
      for (let c = 0; c < 2; c++) for (let i = 0; i < 80; i++) turned[(n * 80 + i) * 2 + c] = x[(n * 2 + c) * 80 + i];
    const a = first.forward({ data: x, shape: [3, 2, 10, 8] }).data;
    const b = last.forward({ data: turned, shape: [3, 10, 8, 2] }).data;
    expect(worstDifference(a, b)).toBeLessThan(1e-5);
  });

  test("parameters are as many as torchvision's", () => {
    expect(count(resnet(18))).toBe(11_689_512);
    expect(count(mobilenetV2())).toBe(3_504_872);
  });
});

describe('what is refused', () => {
  test.each<[() => unknown, string]>([
    [() => resnet(101 as never), 'resnet: depth expected 18, 34 or 50, got 101'],
    [() => resnet('toString' as never), "resnet: depth expected 18, 34 or 50, got 'toString'"],
    [() => resnet(18, { classes: 0 }), 'resnet(18): classes expected a whole number of 1 or more, got 0'],
    [() => resnet(18, { width: 1.5 }), 'resnet(18): width expected a whole number of 1 or more, got 1.5'],
    [
      () => resnet(18, { depth: 3 } as never),
      "resnet(18): options expected 'classes', 'channels', 'norm', 'layout', 'seed', 'width', 'normPlace' or 'zeroLastGamma', got 'depth'",
    ],
    [
      () => resnet(18, { normPlace: 'after' as never }),
      "resnet(18): normPlace expected 'behind' or 'before', got 'after'",
    ],
    [
      () => resnet(18, { normPlace: 'before', zeroLastGamma: true }),
      "resnet(18): zeroLastGamma expected normPlace 'behind', got 'before'",
    ],
    [() => resnet(18, { norm: null, zeroLastGamma: true }), 'resnet(18): zeroLastGamma expected norms, got norm: null'],
    [() => resnet(18, { norm: 'batch' as never }), "resnet(18): norm expected a function or null, got 'batch'"],
    [
      () => resnet(18, { width: 4, norm: (() => 3) as never }),
      'resnet(18): norm expected a function that returns a Layer, got 3',
    ],
    [
      () => digitResnet(8, { norm: () => new PReLU(), zeroLastGamma: true }),
      'digitResnet(8): zeroLastGamma expected norms with gamma, got PReLU(1) (at layer1.0.bn2)',
    ],
    [() => digitResnet(10), 'digitResnet: depth expected 6·n + 2 from 8 on, got 10'],
    [() => digitResnet(2), 'digitResnet: depth expected 6·n + 2 from 8 on, got 2'],
    [() => digitConvnet({ channels: -1 }), 'digitConvnet: channels expected a whole number of 1 or more, got -1'],
    [() => mobilenetV2({ width: Number.NaN }), 'mobilenetV2: width expected a finite number above 0, got NaN'],
    [
      () => mobilenetV2({ normPlace: 'before', zeroLastGamma: true }),
      "mobilenetV2: zeroLastGamma expected normPlace 'behind', got 'before'",
    ],
    [() => mobilenetV2({ dropout: 2 }), 'mobilenetV2: dropout expected a number from 0 to 1, got 2'],
    [() => mobilenetV2({ seed: Number.POSITIVE_INFINITY }), 'mobilenetV2: seed expected a finite number, got Infinity'],
    [
      () => resnet(18, { width: 4, norm: () => new BatchNorm2d(5) }),
      'Graph, layer bn1: BatchNorm2d(5): x expected 5 channels on axis 1, got 4 (shape [null, 4, null, null], channels-first)',
    ],
  ])('%s', (work, message) => {
    let thrown: Error | undefined;
    try {
      work();
    } catch (error) {
      thrown = error as Error;
    }
    expect(thrown?.message).toBe(message);
  });

  test('images without the channels', () => {
    expect(() => digitConvnet({ width: 4 }).forward({ data: new Float32Array(48), shape: [1, 3, 4, 4] })).toThrow(
      'Graph: x expected shape [null, 1, null, null], got [1, 3, 4, 4]',
    );
  });
});
