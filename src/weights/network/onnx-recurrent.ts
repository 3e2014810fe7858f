// LSTM, GRU and RNN.

import type { Operation as GraphOperation } from '../../graph/operation.ts';
import { GATE_CURVES, type Gate, type GateCurve } from '../../graph/operations/recurrent.ts';
import { differs, showSymbolic } from '../../tensors/shape.ts';
import { type Flow, lengthsFor } from './draft.ts';
import type { Call, Converter } from './onnx-call.ts';
import { floats, reshaped } from './onnx-layers.ts';
import { productOf, type Sym, work } from './terms.ts';

/** Parameters that activations have by themselves. */
const STANDARD: Readonly<Partial<Record<GateCurve, readonly [number, number]>>> = {
  affine: [1, 0],
  leakyrelu: [0.01, 0],
  thresholdedrelu: [1, 0],
  scaledtanh: [1, 1],
  hardsigmoid: [0.2, 0.5],
  elu: [1, 0],
};
/** How many of them each takes from the lists of the node. */
const TAKES: Readonly<Partial<Record<GateCurve, readonly [number, number]>>> = {
  affine: [1, 1],
  leakyrelu: [1, 0],
  thresholdedrelu: [1, 0],
  scaledtanh: [1, 1],
  hardsigmoid: [1, 1],
  elu: [1, 0],
};

/** Rows of weights for each unit. */
const ROWS = { lstm: 4, gru: 3, rnn: 1 } as const;

const CELLS = {
  LSTM: { cell: 'lstm', gates: ['sigmoid', 'tanh', 'tanh'] },
  GRU: { cell: 'gru', gates: ['sigmoid', 'tanh'] },
  RNN: { cell: 'rnn', gates: ['tanh'] },
} as const;

function gatesOf(call: Call, standard: readonly GateCurve[], ways: number): Gate[] {
  const names = call.node.texts.get('activations') ?? [];
  const list = (name: string) => {
    const value = call.node.attributes.get(name);
    return Array.isArray(value) ? [...value] : [];
  };
  const [alphas, betas] = [list('activation_alpha'), list('activation_beta')];
  const wanted = names.length
    ? names.map((name) => name.toLowerCase())
    : Array.from({ length: ways }, () => standard).flat();
  if (wanted.length !== standard.length * ways)
    throw call.fail(`${standard.length * ways} activations`, `${wanted.length}`);
  return wanted.map((name) => {
    if (!GATE_CURVES.includes(name as GateCurve)) throw call.fail(`activations among ${GATE_CURVES.join(', ')}`, name);
    const curve = name as GateCurve;
    const [a, b] = STANDARD[curve] ?? [0, 0];
    const [takesA, takesB] = TAKES[curve] ?? [0, 0];
    return { curve, a: takesA ? (alphas.shift() ?? a) : a, b: takesB ? (betas.shift() ?? b) : b };
  });
}

function recurrent(op: keyof typeof CELLS): Converter {
  return (call) => {
    const { cell, gates: standard } = CELLS[op];
    const x = call.flow(0);
    if (x.shape.length !== 3) throw call.fail('x of rank 3', `rank ${x.shape.length}`);
    const direction = call.choice('direction', 'forward', ['forward', 'reverse', 'bidirectional']);
    const ways = direction === 'bidirectional' ? 2 : 1;
    const batchFirst = call.flag('layout');
    const r = call.flow(2);
    const hidden = call.whole('hidden_size', r.shape[2], 1, 2 ** 24);
    const names = cell === 'lstm' ? ['bias', 'lengths', 'h', 'c', 'peepholes'] : ['bias', 'lengths', 'h'];
    const weights = [1, 2, ...(call.has(3) ? [3] : [])].map((i) => call.known(i));
    const isOwn = weights.every((one) => one) && !x.known;
    const rows = ROWS[cell] * hidden;
    const expected = [
      [ways, rows, x.shape[2]],
      [ways, rows, hidden],
      [ways, 2 * rows],
    ];
    weights.forEach((one, i) => {
      const isRight =
        !one || (one.shape.length === expected[i].length && !one.shape.some((n, k) => differs(n, expected[i][k])));
      if (!isRight) throw call.fail(`${'WRB'[i]} of shape ${showSymbolic(expected[i])}`, showSymbolic(one.shape));
    });
    const own = names.filter((name, i) => call.has(3 + i) && !(isOwn && name === 'bias'));
    const inputs = [x, ...(isOwn ? [] : [call.flow(1), r]), ...own.map((name) => call.flow(3 + names.indexOf(name)))];
    const [steps, samples] = batchFirst ? [x.dims[1], x.dims[0]] : [x.dims[0], x.dims[1]];
    const y: Sym[] = batchFirst ? [samples, steps, ways, hidden] : [steps, ways, samples, hidden];
    const state: Sym[] = batchFirst ? [samples, ways, hidden] : [ways, samples, hidden];
    const shapes = [y, state, state];
    const operation = (gives: 'y' | 'h' | 'c' | 'all') => {
      const of = {
        kind: 'recurrent',
        cell,
        direction,
        hidden,
        batchFirst,
        gates: gatesOf(call, standard, ways),
        clip: call.number('clip', 0),
        linearBeforeReset: call.flag('linear_before_reset'),
        coupled: call.flag('input_forget'),
        has: own,
        gives,
      };
      if (!isOwn) return of as unknown as GraphOperation;
      const [weight, recurrence, bias = null] = weights.map((one) => floats(one!.data));
      return {
        kind: 'recurrent-layer',
        of,
        features: weights[0]!.shape[2],
        weight,
        recurrence,
        bias,
      } as GraphOperation;
    };
    const used = [0, 1, 2].filter((output) => call.uses(output));
    if (used.length === 0) return [];
    if (used.length === 1) {
      const [only] = used;
      const outputs: (Flow | undefined)[] = [undefined, undefined, undefined];
      outputs[only] = call.draft.operate(operation((['y', 'h', 'c'] as const)[only]), inputs, shapes[only], 'F32');
      return outputs;
    }
    const all = call.draft.operate(operation('all'), inputs, undefined, 'F32');
    const sizes = shapes.map(productOf);
    return shapes.map((shape, output) => {
      if (!used.includes(output)) return undefined;
      const start = sizes.slice(0, output).reduce((a, b) => work('add', a, b), 0);
      const { lengths, inputs: from } = lengthsFor([start, work('add', start, sizes[output])], [all, x]);
      const cuts = [{ axis: 0, start: lengths[0], end: lengths[1], step: 1 }];
      const cut = { kind: 'slice', cuts } as unknown as GraphOperation;
      return reshaped(call, call.draft.operate(cut, from, [sizes[output]], 'F32'), shape);
    });
  };
}

export const recurrents = (): Readonly<Record<string, Converter>> => ({
  LSTM: recurrent('LSTM'),
  GRU: recurrent('GRU'),
  RNN: recurrent('RNN'),
});
