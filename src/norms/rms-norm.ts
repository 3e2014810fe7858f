import { RowNorm, type RowNormOptions } from './row-norm.ts';

/**
 * Root mean square normalization (Zhang & Sennrich 2019) of the last axes, `[...,
 * *normalizedShape]`, or of others that `axis` says:
 *
 *   y = x/√(Σx²/n + eps)·gamma
 *
 * with n the number of values along those axes; gamma has the normalised shape. `mask`, `lengths`
 * and `weights` of a forward are as in `LayerNorm`: Σw·x²/Σw takes the place of Σx²/n.
 *
 *     const norm = new RMSNorm(4096);          // [..., 4096]
 *     const y = norm.forward({ data, shape: [2, 16, 4096] });
 */
export class RMSNorm extends RowNorm {
  static override readonly name: string = 'RMSNorm';

  /**
   * @param normalizedShape length of the last axis, or lengths of the last axes; with `axis` those
   *   of other axes; `null`: those of the first input, or of `build(shape)`, along the last axis or
   *   as many as `axis` says
   * @param options `eps` 2⁻²³, as in PyTorch: the smallest difference from 1 in f32; `affine`
   *   `'gamma'`: a scale without a shift, which `true` adds
   * @throws ERR_OPTION for an unknown option or a value that it does not take
   */
  constructor(normalizedShape: number | readonly number[] | null, options: RowNormOptions = {}) {
    super(normalizedShape, options, { kind: 'RMSNorm', centred: false, eps: 2 ** -23, affine: 'gamma' });
  }
}
