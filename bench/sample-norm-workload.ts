// The data of one norm other than batch norm, and the same work as plain loops: what everything
// else is checked against.

import { GroupNorm, InstanceNorm1d, InstanceNorm2d, LayerNorm, RMSNorm } from '../src/index.ts';
import { Random } from '../src/nn/random.ts';
import { type BenchLayout, type BenchShape, extentOf, storedShape } from './shapes.ts';
import { EPS } from './workload.ts';

export type SampleNormOp = 'layer norm' | 'RMS norm' | 'group norm' | 'instance norm';

export interface SampleNormShape extends BenchShape {
  readonly op: SampleNormOp;
  /** Of group norm. */
  readonly groups?: number;
}

/** Rows: [..., features]. Images: [N, C, H, W]. */
export const SAMPLE_NORM_SHAPES: readonly SampleNormShape[] = [
  { op: 'layer norm', name: 'bert-base, 1 sequence', dims: [128, 768] },
  { op: 'layer norm', name: 'bert-base, 32 sequences', dims: [4096, 768] },
  { op: 'layer norm', name: 'bert-large, 49 sequences', dims: [6272, 1024] },
  { op: 'RMS norm', name: 'llama-7b, 512 tokens', dims: [512, 4096] },
  { op: 'RMS norm', name: 'llama-7b, 2048 tokens', dims: [2048, 4096] },
  { op: 'group norm', name: 'resnet50/conv2', dims: [32, 64, 56, 56], groups: 32 },
  { op: 'group norm', name: 'resnet50/conv3', dims: [32, 256, 28, 28], groups: 32 },
  { op: 'group norm', name: 'stable diffusion, 64x64', dims: [2, 320, 64, 64], groups: 32 },
  { op: 'instance norm', name: 'resnet50/conv2', dims: [32, 64, 56, 56] },
  { op: 'instance norm', name: 'style transfer, 256x256', dims: [1, 128, 256, 256] },
];

/** Norms of rows have one layout. */
export function sampleNormLayoutsOf({ dims }: SampleNormShape): BenchLayout[] {
  return dims.length > 2 ? ['channels-first', 'channels-last'] : ['channels-first'];
}

export class SampleNormWorkload {
  readonly shape: SampleNormShape;
  readonly layout: BenchLayout;
  readonly stored: readonly number[];
  readonly size: number;
  readonly x: Float32Array;
  readonly dy: Float32Array;
  readonly y: Float32Array;
  readonly gamma: Float32Array;
  readonly beta: Float32Array;
  readonly #mean: Float64Array;
  readonly #scale: Float64Array;
  /** Values that share statistics: `sets` of them, each in so many runs of consecutive values. */
  readonly #sets: { count: number; first(set: number): number; runs: number; stride: number; length: number };
  /** Which gamma a value takes, by its index in a run; and by the set's first channel. */
  readonly #place: Int32Array;
  readonly #firstPlace: (set: number) => number;

  constructor(shape: SampleNormShape, layout: BenchLayout) {
    this.shape = shape;
    this.layout = layout;
    this.stored = shape.dims.length > 2 ? storedShape(shape, layout) : shape.dims;
    const isRows = shape.op === 'layer norm' || shape.op === 'RMS norm';
    const [samples, channels] = shape.dims;
    const { kernel, size } = extentOf(shape, layout);
    this.size = size;
    const inner = size / samples / channels;
    if (isRows) {
      this.#sets = { count: samples, first: (set) => set * channels, runs: 1, stride: 0, length: channels };
      this.#place = Int32Array.from({ length: channels }, (_, i) => i);
      this.#firstPlace = () => 0;
    } else {
      const groups = shape.groups ?? channels;
      const width = channels / groups;
      const at = (set: number) => [Math.floor(set / groups) * channels * inner, (set % groups) * width];
      this.#firstPlace = (set) => at(set)[1];
      if (kernel === 'ncx') {
        const first = (set: number) => at(set)[0] + at(set)[1] * inner;
        this.#sets = { count: samples * groups, first, runs: 1, stride: 0, length: width * inner };
        this.#place = Int32Array.from({ length: width * inner }, (_, i) => Math.floor(i / inner));
      } else {
        const first = (set: number) => at(set)[0] + at(set)[1];
        this.#sets = { count: samples * groups, first, runs: inner, stride: channels, length: width };
        this.#place = Int32Array.from({ length: width }, (_, i) => i);
      }
    }
    this.#mean = new Float64Array(this.#sets.count);
    this.#scale = new Float64Array(this.#sets.count);
    const random = new Random(7);
    const noise = Float32Array.from({ length: 65_521 }, () => random.normal());
    const draw = (stride: number) => Float32Array.from({ length: size }, (_, i) => noise[(i * stride) % noise.length]);
    this.x = draw(1).map((value) => 0.3 + value);
    this.dy = draw(7);
    this.y = new Float32Array(size);
    this.gamma = Float32Array.from({ length: channels }, () => 1 + 0.1 * random.normal());
    this.beta = Float32Array.from({ length: channels }, () => (shape.op === 'RMS norm' ? 0 : random.normal()));
  }

