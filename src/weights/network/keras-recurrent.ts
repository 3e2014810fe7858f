// Recurrent layers of Keras: SimpleRNN, GRU and LSTM, their cells in RNN, and Bidirectional.

import { asRecord, type Json } from '../../formats/json.ts';
import { showJson } from '../../formats/show-json.ts';
import type { Operation as GraphOperation } from '../../graph/operation.ts';
import type { Gate } from '../../graph/operations/recurrent.ts';
import { kindOf } from '../keras-config.ts';
import type { Flow, Known } from './draft.ts';
import { KerasCall, type KerasConverter, type KerasSettings } from './keras-call.ts';
import { stepsThatCount } from './keras-masks.ts';
import type { LayerWeights } from './keras-weights.ts';
import { reshaped, scalar } from './onnx-layers.ts';

const CELLS = {
  simple_rnn: { cell: 'rnn', gates: 1, order: [0] },
  gru: { cell: 'gru', gates: 3, order: [0, 1, 2] },
  // input, forget, cell, output there; input, output, forget, cell here
  lstm: { cell: 'lstm', gates: 4, order: [0, 3, 1, 2] },
} as const;
type Cell = keyof typeof CELLS;

const isCell = (kind: string): kind is Cell => Object.hasOwn(CELLS, kind);

/** Activations of gates by name. */
const GATES: Readonly<Record<string, Gate>> = {
  tanh: { curve: 'tanh', a: 0, b: 0 },
  sigmoid: { curve: 'sigmoid', a: 0, b: 0 },
  relu: { curve: 'relu', a: 0, b: 0 },
  linear: { curve: 'affine', a: 1, b: 0 },
  elu: { curve: 'elu', a: 1, b: 0 },
  softsign: { curve: 'softsign', a: 0, b: 0 },
  softplus: { curve: 'softplus', a: 0, b: 0 },
  leaky_relu: { curve: 'leakyrelu', a: 0.2, b: 0 },
};

const nameOf = (given: Json | undefined): Json | undefined => {
  const record = asRecord(given ?? null);
  return record && typeof record.config === 'string' ? record.config : given;
};

/** What of a gate's activation there is not here, in words. */
export function missingGate(given: Json | undefined): string | undefined {
  const name = nameOf(given) ?? 'linear';
  if (typeof name === 'string' && (name === 'hard_sigmoid' || Object.hasOwn(GATES, name))) return undefined;
  return `activation ${showJson(name)} of a gate`;
}

function gateOf(call: KerasCall, name: string, standard: string): Gate {
  const given = call.config[name] === undefined ? standard : (nameOf(call.config[name]) ?? 'linear');
  if (given === 'hard_sigmoid') return { curve: 'hardsigmoid', a: call.isNew ? 1 / 6 : 0.2, b: 0.5 };
  if (typeof given === 'string' && Object.hasOwn(GATES, given)) return GATES[given];
  throw call.fail(`${name} among ${[...Object.keys(GATES), 'hard_sigmoid'].join(', ')}`, showJson(given));
}

/** Columns of a kernel `[rows, gates·hidden]` as rows, gates in ONNX' order. */
function rowsOf({ data }: Known, rows: number, hidden: number, order: readonly number[]): Float32Array {
  const columns = order.length * hidden;
  const to = new Float32Array(rows * columns);
  order.forEach((gate, i) => {
    for (let h = 0; h < hidden; h++) {
      for (let k = 0; k < rows; k++) to[(i * hidden + h) * rows + k] = data[k * columns + gate * hidden + h];
    }
  });
  return to;
}

const ordered = (bias: ArrayLike<number>, from: number, hidden: number, order: readonly number[]) =>
  order.flatMap((gate) => Array.from({ length: hidden }, (_, h) => bias[from + gate * hidden + h]));

/**
 * Kernels as cuDNN keeps them, by gate: the transposed matrix read as if it were this one
 * (keras/engine/saving, `_convert_rnn_weights`).
 */
function fromCudnn({ data, shape, dtype }: Known, gates: number, isRecurrent: boolean): Known {
  const [rows, columns] = shape;
  const hidden = columns / gates;
  const to = new Float32Array(rows * columns);
  for (let g = 0; g < gates; g++) {
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < hidden; j++) {
        const at = isRecurrent ? [j, i] : [Math.floor((i + j * rows) / hidden), (i + j * rows) % hidden];
        to[i * columns + g * hidden + j] = data[at[0] * columns + g * hidden + at[1]];
      }
    }
  }
  return { data: to, shape, dtype };
}

