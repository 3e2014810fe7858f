// Networks of Keras and TF.js layers with whatever graph, against what Keras and TF.js give.

import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { type LoadedNetwork, loadNetwork } from '../../src/weights/index.ts';
import { formsOf, type Plain } from '../support/networks.ts';
import { answers as answersOf, fixture, loadAndSpoil, relative } from '../support/weights.ts';

interface Answer {
  /** Of whole numbers: how many there are. */
  readonly whole: number;
  /** Inputs that are truth values. */
  readonly truths?: readonly number[];
  readonly inputs: readonly (readonly number[])[];
  readonly outputs: readonly { readonly shape: readonly number[]; readonly data: readonly number[] }[];
}

const countOf = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);

/** Value i of input k: the formula of the scripts that made the fixtures. */
function inputsOf(net: LoadedNetwork, { inputs, whole, truths }: Answer): Record<string, Plain> {
  const made = inputs.map((shape, k) => {
    const number = (i: number) => (whole ? (i * 7 + k) % whole : Math.sin(0.7 * i + 1 + k));
    const value = (i: number) => (truths?.includes(k) ? Number(number(i) > 1) : number(i));
    const data = Float32Array.from({ length: countOf(shape) }, (_, i) => value(i));
    return [net.inputs[k].name, { data, shape: [...shape] }] as const;
  });
  return Object.fromEntries(made);
}

function check(net: LoadedNetwork, answer: Answer): void {
  const inputs = inputsOf(net, answer);
  for (const run of Object.values(formsOf(net))) {
    const found = run(inputs);
    expect(net.outputs.length).toBe(answer.outputs.length);
    for (const [i, { shape, data }] of answer.outputs.entries()) {
      const { name } = net.outputs[i];
      expect([name, [...found[name].shape]]).toEqual([name, shape]);
      expect(relative(found[name].data, data), name).toBeLessThanOrEqual(1e-5);
    }
  }
}

describe('networks that Keras wrote give what Keras gives', () => {
  const answers = answersOf('keras-networks/answers.json') as Record<string, Answer>;
  for (const [name, answer] of Object.entries(answers)) {
    test(`${name}.h5`, async () => {
      check(await loadAndSpoil(gunzipSync(fixture(`keras-networks/${name}.h5.gz`))), answer);
    });
    // the old Keras writes no archives
    if (name.endsWith('.old')) continue;
    test(`${name}.keras`, async () => {
      check(await loadAndSpoil(fixture(`keras-networks/${name}.keras`)), answer);
    });
  }
});

test('a kernel with a change of low rank beside it is refused, as the file has no sum', async () => {
  await expect(loadNetwork(gunzipSync(fixture('keras-networks/lora.h5.gz')))).rejects.toThrow(
    "Keras: layer Dense 'q' expected 'kernel' as it is, got one with 'lora_kernel_a' beside it",
  );
});

test('layers that stand in two networks share their weights', async () => {
  const net = await loadNetwork(fixture('keras-networks/rare.keras'));
  expect(net.report).toMatchObject({ trainable: false, reason: expect.stringContaining("'code'") });
});

describe('layers models of TF.js give what TF.js gives', () => {
  const answers = answersOf('tfjs-layers/answers.json') as Record<string, Answer>;
  for (const [name, answer] of Object.entries(answers)) {
    test(name, async () => {
      const [json, bin] = [`${name}.json`, `${name}.bin`];
      const files = { 'model.json': fixture(`tfjs-layers/${json}`), [bin]: fixture(`tfjs-layers/${bin}`) };
      check(await loadAndSpoil(files), answer);
    });
  }
});
