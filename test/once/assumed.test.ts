// What a file does not say is marked wherever it is stated: imports, differences, folds, metadata.

import { describe, expect, test } from 'vitest';
import { BatchNorm, BatchNorm1d, Linear, Sequential } from '../../src/index.ts';
import {
  foldOnnx,
  foldSafetensors,
  fromFlax,
  fromKeras,
  fromOnnx,
  fromTorch,
  readKeras,
  readNpz,
  readOnnx,
  readSafetensors,
  writeSafetensors,
} from '../../src/weights/index.ts';
import { normsIn, withNorms } from '../../src/weights/stored-norms.ts';
import { fixture } from '../support/weights.ts';

const ALL = ['eps', 'momentum', 'runningVariance', 'layout'];
const one = (...data: number[]) => ({ data, shape: [data.length] });

describe('options of norms', () => {
  test('files of weights alone say none', async () => {
    const torch = fromTorch(readSafetensors(fixture('torch/net.f32.safetensors')).tensors);
    expect(torch.assumed).toEqual({ bn0: ALL, bn1: ALL, bn2: ALL });
    const flax = fromFlax(await readNpz(fixture('flax/net.npz')));
    expect(flax.assumed).toEqual({ BatchNorm_0: ALL, BatchNorm_1: ALL });
    const keras = fromKeras({ 'bn/moving_mean': one(0), 'bn/moving_variance': one(1) });
    expect([keras.assumed, keras.norms.bn.eps]).toEqual([{ bn: ALL }, 1e-3]);
  });

  test('files with a graph or a config say all', async () => {
    expect(fromOnnx(readOnnx(fixture('torch/net.onnx'))).assumed).toEqual({});
    expect(fromKeras(await readKeras(fixture('keras/functional.new.keras'))).assumed).toEqual({});
  });

  test('a config without epsilon and axis says the rest', () => {
    const layer = { name: 'bn', className: 'BatchNormalization', inbound: undefined, rank: 2 };
    const tensors = new Map(
      ['gamma', 'beta', 'moving_mean', 'moving_variance'].map((name) => [
        `bn/${name}`,
        { dtype: 'F32', shape: [1], data: Float32Array.of(1) },
      ]),
    );
    const { norms, assumed } = fromKeras({ tensors, layers: [{ ...layer, config: { momentum: 0.9 } }], version: null });
    expect(norms.bn).toEqual({ ...BatchNorm.preset('keras'), momentum: 0.1 });
    expect(assumed).toEqual({ bn: ['eps', 'layout'] });
  });

  test('differences are those to what was read', async () => {
    const layer = new Sequential(new Linear(4, 6), new BatchNorm1d(6, { eps: 0.01 }));
    const flax = fromFlax(await readNpz(fixture('flax/net.npz')), {
      layer,
      rename: { Dense_0: '0', BatchNorm_0: '1' },
    });
    expect(flax.differences).toEqual([]);
    expect(flax.norms['1'].eps).toBe(1e-5);
  });
});

describe('fold', () => {
  const file = readSafetensors(fixture('torch/net.f32.safetensors'));
  const pairs = { bn1: 'fc1', bn2: 'fc2' };

  test('an eps that nobody said is assumed, one that was said is not', () => {
    const { folded, assumed } = foldSafetensors(fixture('torch/net.f32.safetensors'), { pairs, eps: { bn2: 1e-3 } });
    expect(assumed).toEqual(["bn1: eps 0.00001, PyTorch's default: the file does not say"]);
    expect(folded.map(({ norm, assumed: own }) => [norm, own])).toEqual([
      ['bn1', ['eps']],
      ['bn2', undefined],
    ]);
    expect(foldSafetensors(fixture('torch/net.f32.safetensors'), { pairs, eps: 1e-5 }).assumed).toEqual([]);
    expect(foldOnnx(fixture('torch/net.onnx')).assumed).toEqual([]);
  });

  test('metadata holds what was read and nothing else', () => {
    const norms = { bn1: { eps: 1e-3, momentum: 0.1, layout: 'channels-last' }, bn2: { eps: 1e-5 } } as const;
    const metadata = withNorms({ norms, assumed: { bn1: ['momentum'], bn2: ['eps'] } });
    expect(metadata).toEqual({ 'evenkeel.norms': '{"bn1":{"eps":0.001,"layout":"channels-last"}}' });
    expect(normsIn(metadata)).toEqual({ bn1: { eps: 1e-3, layout: 'channels-last' } });
    expect(withNorms({ norms: { bn2: { eps: 1e-5 } }, assumed: { bn2: ['eps'] } })).toEqual({});
    const { folded, assumed } = foldSafetensors(writeSafetensors(file.tensors, metadata), { pairs, eps: { bn2: 1 } });
    expect([folded[0].eps, assumed]).toEqual([1e-3, []]);
  });
});
