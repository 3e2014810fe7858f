import { BatchNorm2d, BatchRenorm, GroupNorm, type Layer } from 'evenkeel';
import { digitResnet } from 'evenkeel/models';
import type { Experiment } from './experiment.ts';
import { accuracyOn, imagesOf, trainOnImages } from './images.ts';
import { acrossSeeds, median, percent } from './training.ts';
import { type Text, t } from './words.ts';

const SIZES = [32, 16, 8, 4, 2];
/** Images that each net sees, in batches of whatever size. */
const SEEN = 3200;
const WIDTH = 8;
/** Learning rate at batches of 32; it follows the batch. */
const RATE = 0.05;

const NORMS: readonly { label: Text; norm: (channels: number) => Layer }[] = [
  { label: t`batch norm`, norm: (channels) => new BatchNorm2d(channels) },
  { label: t`group norm`, norm: (channels) => new GroupNorm(channels / 4, channels) },
  {
    label: t`batch renorm`,
    norm: (channels) =>
      new BatchRenorm(channels, {
        momentum: 0.05,
        rMax: (batches) => Math.min(3, 1 + batches / 100),
        dMax: (batches) => Math.min(5, batches / 50),
      }),
  },
];
const [BATCH, GROUP, RENORM] = [0, 1, 2];

const TONES = [{ tone: 'a' }, { tone: 'b', stroke: 'dashed' }, { tone: 'c', stroke: 'dotted' }] as const;

/**
 * Wu & He (2018), table 2: errors of ResNet-50 on ImageNet in percent, with batches of 32, 16, 8, 4
 * and 2 on each GPU.
 */
const IMAGENET = [
  [23.6, 23.7, 24.8, 27.3, 34.7],
  [24.1, 24.2, 24.0, 24.2, 24.1],
];

/**
 * Batch norm in a ResNet over the size of batches, beside norms that do not depend on it, or less.
 */
export const resnetBatches: Experiment = {
  name: 'resnet-batches',
  title: t`Batch norm in a ResNet`,
  question: t`From which batch size down does a ResNet suffer?`,
  claim: t`In a small ResNet batch norm suffers from small batches.`,
  async run({ digits, seeds, share, show }) {
    const [train, test] = [imagesOf(digits.train, digits.train.count), imagesOf(digits.test, 1000)];
    const seen = SEEN * share;
    const found: number[][][] = [];
    const total = NORMS.length * seeds.length * SIZES.length;
    let done = 0;
    for (const { label, norm } of NORMS) {
      const bySeed: number[][] = [];
      for (const seed of seeds) {
        const accuracies: number[] = [];
        for (const size of SIZES) {
          await show(t`${label}, batches of ${size}, seed ${seed}`, done++ / total);
          const net = digitResnet(8, { width: WIDTH, norm, seed });
          await trainOnImages(net, train, { seen, size, lr: (RATE * size) / 32, seed });
          accuracies.push(accuracyOn(net, test));
          net.dispose();
        }
        bySeed.push(accuracies);
      }
      found.push(bySeed);
    }
    const x = SIZES.map((size) => Math.log2(size));
    const at = (k: number, size: number) => median(found[k].map((run) => run[SIZES.indexOf(size)]));
    /** What is lost from a net's best size to a smaller one, seed by seed. */
    const best = Math.max(...SIZES.map((size) => at(BATCH, size)));
    const bestSize = SIZES.find((size) => at(BATCH, size) === best)!;
    const lossOf = (k: number) => at(k, bestSize) - at(k, 2);
    const spread = (k: number, size: number) => {
      const all = found[k].map((run) => run[SIZES.indexOf(size)]);
      return Math.max(...all) - Math.min(...all);
    };
    const noise = Math.max(0.02, spread(BATCH, 2), spread(BATCH, bestSize));
    const isSeen = lossOf(BATCH) > noise && lossOf(BATCH) > lossOf(GROUP) + 0.02;
    const line = (k: number) => t`${NORMS[k].label} from ${percent(at(k, bestSize))} to ${percent(at(k, 2))}`;
    const [batch, group] = IMAGENET;
    return {
      setup: t`ResNet-8 of ${WIDTH}, ${2 * WIDTH} and ${4 * WIDTH} channels on digits of 14×14; ${seen} seen in batches of every size, momentum 0.9, learning rate ${RATE}·batch/32 falling to 0; group norm with 4 channels in a group.`,
      figures: [
        {
          title: t`Batch norm in a ResNet`,
          series: NORMS.map(({ label }, i) => ({ label, ...TONES[i], ...acrossSeeds(x, found[i]) })),
          xLabel: t`images in a batch`,
          yLabel: t`test accuracy`,
          xTicks: SIZES.map((size) => [Math.log2(size), `${size}`] as const),
        },
      ],
      tables: [
        {
          title: t`Errors of ResNet-50 on ImageNet (Wu & He 2018, table 2; not reproduced here)`,
          heads: [t`images in a batch`, ...SIZES.map(String)],
          rows: IMAGENET.map((errors, k) => [NORMS[k].label, ...errors.map((e) => `${e.toFixed(1)} %`)]),
        },
      ],
      verdict: t`From batches of ${bestSize}, its best, to batches of 2 goes ${line(BATCH)}, ${line(GROUP)}, ${line(RENORM)} (differences below ${percent(noise)} count as noise). Width and learning rate were tuned on these digits. On ImageNet Wu & He (2018) report errors of ${batch[0]} % at 32 and ${batch[4]} % at 2 for batch norm, ${group[0]} % and ${group[4]} % for group norm.`,
      holds: isSeen,
    };
  },
};