interface Run {
  /** All steps, or the last one. */
  readonly y: Flow;
  /** The last states: h, of an LSTM c as well. */
  readonly states: readonly Flow[];
}

/**
 * A layer over a sequence.
 *
 * @param isBack from the last step to the first
 * @param isTurned are outputs of all steps in the other order than that in which they came?
 */
function run(
  call: KerasCall,
  kind: Cell,
  weights: LayerWeights,
  x: Flow,
  {
    isBack,
    isTurned,
    states,
    mask,
    isZero = call.flag('zero_output_for_mask', false),
    isCudnn = false,
  }: {
    isBack: boolean;
    isTurned: boolean;
    states: readonly Flow[];
    /** Steps that count. */
    mask: Flow | undefined;
    /** Are outputs of other steps 0? */
    isZero?: boolean;
    isCudnn?: boolean;
  },
): Run {
  const { cell, gates, order } = CELLS[kind];
  const hidden = call.whole('units', 0);
  const inputs = x.shape[2];
  const own = new KerasCall({ ...call.settings, className: `${kind}_cell` }, call.around, weights, [x]);
  const at = (name: string, shape: readonly number[]) => {
    const known = own.weights.find(name, `${kind}_cell`, call.config);
    if (!known) throw call.fail(`a variable '${name}'`, 'none');
    const fits =
      known.shape.length === shape.length && known.shape.every((n, i) => Number.isNaN(shape[i]) || n === shape[i]);
    if (fits) return known;
    throw call.fail(`'${name}' of shape [${shape.join(', ')}]`, `shape [${known.shape.join(', ')}]`);
  };
  const turned = (known: Known, isRecurrent: boolean) => (isCudnn ? fromCudnn(known, gates, isRecurrent) : known);
  const kernel = turned(at('kernel', [inputs, gates * hidden]), false);
  const recurrent = turned(at('recurrent_kernel', [hidden, gates * hidden]), true);
  const hasTwo = own.weights.find('bias', `${kind}_cell`, call.config)?.shape.length === 2;
  const resets = kind === 'gru' && (isCudnn || call.flag('reset_after', hasTwo));
  const weight = rowsOf(kernel, kernel.shape[0], hidden, order);
  const recurrence = rowsOf(recurrent, hidden, hidden, order);
  call.around.spend(weight.length + recurrence.length);
  const given: Flow[] = [x];
  const has: string[] = [];
  let bias: Float32Array | null = null;
  if (isCudnn || call.flag('use_bias', true)) {
    const many = gates * hidden;
    const isTwo = resets && !isCudnn;
    const { data } = at('bias', isCudnn ? [2 * many] : isTwo ? [2, many] : [many]);
    const first = ordered(data, 0, hidden, order);
    const second = isCudnn || isTwo ? ordered(data, many, hidden, order) : first.map(() => 0);
    bias = Float32Array.from([...first, ...second]);
  }
  const [n, steps] = x.dims;
  const names = kind === 'lstm' ? ['h', 'c'] : ['h'];
  if (states.length && states.length !== names.length)
    throw call.fail(`${names.length} initial states`, `${states.length}`);
  states.forEach((state, i) => {
    given.push(reshaped(call, state, [n, 1, hidden]));
    has.push(names[i]);
  });
  if (mask) {
    if (isCudnn) throw call.fail('values without a mask', 'one, which cuDNN does not take');
    given.push(mask);
    has.push('mask');
  }
  const inner = gateOf(call, 'activation', 'tanh');
  const outer =
    kind === 'simple_rnn' ? inner : gateOf(call, 'recurrent_activation', call.isNew ? 'sigmoid' : 'hard_sigmoid');
  const operation = (gives: 'y' | 'h' | 'c') => {
    const of = {
      kind: 'recurrent',
      cell,
      direction: isBack ? 'reverse' : 'forward',
      hidden,
      batchFirst: true,
      gates: kind === 'simple_rnn' ? [inner] : kind === 'gru' ? [outer, inner] : [outer, inner, inner],
      clip: 0,
      linearBeforeReset: resets,
      coupled: false,
      has,
      ...(mask && { zeros: isZero }),
      gives,
    };
    const features = kernel.shape[0];
    return { kind: 'recurrent-layer', of, features, weight, recurrence, bias } as unknown as GraphOperation;
  };
  const last = (gives: 'h' | 'c') => {
    const state = call.draft.operate(operation(gives), given, [n, 1, hidden], 'F32');
    return reshaped(call, state, [n, hidden]);
  };
  const h = last('h');
  const found = call.flag('return_state', false) ? [h, ...(kind === 'lstm' ? [last('c')] : [])] : [];
  const isWhole = call.flag('return_sequences', false);
  if (mask && states.length && (call.isNew || call.around.format === 'TF.js')) {
    const { className, name } = call.settings;
    call.assume(
      `layer ${className} '${name}': outputs are 0 before the first step that the mask keeps, as TensorFlow has it`,
    );
  }
  // the last output is the last state, but where a mask sets it to 0
  if (!isWhole && !(mask && (isZero || states.length))) return { y: h, states: found };
  const all = call.draft.operate(operation('y'), given, [n, steps, 1, hidden], 'F32');
  const y = reshaped(call, all, [n, steps, hidden]);
  if (isWhole) return { y: isTurned ? reversed(call, y) : y, states: found };
  const cuts = [{ axis: 1, start: isBack ? 0 : -1, end: isBack ? 1 : 2 ** 31 - 1, step: 1 }];
  const end = call.draft.operate({ kind: 'slice', cuts } as unknown as GraphOperation, [y], [n, 1, hidden]);
  return { y: reshaped(call, end, [n, hidden]), states: found };
}

