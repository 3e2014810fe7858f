// ONNX's own tests of operators, where Debian's libonnx-testdata is installed.

import { describe, expect, test } from 'vitest';
import { type ConstantInput, loadNetwork } from '../../src/weights/index.ts';
import { formsOf, type Plain } from '../support/networks.ts';
import { type Given, hasNodeTests, type NodeTest, nodeTests } from '../support/node-tests.ts';

const { tests, skipped } = hasNodeTests() ? nodeTests() : { tests: [], skipped: new Map<string, string>() };

/**
 * As ONNX' own runner compares: relative 1e-3 and absolute 1e-7, and as much again for sums in
 * another order.
 */
function expectSame(actual: Plain, expected: Given, form: string): void {
  expect(actual.shape, form).toEqual(expected.shape);
  expected.data.forEach((want, i) => {
    const got = actual.data[i];
    const isSame = Object.is(got, want) || got === want || Math.abs(got - want) <= 1e-3 * Math.abs(want) + 1e-6;
    expect(isSame, `${form}: value ${i} is ${got}, not ${want}`).toBe(true);
  });
}

/** Inputs at run time; and those that say shapes, axes and the like as constants. */
async function run({ model, inputs, outputs }: NodeTest): Promise<'at run time' | 'with constants'> {
  const attempt = async (fixed: readonly string[]) => {
    const constants: Record<string, ConstantInput> = {};
    for (const name of fixed) constants[name] = { data: inputs[name].data, shape: inputs[name].shape };
    const network = await loadNetwork(model, { constants });
    const given = Object.fromEntries(
      network.inputs.map(({ name }) => {
        const { data, shape } = inputs[name];
        return [name, { data: Float32Array.from(data), shape }];
      }),
    );
    for (const [form, forward] of Object.entries(formsOf(network))) {
      const y = forward(given);
      for (const [name, expected] of Object.entries(outputs)) expectSame(y[name], expected, form);
    }
  };
  const names = Object.keys(inputs);
  try {
    await attempt([]);
    return 'at run time';
  } catch (error) {
    if (!/at run time|others/.test((error as Error).message)) throw error;
  }
  await attempt(names.slice(1));
  return 'with constants';
}

describe.skipIf(!hasNodeTests())("ONNX's own tests of operators", () => {
  test('their number, and why others are not run', () => {
    const reasons = new Map<string, number>();
    for (const reason of skipped.values()) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    const list = [...reasons].sort(([, a], [, b]) => b - a).map(([reason, count]) => `${count} ${reason}`);
    console.log(`${tests.length} tests; ${skipped.size} are not run: ${list.join('; ')}`);
    expect(tests.length).toBeGreaterThanOrEqual(500);
  });

  test.each(tests.map((one) => [one.name, one] as const))('%s', async (_, one) => {
    await run(one);
  });
});
