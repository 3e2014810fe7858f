import { BatchNorm2d, BatchRenorm, GroupNorm, type Layer } from 'evenkeel';
import { digitResnet } from 'evenkeel/models';
import type { Experiment } from './experiment.ts';
import { accuracyOn, imagesOf, trainOnImages } from './images.ts';
import { acrossSeeds, median, percent } from './training.ts';

const SIZES = [32, 16, 8, 4, 2];
/** Images that each net sees, in batches of whatever size. */
const SEEN = 3200;
const WIDTH = 8;
/** Learning rate at batches of 32; it follows the batch. */
const RATE = 0.05;

const NORMS: Record<string, (channels: number) => Layer> = {
  'batch norm': (channels) => new BatchNorm2d(channels),
  'group norm': (channels) => new GroupNorm(channels / 4, channels),
  'batch renorm': (channels) =>
    new BatchRenorm(channels, {
      momentum: 0.05,
      rMax: (batches) => Math.min(3, 1 + batches / 100),
      dMax: (batches) => Math.min(5, batches / 50),
    }),
};

const TONES = [{ tone: 'a' }, { tone: 'b', stroke: 'dashed' }, { tone: 'c', stroke: 'dotted' }] as const;

/**
 * Wu & He (2018), table 2: errors of ResNet-50 on ImageNet in percent, with batches of 32, 16, 8, 4
 * and 2 on each GPU.
 */
const IMAGENET = { 'batch norm': [23.6, 23.7, 24.8, 27.3, 34.7], 'group norm': [24.1, 24.2, 24.0, 24.2, 24.1] };

/**
 * Batch norm in a ResNet over the size of batches, beside norms that do not depend on it, or less.
 */
export const resnetBatches: Experiment = {
  name: 'resnet-batches',
  title: 'Batch norm in a ResNet',
  question: 'From which batch size down does a ResNet suffer?',
  setup: `ResNet-8 of ${WIDTH}, ${2 * WIDTH} and ${4 * WIDTH} channels on digits of 14×14; ${SEEN} seen in batches of every size, momentum 0.9, learning rate ${RATE}·batch/32 falling to 0; group norm with 4 channels in a group.`,
  async run({ digits, seeds, share, show }) {
    const [train, test] = [imagesOf(digits.train, digits.train.count), imagesOf(digits.test, 1000)];
    const seen = SEEN * share;
    const found: { name: string; bySeed: number[][] }[] = [];
    const total = Object.keys(NORMS).length * seeds.length * SIZES.length;
    let done = 0;
    for (const [name, norm] of Object.entries(NORMS)) {
      const bySeed: number[][] = [];
      for (const seed of seeds) {
        const accuracies: number[] = [];
        for (const size of SIZES) {
          await show(`${name}, batches of ${size}, seed ${seed}`, done++ / total);
          const net = digitResnet(8, { width: WIDTH, norm, seed });
          await trainOnImages(net, train, { seen, size, lr: (RATE * size) / 32, seed });
          accuracies.push(accuracyOn(net, test));
          net.dispose();
        }
        bySeed.push(accuracies);
      }
      found.push({ name, bySeed });
    }
    const x = SIZES.map((size) => Math.log2(size));
    const of = (name: string) => found.find((one) => one.name === name)!.bySeed;
    const at = (name: string, size: number) => median(of(name).map((run) => run[SIZES.indexOf(size)]));
    /** What is lost from a net's best size to a smaller one, seed by seed. */
    const best = Math.max(...SIZES.map((size) => at('batch norm', size)));
    const bestSize = SIZES.find((size) => at('batch norm', size) === best)!;
    const lossOf = (name: string) => at(name, bestSize) - at(name, 2);
    const spread = (name: string, size: number) => {
      const all = of(name).map((run) => run[SIZES.indexOf(size)]);
      return Math.max(...all) - Math.min(...all);
    };
    const noise = Math.max(0.02, spread('batch norm', 2), spread('batch norm', bestSize));
    const isSeen = lossOf('batch norm') > noise && lossOf('batch norm') > lossOf('group norm') + 0.02;
    const line = (name: string) => `${name} from ${percent(at(name, bestSize))} to ${percent(at(name, 2))}`;
    const [batch, group] = [IMAGENET['batch norm'], IMAGENET['group norm']];
    return {
      figures: [
        {
          title: 'Batch norm in a ResNet',
          series: found.map(({ name, bySeed }, i) => ({ label: name, ...TONES[i], ...acrossSeeds(x, bySeed) })),
          xLabel: 'images in a batch',
          yLabel: 'test accuracy',
          xTicks: SIZES.map((size) => [Math.log2(size), `${size}`] as const),
        },
      ],
      tables: [
        {
          title: 'Errors of ResNet-50 on ImageNet (Wu & He 2018, table 2; not reproduced here)',
          heads: ['images in a batch', ...SIZES.map(String)],
          rows: Object.entries(IMAGENET).map(([name, errors]) => [name, ...errors.map((e) => `${e.toFixed(1)} %`)]),
        },
      ],
      verdict: `That batch norm suffers from small batches in a ResNet is ${isSeen ? 'seen' : 'not seen'}: from batches of ${bestSize}, its best, to batches of 2 goes ${line('batch norm')}, ${line('group norm')}, ${line('batch renorm')} (seeds differ by up to ${percent(noise)}). Width and learning rate were tuned on these digits. On ImageNet Wu & He (2018) report errors of ${batch[0]} % at 32 and ${batch[4]} % at 2 for batch norm, ${group[0]} % and ${group[4]} % for group norm.`,
      holds: isSeen,
    };
  },
};