/** Steps from the last to the first. */
function reversed(call: KerasCall, x: Flow): Flow {
  const cuts = [{ axis: 1, start: -1, end: -(2 ** 31) + 1, step: -1 }];
  return call.draft.operate({ kind: 'slice', cuts } as unknown as GraphOperation, [x], x.dims);
}

function check(call: KerasCall): void {
  if (call.flag('time_major', false)) throw call.fail('time_major false', 'true');
  if (call.flag('stateful', false)) {
    call.assume(
      `layer ${call.settings.className} '${call.settings.name}' is stateful: here each call begins with zeros`,
    );
  }
}

/** The sequence, and the states that it begins with. */
function sequenceOf(call: KerasCall): { x: Flow; states: readonly Flow[] } {
  const [x, ...others] = call.inputs;
  if (x?.shape.length !== 3) throw call.fail('a sequence of rank 3', x ? `rank ${x.shape.length}` : 'none');
  const states = call.kwargs.initial_state ?? others;
  return { x, states };
}

function recurrent(kind: Cell, isCudnn = false): KerasConverter {
  return (call) => {
    check(call);
    const { x, states } = sequenceOf(call);
    const isBack = call.flag('go_backwards', false);
    const mask = stepsThatCount(call);
    // outputs come in the order of the steps, which goes backwards
    const { y, states: last } = run(call, kind, call.weights, x, { isBack, isTurned: isBack, states, mask, isCudnn });
    return [y, ...last];
  };
}

/** The layer that cells are: RNN(LSTMCell(8)) is LSTM(8); several one behind the other. */
const cells: KerasConverter = (call) => {
  check(call);
  const { x, states } = sequenceOf(call);
  const cell = asRecord(call.config.cell ?? null);
  const inner = asRecord(cell?.config);
  const isStack = cell && kindOf(`${cell.class_name}`) === 'stacked_rnn_cells';
  const list = call.config.cells ?? (isStack ? inner?.cells : [cell as Json]);
  if (!Array.isArray(list) || list.length === 0) throw call.fail('a cell', showJson(call.config.cell));
  if (list.length > 1 && states.length) throw call.fail('no initial states of several cells', `${states.length}`);
  const mask = stepsThatCount(call);
  const isZero = call.flag('zero_output_for_mask', false);
  let y = x;
  const last: Flow[] = [];
  list.forEach((one, i) => {
    const own = asRecord(one);
    const config = asRecord(own?.config);
    const kind = kindOf(`${own?.class_name}`).replace(/_cell$/, '');
    if (!own || !config || !isCell(kind))
      throw call.fail('SimpleRNNCell, GRUCell or LSTMCell', showJson(own?.class_name));
    const { return_sequences, return_state, go_backwards } = call.config;
    const isLast = i === list.length - 1;
    const settings = {
      ...call.settings,
      config: {
        ...config,
        return_sequences: isLast ? (return_sequences ?? false) : true,
        return_state: return_state ?? false,
      },
    };
    const weights = list.length > 1 ? cellWeights(call.weights, config.name, i) : call.weights;
    const part = new KerasCall(settings as KerasSettings, call.around, weights, [y]);
    const isBack = go_backwards === true;
    const made = run(part, kind, weights, y, { isBack, isTurned: isBack && isLast, states, mask, isZero });
    y = made.y;
    last.push(...made.states);
  });
  return [y, ...last];
};

