import { BatchNorm } from './batch-norm.ts';
import type { BatchNormOptions } from './options.ts';

/**
 * Batch normalization of `[N, C]` or `[N, C, L]`; with `layout: 'channels-last'` of `[N, C]` or
 * `[N, L, C]`. Formula, options and errors are those of `BatchNorm`; another rank throws ERR_SHAPE.
 *
 *     const bn = new BatchNorm1d(100);
 *     const y = bn.forward({ data, shape: [32, 100] });
 */
export class BatchNorm1d extends BatchNorm<2 | 3> {
  static override readonly name: string = 'BatchNorm1d';

  /** As `BatchNorm`. */
  constructor(numFeatures: number | null, options?: BatchNormOptions) {
    super(numFeatures, options, { kind: 'BatchNorm1d', ranks: [2, 3] });
  }
}

/**
 * Batch normalization of `[N, C, H, W]`; with `layout: 'channels-last'` of `[N, H, W, C]`. Formula,
 * options and errors are those of `BatchNorm`; another rank throws ERR_SHAPE.
 *
 *     const bn = new BatchNorm2d(64, { activation: 'relu' });
 *     const y = bn.forward({ data, shape: [32, 64, 56, 56] });
 */
export class BatchNorm2d extends BatchNorm<4> {
  static override readonly name: string = 'BatchNorm2d';

  /** As `BatchNorm`. */
  constructor(numFeatures: number | null, options?: BatchNormOptions) {
    super(numFeatures, options, { kind: 'BatchNorm2d', ranks: [4, 4] });
  }
}

/**
 * Batch normalization of `[N, C, D, H, W]`; with `layout: 'channels-last'` of `[N, D, H, W, C]`.
 * Formula, options and errors are those of `BatchNorm`; another rank throws ERR_SHAPE.
 *
 *     const bn = new BatchNorm3d(16);
 *     const y = bn.forward({ data, shape: [2, 16, 8, 32, 32] });
 */
export class BatchNorm3d extends BatchNorm<5> {
  static override readonly name: string = 'BatchNorm3d';

  /** As `BatchNorm`. */
  constructor(numFeatures: number | null, options?: BatchNormOptions) {
    super(numFeatures, options, { kind: 'BatchNorm3d', ranks: [5, 5] });
  }
}
