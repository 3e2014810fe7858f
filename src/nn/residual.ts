import type { Layer } from '../layers/layer.ts';
import { agree, checkShape } from '../tensors/shape.ts';
import { checkLayers, Network } from './network.ts';
import { ADD } from './operations.ts';
import { chainOf, Sequential } from './sequential.ts';

/** The shape of a sum of two of one shape. */
function sumShape(subject: string, _: string, [branch, x]: readonly (readonly number[])[]): readonly number[] {
  if (!agree(branch, x)) checkShape(subject, 'the output of the branch', branch, x, 'shape');
  return x;
}

/**
 * A residual block (He et al. 2015): y = x + layers(x). The output of the layers must have the
 * shape of their input.
 *
 *     new Residual(new Linear(64, 64), new BatchNorm1d(64))
 */
export class Residual extends Network {
  static override readonly name: string = 'Residual';
  readonly subject = 'Residual';
  /** The layers without the addition. */
  readonly branch: Sequential;

  /**
   * @param layers in their order; each may stand in one place only
   * @throws ERR_TYPE for anything but layers of this copy of the library; ERR_OPTION for a layer
   *   given twice
   */
  constructor(...layers: Layer[]) {
    super();
    checkLayers(this.subject, layers);
    const count = layers.length;
    const sum = { name: '', operation: { ...ADD, shape: sumShape }, inputs: [count, 0], outputs: [count + 1] };
    this.wire({ inputs: 1, nodes: [...chainOf(layers), sum], outputs: [count + 1] });
    this.branch = new Sequential(...layers);
  }

  override train(on = true): this {
    this.branch.train(on);
    return super.train(on);
  }

  override dispose(): void {
    super.dispose();
    this.branch.dispose();
  }

  /** @internal */
  protected override get keepsResults(): boolean {
    return false;
  }
}
