import { BatchNorm1d, Linear, normal, Sequential, Tanh } from 'evenkeel';
import { PIXELS } from '../digits/digits.ts';
import type { Experiment } from './experiment.ts';
import { batchesOf, median, spread } from './training.ts';
import { type Text, t } from './words.ts';

const UNITS = 100;
const ROUNDS = 31;

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
  title: t`Cost at inference`,
  question: t`What does batch norm cost once a net is trained?`,
  claim: t`Compiled into the layer before it, batch norm costs nothing.`,
  async run({ digits: { train }, seeds, show }) {
    await show(t`timing`);
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
    const works: [Text, () => unknown][] = [
      [t`compiled, without batch norm`, () => runBare(x)],
      [t`compiled, with batch norm`, () => run(x)],
      [t`layer by layer, with batch norm`, () => net.forward(x)],
      [t`plain loops, with batch norm`, () => loops(x.data, 64)],
    ];
    const times: number[][] = works.map(() => []);
    for (let round = 0; round < ROUNDS; round++) {
      await show(t`round ${round + 1}`, round / ROUNDS);
      for (const [i, [, work]] of works.entries()) {
        const many = i === 3 ? 1 : 10;
        const start = performance.now();
        for (let k = 0; k < many; k++) work();
        times[i].push((performance.now() - start) / many);
      }
    }
    const ms = times.map(median);
    const ratio = (a: number, b: number) => spread(times[a].map((time, round) => time / times[b][round]));
    for (const held of [net, bare, run, runBare]) held.dispose();
    return {
      setup: t`784-${UNITS}-${UNITS}-${UNITS}-10, tanh, batches of 64; with batch norm as it is, with batch norm compiled into the linear layers, without batch norm compiled, and with batch norm as plain loops; ${ROUNDS} rounds in turns, ratios round by round.`,
      figures: [],
      tables: [
        {
          title: t`A batch of 64 (medians)`,
          heads: ['', t`milliseconds`, t`images per second`],
          rows: works.map(([name], i) => [name, ms[i].toFixed(3), Math.round(64_000 / ms[i])]),
        },
      ],
      verdict: t`Compiled, a net with batch norm takes ${ratio(1, 0)} times as long as one without; layer by layer it takes ${ratio(2, 1)} times as long as compiled, and as plain loops ${ratio(3, 1)} times (median; the middle half of the rounds); all give the same within ${off.toExponential(0)}.`,
      holds: undefined,
    };
  },
};
