import { RowNorm, type RowNormOptions } from './row-norm.ts';

/**
 * Layer normalization (Ba et al. 2016): the last axes of each sample by their own mean and (biased) variance; then scale and shift by place. The same in training
 * and evaluation, for batches of any size.
 *
 *     const ln = new LayerNorm(768);          // [..., 768]; new LayerNorm([4, 5]) for [..., 4, 5]
 */
export class LayerNorm extends RowNorm {
  static override readonly name: string = 'LayerNorm';

  /**
   * @param normalizedShape length of the last axis, or lengths of the last axes
   * @param options `eps` 1e-5, `affine` true; gamma and beta have the normalised shape
   * @throws ERR_OPTION for an unknown option or a value it does not take
   */
  constructor(normalizedShape: number | readonly number[], options: RowNormOptions = {}) {
    super(normalizedShape, options, { kind: 'LayerNorm', centred: true, eps: 1e-5, affine: true });
  }
}
