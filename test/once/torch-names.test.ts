// Names of PyTorch, of those who follow it, and of Flax: what is read, what is left, and what does
// not fit.

import { describe, expect, test } from 'vitest';
import { BatchNorm1d, LayerNorm, Linear, ReLU, RMSNorm, Sequential, Tanh } from '../../src/index.ts';
import { fromFlax, fromKeras, fromTorch, readNpz, readSafetensors, writeSafetensors } from '../../src/weights/index.ts';
import { answers, fixture, relative } from '../support/weights.ts';

const of = (shape: readonly number[], ...data: number[]) => ({ data: Float32Array.from(data), shape });
const vector = (...data: number[]) => of([data.length], ...data);
const norm = (name: string, scale = 'weight', shift = 'bias') => ({
  [`${name}.${scale}`]: vector(2, 3),
  [`${name}.${shift}`]: vector(0.5, -0.5),
  [`${name}.running_mean`]: vector(1, 1),
  [`${name}.running_var`]: vector(4, 4),
});

describe('names around names', () => {
  const plain = fromTorch(readSafetensors(fixture('torch/prelu.safetensors')).tensors);

  test('AveragedModel: its counter lies beside the module', () => {
    const averaged = fromTorch(readSafetensors(fixture('torch/averaged.safetensors')).tensors);
    expect(averaged.state).toEqual(plain.state);
    expect([...averaged.unused].sort()).toEqual(['module.act1.weight', 'n_averaged']);
  });

  test('torch.compile, FSDP and activation checkpointing: anywhere', () => {
    const wrapped = {
      '_orig_mod.encoder._orig_mod.bn.weight': vector(1),
      '_orig_mod.encoder._orig_mod.bn.bias': vector(2),
      '_orig_mod.encoder.fc._checkpoint_wrapped_module.weight': of([1, 2], 3, 4),
      '_orig_mod.head._fsdp_wrapped_module.weight': of([1, 1], 5),
      '_orig_mod.head.my_orig_mod.weight': of([1, 1], 6),
    };
    expect(Object.keys(fromTorch(wrapped).state)).toEqual([
      'encoder.bn.gamma',
      'encoder.bn.beta',
      'encoder.fc.weight',
      'head.weight',
      'head.my_orig_mod.weight',
    ]);
    const twice = fromTorch({ 'a.weight': of([1, 1], 1), 'a._orig_mod.weight': of([1, 1], 2) });
    expect(Object.keys(twice.state)).toEqual(['a.weight', 'a._orig_mod.weight']);
    const collections = fromFlax({ 'params/bn/scale': vector(1), 'batch_stats/bn/scale': vector(2) });
    expect([collections.state['bn.gamma'], collections.unused]).toEqual([vector(1), ['batch_stats/bn/scale']]);
  });
});

describe('norms', () => {
  test('gamma and beta, as Gluon and Burn have them', () => {
    const { state, norms, unused } = fromTorch(norm('bn1', 'gamma', 'beta'));
    expect(state['bn1.gamma']).toEqual(vector(2, 3));
    expect(state['bn1.beta']).toEqual(vector(0.5, -0.5));
    expect([Object.keys(norms), unused]).toEqual([['bn1'], []]);
    expect(() => fromTorch({ ...norm('bn1'), 'bn1.gamma': vector(9, 9) })).toThrow(
      "fromTorch: 'bn1.gamma' expected a name of its own, got 'bn1.gamma', as 'bn1.weight'",
    );
  });

  test('a counter may be a list of one', () => {
    const counted = (data: number[], shape: number[]) => ({ ...norm('bn'), 'bn.num_batches_tracked': { data, shape } });
    const { state } = fromTorch(counted([7], [1]));
    expect(state['bn.batchesTracked']).toEqual({ data: Float32Array.of(7), shape: [] });
    const bn = new BatchNorm1d(2);
    bn.loadStateDict(fromTorch(counted([7], [1, 1]), { layer: bn, rename: { bn: '' } }).state);
    expect(bn.batchesTracked).toBe(7);
  });

  test('are not the vectors of activations', () => {
    const { norms, state, unused } = fromTorch(readSafetensors(fixture('torch/prelu.safetensors')).tensors);
    expect(Object.keys(norms).sort()).toEqual(['bn1', 'ln']);
    expect(unused).toEqual(['act1.weight']);
    expect(Object.keys(state)).not.toContain('act1.gamma');
    const vectors = { 'layers.3.weight': vector(1), 'layers.4.weight': vector(1, 2), 'q_norm.weight': vector(1, 2) };
    const read = fromTorch(vectors);
    expect([Object.keys(read.norms), Object.keys(read.state), read.unused]).toEqual([
      ['q_norm'],
      ['layers.4.gamma', 'q_norm.gamma'],
      ['layers.3.weight'],
    ]);
    expect(fromTorch({ '0.weight': vector(3) }, { layer: new Sequential(new RMSNorm(1)) }).state['0.gamma']).toEqual(
      vector(3),
    );
  });

  test('have what their file has: gamma, beta, both or none', () => {
    const { 'a.bias': _, ...gamma } = norm('a');
    const { 'b.weight': __, ...beta } = norm('b');
    const none = { 'c.running_mean': vector(1), 'c.running_var': vector(1) };
    const { norms } = fromTorch({ ...gamma, ...beta, ...none, ...norm('d') });
    expect(Object.values(norms).map(({ affine }) => affine)).toEqual(['gamma', 'beta', false, undefined]);
  });
});

