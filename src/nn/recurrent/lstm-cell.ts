import { activationCode } from '../../kernels/activations.ts';
import { backend } from '../../kernels/backend.ts';
import { activate } from '../../kernels/inference/calls.ts';
import { number } from '../../named-options.ts';
import { indexOf } from '../../wasm/views.ts';
import type { CellKind, CellStep, CellStepBack } from './cell-kind.ts';
import type { RecurrentCellOptions } from './cell-options.ts';
import { RecurrentCell, readCell } from './recurrent-cell.ts';

/** Options of `BNLSTMCell`: those of both cells, and the forget gate's first bias. */
export interface LSTMCellOptions extends RecurrentCellOptions {
  /** First bias of the forget gate (Gers et al. 2000; Jozefowicz et al. 2015). Default 1. */
  forgetBias?: number;
}

/**
 * Where the gates i, f, g, o of a row lie once they are activated: sigmoids side by side, then the
 * tanh.
 */
const BLOCKS = [0, 1, 3, 2];

const SIGMOID = /* @__PURE__ */ activationCode('BNLSTMCell', 'sigmoid');
const TANH = /* @__PURE__ */ activationCode('BNLSTMCell', 'tanh');

const LSTM: CellKind = {
  name: 'BNLSTMCell',
  gates: 4,
  hasValue: true,

  forward(
    { rows, h, c, input, gates, extra, fromState }: CellStep,
    hiddenSize: number,
    normalize?: (x: number, y: number) => void,
  ): void {
    const current = backend();
    const many = rows * hiddenSize;
    fromState(input, input);
    const { f32 } = current.heap;
    const from = indexOf(input);
    const to = indexOf(gates);
    for (let r = 0; r < rows; r++) {
      for (let gate = 0; gate < 4; gate++) {
        const source = from + (r * 4 + gate) * hiddenSize;
        f32.copyWithin(to + BLOCKS[gate] * many + r * hiddenSize, source, source + hiddenSize);
      }
    }
    activate(current, gates, gates, SIGMOID, 3 * many);
    activate(current, gates + 3 * many * 4, gates + 3 * many * 4, TANH, many);
    const [before, after] = [indexOf(c.before), indexOf(c.after)];
    for (let i = 0; i < many; i++) {
      f32[after + i] = f32[to + many + i] * f32[before + i] + f32[to + i] * f32[to + 3 * many + i];
    }
    if (normalize) normalize(c.after, extra);
    else f32.copyWithin(indexOf(extra), after, after + many);
    activate(current, extra, extra, TANH, many);
    // a norm may have taken memory, and views with it
    const now = current.heap.f32;
    for (let i = 0; i < many; i++) now[indexOf(h.after) + i] = now[to + 2 * many + i] * now[indexOf(extra) + i];
  },

  backward(
    { rows, c, gates, extra, dh, dc, dhBefore, dInput, dState, spare }: CellStepBack,
    hiddenSize: number,
    normBack?: (x: number, dy: number) => void,
  ): void {
    const { f32 } = backend().heap;
    const many = rows * hiddenSize;
    const [i0, f0, o0, g0] = [0, 1, 2, 3].map((block) => indexOf(gates) + block * many);
    const [th, g, value, back] = [indexOf(extra), indexOf(dh), indexOf(spare), indexOf(dc)];
    for (let k = 0; k < many; k++) f32[value + k] = f32[g + k] * f32[o0 + k] * (1 - f32[th + k] * f32[th + k]);
    normBack?.(c.after, spare);
    const [before, into] = [indexOf(c.before), indexOf(dInput)];
    for (let r = 0; r < rows; r++) {
      for (let j = 0; j < hiddenSize; j++) {
        const k = r * hiddenSize + j;
        const at = into + r * 4 * hiddenSize + j;
        const [i, f, o, n] = [f32[i0 + k], f32[f0 + k], f32[o0 + k], f32[g0 + k]];
        const d = f32[back + k] + f32[value + k];
        f32[at] = d * n * i * (1 - i);
        f32[at + hiddenSize] = d * f32[before + k] * f * (1 - f);
        f32[at + 2 * hiddenSize] = d * i * (1 - n * n);
        f32[at + 3 * hiddenSize] = f32[g + k] * f32[th + k] * o * (1 - o);
        f32[back + k] = d * f;
      }
    }
    f32.copyWithin(indexOf(dState), into, into + 4 * many);
    f32.fill(0, indexOf(dhBefore), indexOf(dhBefore) + many);
  },
};

/**
 * LSTM with recurrent batch normalization (Cooijmans et al. 2016), over whole sequences `[N, T,
 * I]`:
 *
 *   [i, f, g, o] = BN(Wx·x) + BN(Wh·h) + b
 *   c' = σ(f)·c + σ(i)·tanh(g)     h' = σ(o)·tanh(BN(c'))
 *
 * Each BN has statistics for each time step (`RecurrentBatchNorm1d`). Weights and gates are in
 * PyTorch's order; with `norm: false` it is PyTorch's LSTM. Padding has no part in anything, and
 * its output is 0. A forward throws ERR_MASK for lengths that do not fit.
 *
 *     const lstm = new BNLSTMCell(28, 64, { maxSteps: 28 });
 *     const h = lstm.forward(x, { lengths });     // [N, T, 28] to [N, T, 64]
 */
export class BNLSTMCell extends RecurrentCell {
  static override readonly name: string = 'BNLSTMCell';

  /**
   * @param inputSize length of the input's last axis, I; `null`: that of the first input, or of
   *   `build(shape)`
   * @param hiddenSize length of the state, H
   * @throws ERR_OPTION for an unknown option or a value that it does not take
   */
  constructor(inputSize: number | null, hiddenSize: number, options: LSTMCellOptions = {}) {
    const read = readCell<{ forgetBias: number }>(LSTM, inputSize, hiddenSize, options, { forgetBias: number(1) });
    super(LSTM, inputSize, hiddenSize, read);
    this.biasIh.data.fill(read.cell.forgetBias, hiddenSize, 2 * hiddenSize);
  }
}
