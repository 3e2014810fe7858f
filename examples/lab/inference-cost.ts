import { BatchNorm1d, Linear, normal, Sequential, Tanh } from 'evenkeel';
import { PIXELS } from '../digits/digits.ts';
import type { Experiment } from './experiment.ts';
import { batchesOf, median } from './training.ts';

const UNITS = 100;
const ROUNDS = 15;

/**
 * The same net as plain loops over typed arrays, batch norm and all: what one would write without a
 * library.
 */
function plainLoops(net: Sequential): (x: Float32Array, rows: number) => Float32Array {
  return (x, rows) => {
    let values = x;
    for (const layer of net.layers) {
      if (layer instanceof Linear) {
        const { inFeatures, outFeatures } = layer;
        const [w, b] = [layer.weight.data, layer.bias!.data];
        const out = new Float32Array(rows * outFeatures);
        for (let n = 0; n < rows; n++) {
          for (let o = 0; o < outFeatures; o++) {
            let sum = b[o];
            for (let i = 0; i < inFeatures; i++) sum += w[o * inFeatures + i] * values[n * inFeatures + i];
            out[n * outFeatures + o] = sum;
          }
        }
        values = out;
      } else if (layer instanceof BatchNorm1d) {
        const units = layer.numFeatures;
        const { eps } = layer.options;
        values = values.map((v, i) => {
          const c = i % units;
          return (
            ((v - layer.runningMean![c]) / Math.sqrt(layer.runningVar![c] + eps)) * layer.gamma!.data[c] +
            layer.beta!.data[c]
          );
        });
      } else values = values.map(Math.tanh);
    }
    return values;
  };
}

/** What batch norm costs at inference. */
export const inferenceCost: Experiment = {
  name: 'inference-cost',
  title: 'Cost at inference',
  question: 'What does batch norm cost once a net is trained?',
  setup: `784-${UNITS}-${UNITS}-${UNITS}-10, tanh, batches of 64; with batch norm as it is, with batch norm compiled into the linear layers, without batch norm compiled, and with batch norm as plain loops; medians of ${ROUNDS} rounds in turns.`,
  async run({ digits: { train }, seeds, show }) {
    await show('timing');
    const [seed] = seeds;
    const { x } = batchesOf(train, 64, seed).next().value!;
    const build = (withNorm: boolean) => {
      const hidden = (inputs: number, at: number) => [
        new Linear(inputs, UNITS, { init: normal(1 / Math.sqrt(inputs)), seed: seed + at }),
        ...(withNorm ? [new BatchNorm1d(UNITS)] : []),
        new Tanh(),
      ];
      const net = new Sequential(
        ...hidden(PIXELS, 0),
        ...hidden(UNITS, 1),
        ...hidden(UNITS, 2),
        new Linear(UNITS, 10, { seed }),
      );
      net.forward(x);
      return net.eval();
    };
    const [net, bare] = [build(true), build(false)];
    const [run, runBare] = [net.compile(), bare.compile()];
    const loops = plainLoops(net);
    const difference = (a: ArrayLike<number>, b: Float32Array) =>
      b.reduce((worst, v, i) => Math.max(worst, Math.abs(v - a[i])), 0);
    const expected = net.forward(x).data.slice();
    const off = Math.max(difference(run(x).data, expected), difference(loops(x.data, 64), expected));
    const works: [string, () => unknown][] = [
      ['compiled, without batch norm', () => runBare(x)],
      ['compiled, with batch norm', () => run(x)],
      ['layer by layer, with batch norm', () => net.forward(x)],
      ['plain loops, with batch norm', () => loops(x.data, 64)],
    ];
    const times: number[][] = works.map(() => []);
    for (let round = 0; round < ROUNDS; round++) {
      await show(`round ${round + 1}`, round / ROUNDS);
      for (const [i, [, work]] of works.entries()) {
        const many = i === 3 ? 1 : 10;
        const start = performance.now();
        for (let k = 0; k < many; k++) work();
        times[i].push((performance.now() - start) / many);
      }
    }
    const ms = times.map(median);
    for (const held of [net, bare, run, runBare]) held.dispose();
    return {
      figures: [],
      tables: [
        {
          title: 'A batch of 64 (medians)',
          heads: ['', 'milliseconds', 'images per second'],
          rows: works.map(([name], i) => [name, ms[i].toFixed(3), Math.round(64_000 / ms[i])]),
        },
      ],
      verdict: `Compiled, batch norm costs ${(ms[1] / ms[0]).toFixed(2)} times what the net without it takes, which is nothing; layer by layer ${(ms[2] / ms[1]).toFixed(2)} times the compiled net, as plain loops ${(ms[3] / ms[1]).toFixed(0)} times; all give the same within ${off.toExponential(0)}.`,
      holds: ms[1] / ms[0] < 1.3 && ms[3] > 3 * ms[1] && off < 1e-4,
    };
  },
};
