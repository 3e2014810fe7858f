import { crossEntropy, type Layer, type Sequential, Tanh, type TensorLike } from 'evenkeel';
import type { Experiment } from './experiment.ts';
import { BOTH, compared } from './grid.ts';
import { acrossSeeds, batchesOf, buildNet, median, percent } from './training.ts';
import { listed, t } from './words.ts';

const SCALES = [0.1, 0.5, 1, 2, 5];
const DEPTH = 10;
const BATCH = 200;
const SATURATED = 0.97;

interface Look {
  /** Share of values beyond ±0.97 in the last hidden layer, and in each. */
  saturated: number;
  byLayer: number[];
  /** Gradient norm with respect to the activations of each hidden layer. */
  gradients: number[];
  /** Of the values of the last hidden layer, in 20 bins from −1 to 1. */
  histogram: number[];
}

/** One batch forward and backward. */
function look(net: Sequential, x: TensorLike, labels: Uint8Array): Look {
  let values = x;
  let last = new Float32Array(0);
  const byLayer: number[] = [];
  const outputs: TensorLike[] = [];
  for (const layer of net.layers as readonly Layer[]) {
    values = layer.forward(values);
    outputs.push(values);
    if (!(layer instanceof Tanh)) continue;
    last = values.data as Float32Array<ArrayBuffer>;
    byLayer.push(last.reduce((sum, value) => sum + Number(Math.abs(value) > SATURATED), 0) / last.length);
  }
  const { grad } = crossEntropy(values, labels);
  net.zeroGrad();
  const gradients: number[] = [];
  (net.layers as readonly Layer[]).reduceRight<TensorLike>((dy, layer) => {
    if (layer instanceof Tanh) gradients.unshift(Math.sqrt(dy.data.reduce((sum, v) => sum + v * v, 0)));
    return layer.backward(dy);
  }, grad);
  const histogram = new Array<number>(20).fill(0);
  for (const value of last) histogram[Math.min(19, Math.floor((value + 1) * 10))] += 1 / last.length;
  return {
    saturated: byLayer.at(-1) ?? 0,
    byLayer,
    gradients,
    histogram,
  };
}

/** What drifting and saturated activations do to gradients, before any training. */
export const saturation: Experiment = {
  name: 'saturation',
  title: t`Saturation`,
  question: t`What happens to activations and gradients in a deep tanh net?`,
  claim: t`Batch norm keeps deep tanh layers out of saturation, and their gradients from vanishing.`,
  controls: { scale: 5, depth: DEPTH },
  async run({ digits: { train }, seeds, controls, show }) {
    const depth = controls.depth ?? DEPTH;
    const scales = controls.scale ? [...new Set([...SCALES, controls.scale])].sort((a, b) => a - b) : SCALES;
    const found: Record<'batch' | 'none', Look[][]> = { batch: [], none: [] };
    for (const { norm, label } of BOTH) {
      for (const seed of seeds) {
        await show(t`${label}, seed ${seed}`);
        const { x, labels } = batchesOf(train, BATCH, seed).next().value!;
        found[norm].push(
          scales.map((scale) => {
            const net = buildNet({ seed, norm, scale, depth });
            const result = look(net, x, labels);
            net.dispose();
            return result;
          }),
        );
      }
    }
    const marks = scales.map((scale) => [Math.log2(scale), `${scale}`] as const);
    const x = marks.map(([at]) => at);
    const over = (norm: 'batch' | 'none', of: (one: Look) => number) => found[norm].map((looks) => looks.map(of));
    const series = (of: (one: Look) => number) => compared((norm) => acrossSeeds(x, over(norm, of)));
    const ratio = (one: Look) => Math.log10(one.gradients[0] / one.gradients.at(-1)!);
    const largest = scales.length - 1;
    const at = (norm: 'batch' | 'none', of: (one: Look) => number, index: number) =>
      median(found[norm].map((looks) => of(looks[index])));
    const layers = Array.from({ length: depth }, (_, i) => i + 1);
    const layerMarks = layers.map((layer) => [layer, `${layer}`] as const);
    const byLayer = (of: (looks: Look[]) => number[]) => compared((norm) => acrossSeeds(layers, found[norm].map(of)));
    const bins = Array.from({ length: 20 }, (_, i) => -0.95 + i / 10);
    const worstBatch = Math.max(...scales.map((_, i) => at('batch', (one) => one.saturated, i)));
    const vanishing = at('none', ratio, 0);
    return {
      setup: t`${depth} hidden layers of 64 tanh units, weights of ${listed(scales)} times 1/√inputs, one batch of ${BATCH} digits forward and backward, no training.`,
      figures: [
        {
          title: t`Values beyond ±0.97 in the last hidden layer`,
          series: series((one) => one.saturated),
          xLabel: t`initial scale`,
          yLabel: t`share of values`,
          xTicks: marks,
          yRange: [0, 1],
        },
        {
          title: t`Gradient at the first hidden layer over that at the last (powers of ten)`,
          series: series(ratio),
          xLabel: t`initial scale`,
          yLabel: t`log10 of the ratio`,
          xTicks: marks,
        },
        {
          title: t`Values beyond ±0.97 layer by layer, scale ${scales[largest]}`,
          series: byLayer((looks) => looks[largest].byLayer),
          xLabel: t`hidden layer`,
          yLabel: t`share of values`,
          xTicks: layerMarks,
          yRange: [0, 1],
        },
        {
          title: t`Gradient norm layer by layer, scale ${scales[0]} (powers of ten)`,
          series: byLayer((looks) => looks[0].gradients.map((norm) => Math.log10(Math.max(norm, 1e-30)))),
          xLabel: t`hidden layer`,
          yLabel: t`log10 of the norm`,
          xTicks: layerMarks,
        },
        {
          title: t`Activations of the last hidden layer, scale ${scales[largest]}`,
          series: compared((norm) =>
            acrossSeeds(
              bins,
              found[norm].map((looks) => looks[largest].histogram),
            ),
          ),
          xLabel: t`value`,
          isBars: true,
          yLabel: t`share of values`,
          xTicks: [-1, -0.5, 0, 0.5, 1].map((value) => [value, `${value}`] as const),
        },
      ],
      verdict: t`At a scale of ${scales[largest]}, ${percent(at('none', (one) => one.saturated, largest))} of the last layer's values are saturated without batch norm, and never more than ${percent(worstBatch)} with it; at ${scales[0]} the gradient at the first layer is ${(10 ** vanishing).toPrecision(2)} of that at the last without it, and ${(10 ** at('batch', ratio, 0)).toPrecision(2)} of it with it.`,
      holds:
        at('none', (one) => one.saturated, largest) > 0.5 &&
        worstBatch < 0.2 &&
        vanishing < -4 &&
        Math.abs(at('batch', ratio, 0)) < 1,
    };
  },
};
