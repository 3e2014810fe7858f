// Convolutional networks as PyTorch and TensorFlow export them, against reference data whose README
// (test/fixtures/golden-conv) says what tolerances mean.

import { describe, expect, test } from 'vitest';
import { convolutionalCases, errorRatio, goldenFile, plain } from '../support/golden.ts';
import { formsOf, type Plain } from '../support/networks.ts';
import { loadAndSpoil } from '../support/weights.ts';

const cases = convolutionalCases('onnx_model');

describe('ONNX networks', () => {
  test('there are as many as the index says', () => {
    expect(cases.length).toBe(28);
  });

  test.each(cases.map((c) => [c.id, c] as const))('%s', async (_, given) => {
    const { attributes, tensors } = given;
    const network = await loadAndSpoil(goldenFile(given, 'model', 'golden-conv'));
    expect(network.training).toBe(false);
    expect(network.inputs.map(({ name }) => name)).toEqual(attributes.inputs);
    expect(network.outputs.map(({ name }) => name)).toEqual(attributes.outputs);
    const forms = formsOf(network);
    for (const suffix of attributes.pairs as string[]) {
      const x = Object.fromEntries(network.inputs.map(({ name }, i) => [name, plain(tensors[`in${i}${suffix}`])]));
      for (const [form, run] of Object.entries(forms)) {
        const y = run(x);
        network.outputs.forEach(({ name }, i) => {
          const truth = tensors[`out${i}${suffix}`];
          const { data, shape }: Plain = y[name];
          expect(shape, form).toEqual(truth.shape);
          expect(errorRatio(truth, data, 'tol'), form).toBeLessThanOrEqual(1);
        });
      }
    }
  });
});
