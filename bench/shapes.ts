// The shapes that are measured, by name. Logical: [N, C, ...]; a channels-last case stores the same
// values with C last.

export interface BenchShape {
  readonly name: string;
  readonly dims: readonly number[];
}

export const SHAPES: readonly BenchShape[] = [
  { name: 'vector', dims: [1, 64] },
  { name: 'row', dims: [1, 1024] },
  { name: 'digits/hidden', dims: [64, 100] },
  { name: 'mlp/hidden', dims: [256, 1024] },
  { name: 'tiny', dims: [1, 64, 8, 8] },
  { name: 'mobilenetv2/block2', dims: [8, 24, 56, 56] },
  { name: 'mobilenetv2/last', dims: [8, 1280, 7, 7] },
  { name: 'resnet50/conv2 one image', dims: [1, 64, 56, 56] },
  { name: 'resnet50/conv2 eight', dims: [8, 64, 56, 56] },
  { name: 'resnet50/conv2', dims: [32, 64, 56, 56] },
  { name: 'resnet50/conv3', dims: [32, 256, 28, 28] },
  { name: 'resnet50/conv5', dims: [32, 512, 7, 7] },
  { name: 'resnet50/conv1, beyond cache', dims: [32, 64, 112, 112] },
];

export type BenchLayout = 'channels-first' | 'channels-last';

/** The layouts in which a shape is measured: rank 2 has but one. */
export function layoutsOf({ dims }: BenchShape): BenchLayout[] {
  return dims.length > 2 ? ['channels-first', 'channels-last'] : ['channels-first'];
}

/** Sizes of a shape as the kernels see it. */
export function extentOf({ dims }: BenchShape, layout: BenchLayout) {
  const [n, channels, ...rest] = dims;
  const inner = rest.reduce((size, length) => size * length, 1);
  const size = n * channels * inner;
  return layout === 'channels-last' || inner === 1
    ? { kernel: 'nxc' as const, outer: n * inner, channels, inner: 1, size }
    : { kernel: 'ncx' as const, outer: n, channels, inner, size };
}

export function storedShape({ dims }: BenchShape, layout: BenchLayout): number[] {
  const [n, channels, ...rest] = dims;
  return layout === 'channels-last' ? [n, ...rest, channels] : [...dims];
}
