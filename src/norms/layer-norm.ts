import { RowNorm, type RowNormOptions } from './row-norm.ts';

/**
 * Layer normalization (Ba et al. 2016) of the last axes, `[..., *normalizedShape]`:
 *
 *   y = (x − μ)/√(σ² + eps)·gamma + beta
 *
 * with μ and σ² the mean and the (biased) variance over those axes of one sample; gamma and beta
 * have the normalised shape. Training and evaluation give the same, for batches of any size.
 *
 *     const ln = new LayerNorm(768);          // [..., 768]; new LayerNorm([4, 5]) for [..., 4, 5]
 *     const y = ln.forward({ data, shape: [2, 16, 768] });
 */
export class LayerNorm extends RowNorm {
  static override readonly name: string = 'LayerNorm';

  /**
   * @param normalizedShape length of the last axis, or lengths of the last axes
   * @param options `eps` 1e-5, `affine` true; gamma and beta have the normalised shape
   * @throws ERR_OPTION for an unknown option or a value that it does not take
   */
  constructor(normalizedShape: number | readonly number[], options: RowNormOptions = {}) {
    super(normalizedShape, options, { kind: 'LayerNorm', centred: true, eps: 1e-5, affine: true });
  }
}
