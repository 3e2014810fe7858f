import { crossEntropy, Linear, type Sequential, type TensorLike } from 'evenkeel';
import type { Experiment } from './experiment.ts';
import { BOTH, compared } from './grid.ts';
import { acrossSeeds, batchesOf, buildNet, median, pointsOf, trainOn } from './training.ts';
import { listed, t } from './words.ts';

const LINES = [
  { tone: 'a' },
  { tone: 'b', stroke: 'dashed' },
  { tone: 'c', stroke: 'dotted' },
  { tone: 'd', stroke: 'mixed' },
] as const;
const STEPS = 300;
const DEPTH = 4;
const PROBES = 200;
/** Of a net that takes each of the ten classes for as likely as the others. */
const CHANCE = Math.log(10);

/** Mean and deviation over steps of the first unit's input, layer by layer. */
type Paths = { mean: number[]; std: number[] }[];

/**
 * Of what the weights behind each hidden layer are given: the mean of each unit, the deviation over
 * all of them, and that of the first.
 */
function inputsOf(net: Sequential, x: TensorLike): { mean: number[]; std: number[]; unit: number[] } {
  const found = { mean: [] as number[], std: [] as number[], unit: [] as number[] };
  let values = x;
  net.train();
  net.layers.forEach((layer, i) => {
    if (layer instanceof Linear && i > 0) {
      const { data, shape } = values as { data: Float32Array; shape: readonly number[] };
      const units = shape[1];
      // by unit, so that what moves one way in one and the other way in another does not cancel
      const means = new Float64Array(units);
      for (let k = 0; k < data.length; k++) means[k % units] += data[k] / shape[0];
      const total = data.reduce((sum, v, k) => sum + (v - means[k % units]) ** 2, 0);
      found.mean.push(...means);
      found.std.push(Math.sqrt(total / data.length));
      let first = 0;
      for (let k = 0; k < data.length; k += units) first += (data[k] - means[0]) ** 2;
      found.unit.push(Math.sqrt((first * units) / data.length));
    }
    values = layer.forward(values);
  });
  return found;
}

function gradientOf(net: Sequential, x: TensorLike, labels: Uint8Array): Float64Array {
  net.zeroGrad();
  net.backward(crossEntropy(net.forward(x), labels).grad, { inputGradient: false });
  return Float64Array.from(net.parameters().flatMap(({ grad }) => [...grad]));
}

const norm = (v: Float64Array) => Math.sqrt(v.reduce((sum, value) => sum + value * value, 0));

/**
 * How much the gradient has changed when a step along it has been taken, at the most over three
 * steps (Santurkar et al. 2018, section 3.1).
 */
function predictiveness(net: Sequential, x: TensorLike, labels: Uint8Array): number {
  const before = net.stateDict();
  const g = gradientOf(net, x, labels);
  let worst = 0;
  for (const rate of [0.05, 0.1, 0.2]) {
    net.loadStateDict(before);
    let at = 0;
    for (const { data } of net.parameters()) for (let i = 0; i < data.length; i++) data[i] -= rate * g[at++];
    const after = gradientOf(net, x, labels);
    worst = Math.max(worst, norm(after.map((value, i) => value - g[i])) / norm(g));
  }
  net.loadStateDict(before);
  return worst;
}

