import { RowNorm, type RowNormOptions } from './row-norm.ts';

/**
 * Layer normalization (Ba et al. 2016) of the last axes, `[..., *normalizedShape]`, or of others that
 * `axis` says:
 *
 *   y = (x − μ)/√(σ² + eps)·gamma + beta
 *
 * with μ and σ² the mean and the (biased) variance over those axes of one sample; gamma and beta
 * have the normalised shape. Training and evaluation give the same, for batches of any size.
 *
 * A forward takes `mask`, `lengths` and `weights` (`MaskOptions`), as Flax' LayerNorm takes a mask.
 * Where they leave out whole rows, such as padded steps, those are 0 and the others as without a
 * mask. Where they tell the values of a row apart, μ = Σw·x/Σw and σ² = Σw·(x − μ)²/Σw, a value of
 * weight 0 is 0, and plain loops do the work in f64.
 *
 *     const ln = new LayerNorm(768);          // [..., 768]; new LayerNorm([4, 5]) for [..., 4, 5]
 *     const y = ln.forward({ data, shape: [2, 16, 768] }, { lengths: [16, 9] });
 *     const images = new LayerNorm(96, { axis: 1 });  // the channels of [N, 96, H, W]
 *
 * Besides what every norm throws, a forward throws ERR_MASK for flags, lengths or weights that are
 * none.
 */
export class LayerNorm extends RowNorm {
  static override readonly name: string = 'LayerNorm';

  /**
   * @param normalizedShape length of the last axis, or lengths of the last axes; with `axis` those
   *   of other axes; `null`: those of the first input, or of `build(shape)`, along the last axis or
   *   as many as `axis` says
   * @param options `eps` 1e-5, `affine` true; gamma and beta have the normalised shape
   * @throws ERR_OPTION for an unknown option or a value that it does not take
   */
  constructor(normalizedShape: number | readonly number[] | null, options: RowNormOptions = {}) {
    super(normalizedShape, options, { kind: 'LayerNorm', centred: true, eps: 1e-5, affine: true });
  }
}
