// State dicts that are loaded as far as they go.

import { expect, test } from 'vitest';
import { BatchNorm1d, Linear, ReLU, Sequential } from '../../src/index.ts';
import { resnet } from '../../src/models/index.ts';
import { fromTorch } from '../../src/weights/index.ts';
import { torchState, torchvision } from '../support/torchvision.ts';

const build = (classes: number, seed: number) =>
  new Sequential(
    new Linear(4, 6, { seed }),
    new BatchNorm1d(6),
    new ReLU(),
    new Linear(6, classes, { seed: seed + 1 }),
  );

test('what is there is loaded, and what is not stays as it was', () => {
  const [from, to] = [build(3, 1), build(3, 10)];
  const before = to.stateDict();
  const { '3.weight': weight, '3.bias': bias, ...body } = from.stateDict();
  const head = { data: Float32Array.of(1), shape: [1] };
  const report = to.loadStateDict({ ...body, 'head.weight': head }, { strict: false });
  expect(report).toEqual({ missing: ['3.weight', '3.bias'], unexpected: ['head.weight'] });
  const after = to.stateDict();
  expect(after['0.weight']).toEqual(from.stateDict()['0.weight']);
  expect(after['3.weight']).toEqual(before['3.weight']);
  expect(weight.shape).toEqual([3, 6]);
  expect(bias.shape).toEqual([3]);
});

test('a whole state dict reports nothing, strict or not', () => {
  const [from, to] = [build(3, 1), build(3, 10)];
  expect(to.loadStateDict(from.stateDict())).toEqual({ missing: [], unexpected: [] });
  expect(to.loadStateDict(from.stateDict(), { strict: false })).toEqual({ missing: [], unexpected: [] });
  expect(to.stateDict()).toEqual(from.stateDict());
});

test('the body of a pretrained network, with a head of its own', () => {
  const net = resnet(18, { classes: 7, seed: 1 });
  const { state } = fromTorch(torchState(torchvision.resnet18));
  const { 'fc.weight': weight, 'fc.bias': bias, ...body } = state;
  expect([weight.shape, bias.shape]).toEqual([[1000, 512], [1000]]);
  const report = net.loadStateDict(body, { strict: false });
  expect(report).toEqual({ missing: ['fc.weight', 'fc.bias'], unexpected: [] });
  expect(net.stateDict()['layer4.1.conv2.weight'].data).toEqual(state['layer4.1.conv2.weight'].data);
});

test.each<[string, (net: Sequential) => unknown, string]>([
  [
    'a shape that does not fit, and nothing is loaded',
    (net) => net.loadStateDict(build(5, 1).stateDict(), { strict: false }),
    "Sequential: state '3.weight' expected shape [3, 6], got [5, 6]",
  ],
  [
    'an unknown entry, unless it is allowed',
    (net) => net.loadStateDict({ ...net.stateDict(), x: { data: new Float32Array(1), shape: [1] } }),
    "Sequential: state expected only 0.weight, 0.bias, 1.gamma, 1.beta, 1.runningMean, 1.runningVar, 1.batchesTracked, 3.weight, 3.bias, got 'x'",
  ],
  [
    'a missing entry, unless it is allowed',
    (net) => net.loadStateDict({}),
    "Sequential: state expected an entry '0.weight', got none",
  ],
  [
    'strict that is no boolean',
    (net) => net.loadStateDict({}, { strict: 0 as never }),
    'Sequential: strict expected true or false, got 0',
  ],
  [
    'an unknown option',
    (net) => net.loadStateDict({}, { partial: true } as never),
    "Sequential: options expected 'strict', got 'partial'",
  ],
])('refused: %s', (_, work, message) => {
  const net = build(3, 10);
  const before = net.stateDict();
  let thrown: Error | undefined;
  try {
    work(net);
  } catch (error) {
    thrown = error as Error;
  }
  expect(thrown?.message).toBe(message);
  expect(net.stateDict()).toEqual(before);
});