/** Internal covariate shift, and the other explanation. */
export const shift: Experiment = {
  name: 'shift',
  title: t`Shifting inputs`,
  question: t`Do the inputs of hidden layers move while the layers before them learn?`,
  claim: t`With batch norm the inputs of hidden layers move less.`,
  controls: { rate: 0.2 },
  async run({ digits: { train, test }, seeds, share, controls, show }) {
    const steps = Math.ceil(STEPS * share);
    const rate = controls.rate ?? 0.2;
    const { every, points: at } = pointsOf(steps, 15);
    const moved: Record<string, number[][]> = { batch: [], none: [] };
    const changes: Record<string, number[][]> = { batch: [], none: [] };
    const ends: Record<string, number[]> = { batch: [], none: [] };
    const walks: Partial<Record<'batch' | 'none', Paths>> = {};
    for (const { norm: kind, label } of BOTH) {
      for (const seed of seeds) {
        await show(t`${label}, seed ${seed}`);
        const paths: Paths = Array.from({ length: DEPTH }, () => ({ mean: [], std: [] }));
        const net = buildNet({ seed, norm: kind, scale: 1.5, depth: DEPTH });
        const probe = batchesOf(test, PROBES, seed).next().value!;
        let last = inputsOf(net, probe.x);
        const shifts: number[] = [];
        const rough: number[] = [];
        let end = Number.POSITIVE_INFINITY;
        await trainOn(net, train, { steps, size: 60, lr: rate, seed }, (step, loss) => {
          end = Number.isFinite(loss) ? loss : Number.POSITIVE_INFINITY;
          if (step % every) return;
          const now = inputsOf(net, probe.x);
          const units = now.mean.length / now.std.length;
          const distances = now.mean.map((mean, i) => ((mean - last.mean[i]) / now.std[Math.floor(i / units)]) ** 2);
          shifts.push(Math.sqrt(distances.reduce((a, b) => a + b, 0) / distances.length));
          rough.push(predictiveness(net, probe.x, probe.labels));
          last = now;
          paths.forEach(({ mean, std }, layer) => {
            mean.push(now.mean[layer * units]);
            std.push(now.unit[layer]);
          });
        });
        moved[kind].push(shifts);
        changes[kind].push(rough);
        ends[kind].push(end);
        walks[kind] ??= paths;
        net.dispose();
      }
    }
    const series = (of: Record<string, number[][]>) => compared((kind) => acrossSeeds(at, of[kind]));
    const walk = (kind: 'batch' | 'none') => ({
      title: t`What one unit of each hidden layer hands on, ${kind === 'batch' ? t`with batch norm` : t`without`} (mean; band: a deviation either way)`,
      series: walks[kind]!.map(({ mean: means, std }, layer) => ({
        label: t`layer ${layer + 1}`,
        ...LINES[layer],
        x: at,
        y: means,
        band: { low: means.map((m, i) => m - std[i]), high: means.map((m, i) => m + std[i]) },
      })),
      xLabel: t`training steps`,
      yLabel: t`value`,
      yRange: [-1.2, 1.2] as const,
    });
    const mean = (of: Record<string, number[][]>, kind: string) =>
      median(of[kind].map((run) => run.reduce((a, b) => a + b, 0) / run.length));
    const [m1, m0, g1, g0] = [mean(moved, 'batch'), mean(moved, 'none'), mean(changes, 'batch'), mean(changes, 'none')];
    const lost = BOTH.filter(({ norm: kind }) => median(ends[kind]) >= CHANCE).map(({ label }) => label);
    const found = t`Hidden inputs move by ${m1.toFixed(3)} deviations from point to point with batch norm and by ${m0.toFixed(3)} without; along its own direction the gradient changes by ${g1.toFixed(2)} of itself with it and by ${g0.toFixed(2)} without. That less shift is why batch norm helps is disputed: Santurkar et al. (2018) hold that a smoother loss is.`;
    return {
      setup: t`784-64-64-64-64-10, tanh, weights of 1.5/√inputs, ${steps} steps of 60 at a rate of ${rate} falling to 0; at ${at.length} points ${PROBES} held-out digits are run through: how far the mean of each hidden unit's input has moved since the point before, in units of its layer's deviation, and how much the gradient changes along its own direction.`,
      figures: [
        walk('batch'),
        walk('none'),
        {
          title: t`Shift of hidden inputs between two points`,
          series: series(moved),
          xLabel: t`training steps`,
          yLabel: t`deviations`,
        },
        {
          title: t`Change of the gradient along its own direction`,
          series: series(changes),
          xLabel: t`training steps`,
          yLabel: t`share of the gradient`,
        },
      ],
      verdict: lost.length
        ? t`At a rate of ${rate} a net does not learn (${listed(lost)}): its loss ends no lower than chance, and how its inputs move says nothing.`
        : found,
      holds: lost.length === 0 && m1 < m0,
    };
  },
};