  /** The layer with these parameters. */
  layer() {
    const { op, dims, groups } = this.shape;
    const { layout } = this;
    const [, channels] = dims;
    const layer =
      op === 'layer norm'
        ? new LayerNorm(channels, { eps: EPS })
        : op === 'RMS norm'
          ? new RMSNorm(channels, { eps: EPS })
          : op === 'group norm'
            ? new GroupNorm(groups!, channels, { eps: EPS, layout })
            : new (dims.length === 3 ? InstanceNorm1d : InstanceNorm2d)(channels, { eps: EPS, layout, affine: true });
    const state = layer.stateDict();
    state.gamma.data = this.gamma;
    if (state.beta) state.beta.data = this.beta;
    layer.loadStateDict(state);
    return layer;
  }

  /** The forward into `y`. */
  forward(): void {
    const { x, y, gamma, beta } = this;
    const place = this.#place;
    const { count, runs, stride, length } = this.#sets;
    const values = runs * length;
    const centred = this.shape.op !== 'RMS norm';
    for (let set = 0; set < count; set++) {
      const first = this.#sets.first(set);
      const c = this.#firstPlace(set);
      let sum = 0;
      let square = 0;
      if (centred) {
        for (let r = 0; r < runs; r++) for (let i = 0; i < length; i++) sum += x[first + r * stride + i];
      }
      const mean = sum / values;
      for (let r = 0; r < runs; r++) {
        for (let i = 0; i < length; i++) {
          const d = x[first + r * stride + i] - mean;
          square += d * d;
        }
      }
      const scale = 1 / Math.sqrt(square / values + EPS);
      this.#mean[set] = mean;
      this.#scale[set] = scale;
      for (let r = 0; r < runs; r++) {
        for (let i = 0; i < length; i++) {
          const at = first + r * stride + i;
          y[at] = (x[at] - mean) * scale * gamma[c + place[i]] + beta[c + place[i]];
        }
      }
    }
  }

  /** The gradient into `y`, after `forward`. */
  backward(): void {
    const { x, y, dy, gamma } = this;
    const place = this.#place;
    const { count, runs, stride, length } = this.#sets;
    const values = runs * length;
    const centred = this.shape.op !== 'RMS norm';
    for (let set = 0; set < count; set++) {
      const first = this.#sets.first(set);
      const c = this.#firstPlace(set);
      const mean = this.#mean[set];
      const scale = this.#scale[set];
      let sum = 0;
      let dot = 0;
      for (let r = 0; r < runs; r++) {
        for (let i = 0; i < length; i++) {
          const at = first + r * stride + i;
          const g = dy[at] * gamma[c + place[i]];
          sum += g;
          dot += g * (x[at] - mean) * scale;
        }
      }
      const k = centred ? sum / values : 0;
      const b = dot / values;
      for (let r = 0; r < runs; r++) {
        for (let i = 0; i < length; i++) {
          const at = first + r * stride + i;
          y[at] = scale * (dy[at] * gamma[c + place[i]] - k - (x[at] - mean) * scale * b);
        }
      }
    }
  }
}
