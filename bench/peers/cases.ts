// What is measured beside others, by name. Nothing of theirs is loaded here, and no data are made.

import { type CaseName, digitsName, normWords, sampleNormNames } from '../cases.ts';
import { type Convnet, layer, NETWORKS } from '../convnets.ts';
import { SAMPLE_NORM_SHAPES, type SampleNormShape, sampleNormLayoutsOf } from '../sample-norm-workload.ts';
import { type BenchLayout, type BenchShape, extentOf, layoutsOf, SHAPES, storedShape } from '../shapes.ts';

/** A case, and what it is made of. */
export type PeerCase = CaseName &
  (
    | { readonly kind: 'norm'; readonly bench: BenchShape; readonly order: BenchLayout }
    | { readonly kind: 'sample norm'; readonly bench: SampleNormShape; readonly order: BenchLayout }
    | { readonly kind: 'network'; readonly rows: number }
    | { readonly kind: 'convnet'; readonly net: Convnet }
    | { readonly kind: 'training' }
  );

/** Shapes worth the others' time: from one row to what lies beyond cache. */
const MEASURED = [
  'row',
  'tiny',
  'resnet50/conv2 one image',
  'resnet50/conv2 eight',
  'resnet50/conv2',
  'resnet50/conv5',
];

/** Layers that show what a whole network does not: depthwise, 1×1, few pixels, the stem. */
const LAYERS = [
  layer(112, 96, 96, 3, 1, 96),
  layer(14, 384, 384, 3, 1, 384),
  layer(56, 64, 64, 3),
  layer(14, 256, 256, 3),
  layer(7, 512, 512, 3),
  layer(56, 64, 256, 1),
  layer(14, 64, 384, 1),
  layer(224, 3, 64, 7, 2),
];

function normCases(bench: BenchShape, order: BenchLayout): PeerCase[] {
  const { kernel } = extentOf(bench, order);
  const shape = `${bench.name} ${storedShape(bench, order).join('x')}`;
  return (bench.dims.length > 2 ? ['eval', 'train', 'backward'] : ['eval']).map((op) => ({
    ...{ kind: 'norm', op, layout: kernel, shape, also: normWords(op, bench, order), bench, order },
  }));
}

const convnetCase = (net: Convnet, also: string): PeerCase => ({
  ...{ kind: 'convnet', op: 'convnet', layout: 'ncx', shape: `${net.name}, batch 1`, also, net },
});

/** All cases, in the order in which they are measured. */
export function peerCases(): PeerCase[] {
  return [
    ...SHAPES.filter(({ name }) => MEASURED.includes(name)).flatMap((bench) =>
      layoutsOf(bench).flatMap((order) => normCases(bench, order)),
    ),
    ...SAMPLE_NORM_SHAPES.flatMap((bench) =>
      sampleNormLayoutsOf(bench).flatMap((order) =>
        sampleNormNames(bench, order).map((name): PeerCase => ({ kind: 'sample norm', ...name, bench, order })),
      ),
    ),
    ...[1, 64].map((rows): PeerCase => ({ kind: 'network', ...digitsName('digits MLP', rows), rows })),
    ...NETWORKS.map((make) => convnetCase(make(), '224², one image')),
    ...LAYERS.map((net) => convnetCase(net, net.also ?? '')),
    { kind: 'training', op: 'training step', layout: 'nxc', shape: 'convnet 28², batch 64' },
  ];
}
