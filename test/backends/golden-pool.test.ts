// The reference data of PyTorch for pooling, through the public layers.

import { describe, expect, test } from 'vitest';
import * as evenkeel from '../../src/index.ts';
import { type Layout, type TensorLike, tensor } from '../../src/index.ts';
import { shapeOf } from '../../src/tensors/shape.ts';
import { convolutionCases, errorRatio, type GoldenTensor, plain } from '../support/golden.ts';

const places: Record<string, (t: GoldenTensor) => TensorLike> = {
  arrays: plain,
  tensors: (t) => tensor(plain(t).data, t.shape),
};

type AnyPool = {
  forward(x: TensorLike): TensorLike;
  backward(dy: TensorLike): TensorLike;
  outputShape: (s: readonly number[]) => readonly number[];
};
type PoolClass = new (size: unknown, options?: object) => AnyPool;
const CLASSES = evenkeel as unknown as Record<string, PoolClass>;

describe.each(Object.keys(places))('on %s', (kind) => {
  const cases = convolutionCases('max_pool', 'avg_pool', 'adaptive_avg_pool', 'global_avg_pool');

  test('there are all cases', () => {
    expect(cases).toHaveLength(37);
  });

  test.each(cases)('$id', ({ op, attributes: a, tensors: T }) => {
    const layout: Layout = a.layout === 'channels_last' ? 'channels-last' : 'channels-first';
    const axes = a.logicalShape.length - 2;
    const { kernelSize, stride, padding, dilation, ceilMode, countIncludePad, outputSize } = a;
    const layer = {
      max_pool: () => new CLASSES[`MaxPool${axes}d`](kernelSize, { stride, padding, dilation, ceilMode, layout }),
      avg_pool: () =>
        new CLASSES[`AvgPool${axes}d`](kernelSize, { stride, padding, ceilMode, countIncludePad, layout }),
      adaptive_avg_pool: () => new CLASSES[`AdaptiveAvgPool${axes}d`](outputSize, { layout }),
      global_avg_pool: () => new evenkeel.GlobalAvgPool({ layout }) as unknown as AnyPool,
    }[op as 'max_pool']();
    expect(layer.outputShape(T.x.shape)).toEqual(T.y.shape);
    const y = layer.forward(places[kind](T.x));
    const dx = layer.backward(places[kind](T.dy));
    expect([shapeOf(y), shapeOf(dx)]).toEqual([T.y.shape, T.x.shape]);
    for (const [truth, actual] of [
      [T.y, y.data],
      [T.dx, dx.data],
    ] as const) {
      expect(errorRatio(truth, actual, 'strict')).toBeLessThanOrEqual(1);
    }
  });
});
