// What moves no numbers: constants, casts, dropout, branches.

import { TYPES } from '../../formats/onnx-tensor.ts';
import { Dropout } from '../../nn/dropout.ts';
import { differs } from '../../tensors/shape.ts';
import { literalOf } from '../onnx-constants.ts';
import type { Symbols } from './draft.ts';
import { type Call, type Converter, type Entry, isFlow, isSymbols, isWholeType } from './onnx-call.ts';
import { reshaped, unary } from './onnx-layers.ts';
import { work } from './terms.ts';

const FLOATS = ['F32', 'F64', 'F16', 'BF16'];

const cast: Converter = (call) => {
  const isLike = call.node.op === 'CastLike';
  const to = isLike ? call.flow(1).dtype : (TYPES[call.whole('to', 0)] ?? `type ${call.whole('to', 0)}`);
  const entry = call.entry(0);
  if (!FLOATS.includes(to) && !isWholeType(to)) throw call.fail('a type of numbers', to);
  if (entry.dtype === to) return entry;
  if (isSymbols(entry)) {
    const terms = isWholeType(to) && to !== 'BOOL' ? entry.terms.map((term) => work('trunc', term)) : entry.terms;
    return { ...entry, dtype: to, terms };
  }
  const known = isFlow(entry) ? entry.known : entry;
  if (known) {
    const round = to === 'F32' ? Math.fround : isWholeType(to) ? Math.trunc : (value: number) => value;
    const data =
      to === 'BOOL'
        ? Float64Array.from(known.data, (value) => (value === 0 ? 0 : 1))
        : Float64Array.from(known.data, round);
    return { dtype: to, shape: known.shape, data: to === 'F32' ? Float32Array.from(data) : data };
  }
  const x = call.flow(0);
  if (to === 'BOOL') return unary(call, x, 'truth', 0, 0, 'BOOL');
  if (isWholeType(to)) return isWholeType(x.dtype) ? call.draft.retyped(x, to) : unary(call, x, 'trunc', 0, 0, to);
  if (to !== 'F32') call.around.assume(`values of type ${to} are worked out in float32`);
  return call.draft.retyped(x, to);
};

const identity: Converter = (call) => call.entry(0);

const dropout: Converter = (call) => {
  const x = call.flow(0);
  if (call.uses(1)) throw call.fail('one output', 'a mask, which is used');
  const p = call.has(1) ? call.known(1)?.data[0] : call.number('ratio', 0.5);
  // nothing is dropped by a ratio of 0, in training too
  if (call.has(2) && p !== 0 && call.constant(2, 'training_mode').data[0] !== 0)
    throw call.fail('inference, or a ratio of 0', `training_mode true with ratio ${p ?? 'of run time'}`);
  if (x.known || p === undefined || !(p >= 0 && p < 1)) return x;
  return call.draft.keep(new Dropout(p), x, call.name);
};

const constant: Converter = (call) => {
  const value = literalOf(call.node);
  if (!value) throw call.fail('numbers', 'texts, or a sparse tensor');
  return value;
};

const branch: Converter = (call) => {
  const condition = call.known(0);
  if (condition) return call.around.inline(call.node, condition.data[0] ? 'then_branch' : 'else_branch');
  const entry = call.entry(0);
  if (isSymbols(entry)) return squeezed(call, entry);
  // both branches, of which the condition takes one
  const [one, other] = ['then_branch', 'else_branch'].map((name) => call.around.inline(call.node, name));
  const choice = reshaped(call, call.flow(0), []);
  return call.node.outputs.map((name, i) => {
    if (name === '' || !one[i] || !other[i]) return undefined;
    const [a, b] = [call.flowOf(one[i]), call.flowOf(other[i])];
    const isAlike =
      a.shape.length === b.shape.length && !a.shape.some((length, axis) => differs(length, b.shape[axis]));
    if (!isAlike) {
      throw call.fail('branches that give one shape, where the condition comes at run time', 'others');
    }
    const operation = { kind: 'where' } as const;
    return call.draft.operate(operation, [choice, a, b], a.dims, a.dtype);
  });
};

/**
 * PyTorch writes squeeze(axis) as `if (length == 1) Squeeze else Identity`, whose ranks differ.
 * Networks are written for the
 * first, and inputs of which the second would be right are refused by their shape.
 */
function squeezed(call: Call, condition: Symbols): readonly (Entry | undefined)[] {
  const [term] = condition.terms;
  const isOne = typeof term === 'object' && 'op' in term && term.op === 'equal' && term.terms.includes(1);
  const graph = call.node.graphs.find(({ name }) => name === 'then_branch')?.graph;
  if (!isOne || !graph?.nodes.some(({ op }) => op === 'Squeeze')) {
    const way = 'loadNetwork(source, { constants: … }) makes inputs constant';
    throw call.fail(
      `a condition that follows from constants (${way})`,
      'one that follows from lengths which are not fixed',
    );
  }
  call.around.assume(`If '${call.name}': the length that it compares with 1 is taken as 1`);
  return call.around.inline(call.node, 'then_branch');
}

export const control = (): Readonly<Record<string, Converter>> => ({
  Cast: cast,
  CastLike: cast,
  Identity: identity,
  Dropout: dropout,
  Constant: constant,
  If: branch,
});
