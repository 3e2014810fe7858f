// Convolutions against reference data made with PyTorch, whose README (test/fixtures/golden-conv) says what tolerances mean.

import { describe, expect, test } from 'vitest';
import {
  Conv1d,
  Conv2d,
  Conv3d,
  type ConvPadding,
  ConvTranspose1d,
  ConvTranspose2d,
  type Layout,
  tensor,
} from '../../src/index.ts';
import { convolutionalCases, errorRatio, type GoldenTensor, plain } from '../support/golden.ts';

const KINDS = { Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d };

/** As options take it: PyTorch's own, or what it was explicitly. */
const paddingOf = (given: ConvPadding | null, pads: number[]): ConvPadding => {
  const axes = pads.length / 2;
  return given ?? Array.from({ length: axes }, (_, a) => [pads[a], pads[a + axes]] as const);
};

function layerOf(attributes: Record<string, never>) {
  const { conv, inChannels, outChannels, kernelSize, stride, padding, pads, dilation } = attributes;
  const { outputPadding, groups, bias, layout } = attributes;
  const name = (layout as string).replace('_', '-') as Layout;
  const options = { stride, dilation, groups, bias, layout: name };
  const Kind = KINDS[conv as keyof typeof KINDS] as typeof Conv2d;
  const own = outputPadding === undefined ? { padding: paddingOf(padding, pads) } : { padding, outputPadding };
  return new Kind(inChannels, outChannels, kernelSize, { ...options, ...own });
}

const cases = convolutionalCases('conv', 'conv_transpose');

describe('convolutions in PyTorch', () => {
  test('there are as many cases as the index says', () => {
    expect(cases.length).toBe(77);
  });

  test.each(cases.map((c) => [c.id, c] as const))('%s', (_, { attributes, tensors }) => {
    for (const kind of ['array', 'tensor'] as const) {
      const layer = layerOf(attributes);
      const { x, weight, bias, dy } = tensors;
      layer.loadStateDict({ weight: plain(weight), ...(bias && { bias: plain(bias) }) });
      const given = (t: GoldenTensor) => (kind === 'array' ? plain(t) : tensor(plain(t).data, t.shape));
      const before = plain(x).data;
      const from = given(x);
      const y = layer.forward(from as never) as { data: Float32Array; shape: number[] };
      expect(layer.outputShape(x.shape)).toEqual(tensors.y.shape);
      expect(y.shape).toEqual(tensors.y.shape);
      const ratios: Record<string, number> = { y: errorRatio(tensors.y, y.data, 'tol') };
      if (dy) {
        const dx = layer.backward(given(dy) as never) as { data: Float32Array; shape: number[] };
        expect(dx.shape).toEqual(x.shape);
        ratios.dx = errorRatio(tensors.dx, dx.data, 'tol');
        ratios.dweight = errorRatio(tensors.dweight, layer.weight.grad, 'tol');
        if (tensors.dbias) ratios.dbias = errorRatio(tensors.dbias, layer.bias!.grad, 'tol');
      }
      expect(from.data).toEqual(before);
      expect(Object.entries(ratios).filter(([, ratio]) => !(ratio <= 1))).toEqual([]);
    }
  });
});
