import { activationCode } from '../../kernels/activations.ts';
import { backend } from '../../kernels/backend.ts';
import { activate } from '../../kernels/inference/calls.ts';
import { indexOf } from '../../wasm/views.ts';
import type { CellKind, CellStep, CellStepBack } from './cell-kind.ts';
import type { RecurrentCellOptions } from './cell-options.ts';
import { RecurrentCell, readCell } from './recurrent-cell.ts';

const SIGMOID = /* @__PURE__ */ activationCode('BNGRUCell', 'sigmoid');
const TANH = /* @__PURE__ */ activationCode('BNGRUCell', 'tanh');

const GRU: CellKind = {
  name: 'BNGRUCell',
  gates: 3,
  hasValue: false,

  forward({ rows, h, input, gates, extra, fromState, spare }: CellStep, hiddenSize: number): void {
    const current = backend();
    const many = rows * hiddenSize;
    fromState(spare, 0);
    const { f32 } = current.heap;
    const [to, kept] = [indexOf(gates), indexOf(extra)];
    for (let row = 0; row < rows; row++) {
      const x = indexOf(input) + row * 3 * hiddenSize;
      const s = indexOf(spare) + row * 3 * hiddenSize;
      for (let j = 0; j < hiddenSize; j++) {
        const k = row * hiddenSize + j;
        f32[to + k] = f32[x + j] + f32[s + j];
        f32[to + many + k] = f32[x + hiddenSize + j] + f32[s + hiddenSize + j];
        f32[kept + k] = f32[s + 2 * hiddenSize + j];
      }
    }
    activate(current, gates, gates, SIGMOID, 2 * many);
    for (let row = 0; row < rows; row++) {
      const x = indexOf(input) + (row * 3 + 2) * hiddenSize;
      for (let j = 0; j < hiddenSize; j++) {
        const k = row * hiddenSize + j;
        f32[to + 2 * many + k] = f32[x + j] + f32[to + k] * f32[kept + k];
      }
    }
    activate(current, gates + 2 * many * 4, gates + 2 * many * 4, TANH, many);
    const [before, after] = [indexOf(h.before), indexOf(h.after)];
    for (let k = 0; k < many; k++) {
      const z = f32[to + many + k];
      f32[after + k] = (1 - z) * f32[to + 2 * many + k] + z * f32[before + k];
    }
  },

  backward({ rows, h, gates, extra, dh, dhBefore, dInput, dState }: CellStepBack, hiddenSize: number): void {
    const { f32 } = backend().heap;
    const many = rows * hiddenSize;
    const [r0, z0, n0] = [0, 1, 2].map((block) => indexOf(gates) + block * many);
    const [g, kept, before, back] = [indexOf(dh), indexOf(extra), indexOf(h.before), indexOf(dhBefore)];
    for (let row = 0; row < rows; row++) {
      const x = indexOf(dInput) + row * 3 * hiddenSize;
      const s = indexOf(dState) + row * 3 * hiddenSize;
      for (let j = 0; j < hiddenSize; j++) {
        const k = row * hiddenSize + j;
        const [r, z, n, d] = [f32[r0 + k], f32[z0 + k], f32[n0 + k], f32[g + k]];
        const dn = d * (1 - z) * (1 - n * n);
        const dr = dn * f32[kept + k] * r * (1 - r);
        const dz = d * (f32[before + k] - n) * z * (1 - z);
        f32[x + j] = f32[s + j] = dr;
        f32[x + hiddenSize + j] = f32[s + hiddenSize + j] = dz;
        f32[x + 2 * hiddenSize + j] = dn;
        f32[s + 2 * hiddenSize + j] = dn * r;
        f32[back + k] = d * z;
      }
    }
  },
};

/**
 * GRU with recurrent batch normalization, over whole sequences `[N, T, I]`:
 *
 *   r = σ(BN(Wx·x)ᵣ + BN(Wh·h)ᵣ)     z likewise     n = tanh(BN(Wx·x)ₙ + r·BN(Wh·h)ₙ)
 *   h' = (1 − z)·n + z·h
 *
 * Each BN, its bias included, has statistics for each time step (`RecurrentBatchNorm1d`). Weights
 * and gates are in PyTorch's order; with `norm: false` it is PyTorch's GRU. Padding has no part in
 * anything, and its output is 0. A forward throws ERR_MASK for lengths that do not fit.
 *
 *     const gru = new BNGRUCell(28, 64, { maxSteps: 28 });
 *     const h = gru.forward(x, { lengths });     // [N, T, 28] to [N, T, 64]
 */
export class BNGRUCell extends RecurrentCell {
  static override readonly name: string = 'BNGRUCell';

  /**
   * @param inputSize length of the input's last axis, I; `null`: that of the first input, or of
   *   `build(shape)`
   * @param hiddenSize length of the state, H
   * @throws ERR_OPTION for an unknown option or a value that it does not take
   */
  constructor(inputSize: number | null, hiddenSize: number, options: RecurrentCellOptions = {}) {
    super(GRU, inputSize, hiddenSize, readCell(GRU, inputSize, hiddenSize, options, {}));
  }
}