/** The variables of one of several cells: by its name, or by its number. */
function cellWeights(weights: LayerWeights, name: Json | undefined, i: number): LayerWeights {
  const numbered = weights.within((scope) => scope === `RNNCell_${i}`);
  return numbered.size || typeof name !== 'string' ? numbered : weights.of(name);
}

/** The settings of the layer in each direction, and its weights. */
function directions(call: KerasCall): readonly [KerasCall, KerasCall] {
  const forward = call.inner('layer', call.settings.name);
  const hasOwn = call.config.backward_layer !== undefined && call.config.backward_layer !== null;
  const backward = hasOwn ? call.inner('backward_layer', call.settings.name) : forward;
  const isBack = forward.config.go_backwards === true;
  const turned = hasOwn ? backward : { ...backward, config: { ...backward.config, go_backwards: !isBack } };
  // a backward layer that is given keeps its name
  const ownName = asRecord(asRecord(call.config.backward_layer)?.config)?.name;
  const weightsOf = (way: RegExp, name?: Json) => {
    const found = call.weights.within((scope) => way.test(scope));
    return found.size || typeof name !== 'string' ? found : call.weights.of(name);
  };
  return [
    call.on(call.inputs, forward, weightsOf(/^forward_/)),
    call.on(call.inputs, turned, weightsOf(/^backward_/, ownName)),
  ];
}

/** In tf.keras and Keras 3 both directions give 0 at steps that a mask leaves out. */
const givesZeros = ({ around: { format, version } }: KerasCall) =>
  format === 'Keras' && !/^(?:1|2\.[0-3])\.[\d.]*$/.test(version ?? '');

const bidirectional: KerasConverter = (call) => {
  const { x, states } = sequenceOf(call);
  const mode =
    call.config.merge_mode === null ? 'none' : call.choice('merge_mode', 'concat', ['concat', 'sum', 'mul', 'ave']);
  const half = states.length / 2;
  if (!Number.isInteger(half)) throw call.fail('initial states of both directions', `${states.length}`);
  const mask = stepsThatCount(call);
  const runs = directions(call).map((part, i) => {
    check(part);
    const cudnn = /^cu_?dnn_?(lstm|gru)$/.exec(part.kind)?.[1];
    const kind = cudnn ?? part.kind;
    if (!isCell(kind)) throw call.fail('SimpleRNN, GRU or LSTM', part.settings.className);
    const isBack = part.flag('go_backwards', false);
    // those of the backward layer are in the other order than it gives them
    const isTurned = i === 0 ? isBack : !isBack;
    const own = states.slice(i * half, (i + 1) * half);
    const isZero = givesZeros(part) && part.flag('return_sequences', false);
    return run(part, kind, part.weights, x, {
      isBack,
      isTurned,
      states: own,
      mask,
      isZero,
      isCudnn: cudnn !== undefined,
    });
  });
  const [a, b] = runs.map(({ y }) => y);
  const last = runs.flatMap(({ states: own }) => own);
  const { draft } = call;
  if (mode === 'none') return [a, b, ...last];
  if (mode === 'concat') return [draft.concat([a, b], a.shape.length - 1), ...last];
  if (mode === 'mul') return [draft.multiply(a, b), ...last];
  const sum = draft.add(a, b);
  return [mode === 'ave' ? draft.multiply(sum, scalar(call, 0.5)) : sum, ...last];
};

let table: Readonly<Record<string, KerasConverter>> | undefined;

export function kerasRecurrents(): Readonly<Record<string, KerasConverter>> {
  table ??= {
    simple_rnn: recurrent('simple_rnn'),
    gru: recurrent('gru'),
    lstm: recurrent('lstm'),
    cu_dnngru: recurrent('gru', true),
    cu_dnnlstm: recurrent('lstm', true),
    rnn: cells,
    bidirectional,
  };
  return table;
}
