// The shapes that are measured, by name. Logical: [N, C, ...]; a channels-last case stores the same values with C last.

export interface BenchShape {
  readonly name: string;
  readonly dims: readonly number[];
}

export const SHAPES: readonly BenchShape[] = [
  { name: 'row', dims: [1, 1024] },
  { name: 'mlp', dims: [256, 1024] },
  { name: 'tiny', dims: [1, 64, 8, 8] },
  { name: 'resnet50/layer1 one image', dims: [1, 64, 56, 56] },
  { name: 'resnet50/layer1', dims: [32, 64, 56, 56] },
  { name: 'resnet50/layer2', dims: [32, 256, 28, 28] },
  { name: 'resnet50/layer4', dims: [32, 512, 7, 7] },
];

export type BenchLayout = 'channels-first' | 'channels-last';

/** Sizes of a shape as the kernels see it. */
export function extentOf({ dims }: BenchShape, layout: BenchLayout) {
  const [n, channels, ...rest] = dims;
  const inner = rest.reduce((size, length) => size * length, 1);
  const nxc = layout === 'channels-last' || inner === 1;
  return nxc
    ? { kernel: 'nxc' as const, outer: n * inner, channels, inner: 1, size: n * channels * inner }
    : { kernel: 'ncx' as const, outer: n, channels, inner, size: n * channels * inner };
}

export function storedShape({ dims }: BenchShape, layout: BenchLayout): number[] {
  const [n, channels, ...rest] = dims;
  return layout === 'channels-last' ? [n, ...rest, channels] : [...dims];
}