test('quantised weights are listed as unused, and do not stop the rest', () => {
  const file = writeSafetensors({
    ...norm('bn'),
    'conv.weight': { data: [1, -2], shape: [2, 1], dtype: 'I8' },
    'fc.weight': { bytes: new Uint8Array(2), shape: [2, 1], dtype: 'F8_E4M3' },
    'fc.bias': vector(1, 2),
  });
  const { state, unused } = fromTorch(readSafetensors(file).tensors);
  expect(unused).toEqual(['conv.weight', 'fc.weight']);
  expect(state['fc.bias']).toEqual(vector(1, 2));
});

describe('names that do not fit the layer', () => {
  const net = () => new Sequential(new Linear(2, 2), new BatchNorm1d(2), new ReLU());
  const file = { 'fc1.weight': of([2, 2], 1, 2, 3, 4), 'fc1.bias': vector(1, 2), ...norm('bn1') };

  test('are listed beside those that were expected', () => {
    expect(() => fromTorch(file, { layer: net() })).toThrow(
      "fromTorch: names of layers expected '0', '1', got 'fc1', 'bn1' (rename: { 'fc1': '0', … } says which is which)",
    );
    expect(() => fromKeras({ 'd/kernel': of([2, 2], 1, 2, 3, 4) }, { layer: net() })).toThrow(
      "fromKeras: names of layers expected '0', '1', got 'd' (rename: { 'd': '0', … } says which is which)",
    );
    const many = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`fc${i}.weight`, of([2, 2], 1, 2, 3, 4)]));
    expect(() => fromTorch(many, { layer: net() })).toThrow("'fc6', 'fc7', … (12) (rename");
  });

  test('are no error where some do: a head may be new', () => {
    const { missing, unused } = fromTorch(file, { layer: net(), rename: { fc1: '0' } });
    expect(missing).toEqual(['1.gamma', '1.beta', '1.runningMean', '1.runningVar']);
    expect(unused).toEqual(['bn1.weight', 'bn1.bias', 'bn1.running_mean', 'bn1.running_var']);
  });
});

describe('flax.nnx', () => {
  const rename = { fc1: '0', bn: '1', fc2: '2', ln: '3', fc3: '5' };

  test.each(['nnx', 'nnx.value'])('%s.npz gives Flax’s outputs', async (name) => {
    const net = new Sequential(
      new Linear(4, 6),
      new BatchNorm1d(6, { activation: 'relu' }),
      new Linear(6, 5),
      new LayerNorm(5, { eps: 1e-6 }),
      new Tanh(),
      new Linear(5, 2, { bias: false }),
    );
    const { state, unused, missing, norms } = fromFlax(await readNpz(fixture(`flax/${name}.npz`)), {
      layer: net,
      rename,
    });
    expect([unused.map((one) => one.split('.').slice(0, 3).join('.')), missing]).toEqual([['drop.rngs.count'], []]);
    expect([norms['1'].eps, norms['3'].eps]).toEqual([1e-5, 1e-6]);
    net.loadStateDict(state);
    const { x, y } = answers('flax/nnx.json');
    const got = net.eval().forward({ data: Float32Array.from(x as number[]), shape: [8, 4] });
    expect(relative(got.data, y)).toBeLessThan(2e-6);
  });
});
