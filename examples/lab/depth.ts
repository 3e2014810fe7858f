import {
  BatchNorm2d,
  Conv2d,
  Flatten,
  GlobalAvgPool,
  heNormal,
  type Layer,
  Linear,
  Random,
  ReLU,
  Sequential,
} from 'evenkeel';
import type { Experiment } from './experiment.ts';
import { accuracyOn, imagesOf, trainOnImages } from './images.ts';
import { acrossSeeds, median, percent } from './training.ts';
import { listed, type Text, t } from './words.ts';

const DEPTHS = [8, 16, 24, 32];
const SEEN = 6000;
const SIZE = 16;
const CHANNELS = 8;
const RATE = 0.1;
/** Digits seen in a quick run, at least. */
const QUICK = 2000;
/** A net that recognises fewer has not begun to learn: a tenth is chance. */
const STALLED = 0.3;

/** What nets differ in. */
interface Kind {
  readonly label: Text;
  readonly hasNorm: boolean;
  readonly isHe: boolean;
}

const KINDS: readonly Kind[] = [
  { label: t`with batch norm`, hasNorm: true, isHe: false },
  { label: t`without, He initialisation`, hasNorm: false, isHe: true },
  { label: t`without, PyTorch's initialisation`, hasNorm: false, isHe: false },
];

const TONES = [{ tone: 'a' }, { tone: 'b', stroke: 'dashed' }, { tone: 'c', stroke: 'dotted' }] as const;

/** So many 3×3 convolutions in a row, the first at stride 2, each with ReLU; no way around any. */
function plainNet(depth: number, { hasNorm, isHe }: Kind, seed: number): Sequential {
  const random = new Random(seed);
  const layers: Layer[] = [];
  for (let i = 0; i < depth; i++) {
    const options = { stride: i ? 1 : 2, padding: 1, bias: !hasNorm, seed: random.bits() };
    layers.push(new Conv2d(i ? CHANNELS : 1, CHANNELS, 3, { ...options, ...(isHe && { init: heNormal() }) }));
    if (hasNorm) layers.push(new BatchNorm2d(CHANNELS));
    layers.push(new ReLU());
  }
  return new Sequential(
    ...layers,
    new GlobalAvgPool(),
    new Flatten(),
    new Linear(CHANNELS, 10, { seed: random.bits() }),
  );
}

/** How deep a net may be that still learns. */
export const depth: Experiment = {
  name: 'depth',
  title: t`Depth`,
  question: t`How deep may a plain convnet be?`,
  claim: t`Batch norm lets plain convnets be deeper.`,
  async run({ digits, seeds, share, show }) {
    const [train, test] = [imagesOf(digits.train, digits.train.count), imagesOf(digits.test, 1000)];
    const found: number[][][] = KINDS.map(() => []);
    const seen = Math.max(QUICK, SEEN * share);
    const total = KINDS.length * seeds.length * DEPTHS.length;
    let done = 0;
    for (const [k, kind] of KINDS.entries()) {
      for (const seed of seeds) {
        const accuracies: number[] = [];
        for (const layers of DEPTHS) {
          await show(t`${layers} layers ${kind.label}, seed ${seed}`, done++ / total);
          const net = plainNet(layers, kind, seed);
          await trainOnImages(net, train, { seen, size: SIZE, lr: RATE, seed });
          accuracies.push(accuracyOn(net, test));
          net.dispose();
        }
        found[k].push(accuracies);
      }
    }
    const medians = found.map((bySeed) => DEPTHS.map((_, i) => median(bySeed.map((run) => run[i]))));
    const deepest = medians.map((all) => Math.max(0, ...DEPTHS.filter((_, i) => all[i] >= STALLED)));
    const last = DEPTHS.length - 1;
    const words = (k: number) =>
      deepest[k]
        ? t`learn up to ${deepest[k]} layers (${percent(medians[k][last])} at ${DEPTHS[last]})`
        : t`do not learn`;
    const better = Math.max(medians[1][last], medians[2][last]);
    const isSeen = medians[0][last] > better + 0.1;
    return {
      setup: t`${listed(DEPTHS)} convolutions of 3×3 and ${CHANNELS} channels with ReLU, one behind the other, on digits of 14×14; ${seen} seen in batches of ${SIZE}, momentum 0.9, learning rate ${RATE} falling to 0.`,
      figures: [
        {
          title: t`Depth`,
          series: KINDS.map(({ label }, k) => ({ label, ...TONES[k], ...acrossSeeds(DEPTHS, found[k]) })),
          xLabel: t`convolutions`,
          yLabel: t`test accuracy`,
          xTicks: DEPTHS.map((layers) => [layers, `${layers}`] as const),
        },
      ],
      verdict: t`Nets with batch norm ${words(0)}, without it and with He's initialisation ${words(1)}, with PyTorch's ${words(2)}; fewer than ${percent(STALLED)} count as not learning. Width and learning rate were tuned on these digits.`,
      holds: isSeen,
    };
  },
};
