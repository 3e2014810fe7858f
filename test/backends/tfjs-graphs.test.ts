// Graph models of TF.js against what TF.js makes of them
// (test/fixtures/weights/make_tfjs_graphs.mjs): every operator that there is here, in every form of
// a network.

import { describe, expect, test } from 'vitest';
import type { Json } from '../../src/formats/json.ts';
import { rules } from '../../src/weights/network/tf-rules.ts';
import { formsOf, type Plain } from '../support/networks.ts';
import { fixture, loadAndSpoil } from '../support/weights.ts';

interface Case {
  readonly name: string;
  readonly model: { readonly modelTopology: { readonly node: readonly { readonly op: string }[] } };
  readonly weights: string;
  readonly answers: readonly {
    readonly inputs: readonly { readonly name: string; readonly shape: readonly number[] }[];
    readonly outputs: readonly { readonly shape: readonly number[]; readonly data: string }[];
  }[];
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const cases = JSON.parse(text(fixture('tfjs-graphs/cases.json'))) as Case[];

const bytesOf = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));
const filesOf = ({ model, weights }: Case) => ({
  'model.json': new TextEncoder().encode(JSON.stringify(model as never as Json)),
  'weights.bin': bytesOf(weights),
});

/** Numbers that the script works out as well. */
function given({ name, shape }: { name: string; shape: readonly number[] }, i: number): Plain {
  const size = shape.reduce((product, length) => product * length, 1);
  const data = Float32Array.from({ length: size }, (_, k) =>
    name === 'tokens' ? (k * 7 + i + 1) % 5 : 2 * Math.cos(2.3 * k + i + 1),
  );
  return { data, shape };
}

describe('graph models of TF.js', () => {
  test.each(cases.map((one) => [one.name, one] as const))('%s', async (_, one) => {
    const network = await loadAndSpoil(filesOf(one));
    expect(network.training).toBe(false);
    expect(network.inputs.map(({ name }) => name)).toEqual(one.answers[0].inputs.map(({ name }) => name));
    const forms = formsOf(network);
    for (const { inputs, outputs } of one.answers) {
      const x = Object.fromEntries(inputs.map((input, i) => [input.name, given(input, i)]));
      for (const [form, run] of Object.entries(forms)) {
        const y = run(inputs.length === 1 ? (x[inputs[0].name] as never) : x);
        outputs.forEach(({ shape, data }, i) => {
          const truth = new Float32Array(bytesOf(data).buffer);
          const own = y[`y${i}`];
          const label = `${form}, output ${i} of shape [${shape.join(', ')}]`;
          expect(own.shape, label).toEqual(shape);
          const largest = truth.reduce(
            (most, value) => Math.max(most, Number.isFinite(value) ? Math.abs(value) : 0),
            0,
          );
          truth.forEach((value, k) => {
            const isClose =
              Object.is(value, own.data[k]) || Math.abs(value - own.data[k]) <= 1e-5 * Math.max(largest, 1e-3);
            if (!isClose) expect(own.data[k], `${label}, value ${k}`).toBe(value);
          });
        });
      }
    }
  });

  test('every operator that there is here is in one of them', () => {
    const met = new Set(cases.flatMap(({ model }) => model.modelTopology.node.map(({ op }) => op)));
    expect(Object.keys(rules()).filter((op) => !met.has(op))).toEqual([]);
  });
});
