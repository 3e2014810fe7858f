// Nodes that work on numbers which follow from shapes: Shape → Gather → Mul → Concat and their kin,
// as terms.

import { broadcastShape } from '../../tensors/broadcast.ts';
import { countOf } from '../../tensors/shape.ts';
import { placesOf } from '../onnx-constants.ts';
import type { Known, Symbols } from './draft.ts';
import { Call, type Converter, type Entry, isFlow, isSymbols, isWholeType } from './onnx-call.ts';
import { type Sym, work } from './terms.ts';

type Formula = (terms: readonly Sym[], isWhole: boolean) => Sym;

const two =
  (op: Parameters<typeof work>[0]): Formula =>
  ([a, b]) =>
    work(op, a, b);
const one =
  (op: Parameters<typeof work>[0]): Formula =>
  ([a]) =>
    work(op, a);
const not = (term: Sym) => work('not', term);
const all =
  (op: 'max' | 'min' | 'add'): Formula =>
  (terms) =>
    terms.reduce((a, b) => work(op, a, b));

/** Operators number by number. */
const FORMULAS: Readonly<Record<string, Formula>> = /* @__PURE__ */ (() => ({
  Add: two('add'),
  Sub: two('sub'),
  Mul: two('mul'),
  Div: ([a, b], isWhole) => work(isWhole ? 'quotient' : 'div', a, b),
  Pow: two('pow'),
  Mod: two('mod'),
  Max: all('max'),
  Min: all('min'),
  Sum: all('add'),
  Equal: two('equal'),
  Less: two('less'),
  Greater: ([a, b]) => work('less', b, a),
  FloorDiv: ([a, b]) => work('floor', work('div', a, b)),
  LessOrEqual: ([a, b]) => not(work('less', b, a)),
  GreaterOrEqual: ([a, b]) => not(work('less', a, b)),
  And: two('and'),
  Or: two('or'),
  Not: one('not'),
  Neg: one('neg'),
  Abs: one('abs'),
  Floor: one('floor'),
  Ceil: one('ceil'),
  Sqrt: one('sqrt'),
  Where: (terms) => work('where', ...terms),
}))();
/** How many inputs formulas have at the least; others have two. */
const LEAST: Readonly<Record<string, number>> = {
  Max: 1,
  Min: 1,
  Sum: 1,
  Not: 1,
  Neg: 1,
  Abs: 1,
  Floor: 1,
  Ceil: 1,
  Sqrt: 1,
  Where: 3,
};

/** Whose results are rounded, where they are floats. */
const ROUNDED = ['Add', 'Sub', 'Mul', 'Div', 'FloorDiv', 'Pow', 'Sum', 'Sqrt'];
const TRUTHS = ['Equal', 'Less', 'Greater', 'LessOrEqual', 'GreaterOrEqual', 'And', 'Or', 'Not'];

/** Operators that move numbers, and which inputs these are: all, or the first. */
const MOVES: Readonly<Record<string, 'all' | 'first'>> = {
  Concat: 'all',
  Slice: 'first',
  Gather: 'first',
  GatherElements: 'first',
  GatherND: 'first',
  Squeeze: 'first',
  Unsqueeze: 'first',
  Reshape: 'first',
  Flatten: 'first',
  Transpose: 'first',
  Expand: 'first',
  Tile: 'first',
  Split: 'first',
  // of TensorFlow
  StridedSlice: 'first',
  Unpack: 'first',
};

const REDUCTIONS: Readonly<Record<string, 'add' | 'mul' | 'max' | 'min'>> = {
  ReduceSum: 'add',
  ReduceProd: 'mul',
  ReduceMax: 'max',
  ReduceMin: 'min',
};

const MOST = 4096;

/** Numbers that are all known are a constant. */
export function settled({ terms, shape, dtype }: Symbols): Entry {
  if (!terms.every((term) => typeof term === 'number')) return { terms, shape, dtype };
  return { dtype, shape, data: Float64Array.from(terms as number[]) } satisfies Known;
}

/**
 * The node as terms; undefined where it is none of these, or works on values that come at run time.
 */
export function asTerms(call: Call, convert: Converter): readonly (Entry | undefined)[] | undefined {
  const { op, inputs } = call.node;
  const isFormula = Object.hasOwn(FORMULAS, op);
  const isMove = Object.hasOwn(MOVES, op);
  const isReduction = Object.hasOwn(REDUCTIONS, op);
  if (!isFormula && !isMove && !isReduction) return undefined;
  const count = isFormula || MOVES[op] === 'all' ? inputs.length : 1;
  // the operator says which one is missing
  if (isFormula && count < (LEAST[op] ?? 2)) return undefined;
  const operands: Symbols[] = [];
  let isOpen = false;
  for (let i = 0; i < count; i++) {
    const found = call.has(i) ? call.terms(i) : undefined;
    if (!found) return undefined;
    if (isSymbols(call.entry(i))) isOpen = true;
    operands.push(found);
  }
  const isWhole = operands.every(({ dtype }) => isWholeType(dtype));
  if (!isOpen && !(isWhole && isFormula)) return undefined;
  if (isFormula) return [formula(call, op, operands)];
  if (isReduction) return reduced(call, operands[0], REDUCTIONS[op]);
  return moved(call, convert, operands);
}

function formula(call: Call, op: string, operands: readonly Symbols[]): Entry {
  const shape = broadcastShape(
    'loadNetwork',
    call.name,
    operands.map((one) => one.shape),
  );
  const places = operands.map((one) => placesOf(one.shape, shape));
  const first = op === 'Where' ? operands[1] : operands[0];
  const dtype = TRUTHS.includes(op) ? 'BOOL' : first.dtype;
  const isWhole = isWholeType(first.dtype);
  const terms = Array.from({ length: countOf(shape) }, (_, i) => {
    const term = FORMULAS[op](
      operands.map((one, k) => one.terms[places[k](i)]),
      isWhole,
    );
    return !isWhole && ROUNDED.includes(op) ? work('single', term) : term;
  });
  return settled({ terms, shape, dtype });
}

function reduced(call: Call, { terms, shape, dtype }: Symbols, op: 'add' | 'mul' | 'max' | 'min'): Entry[] | undefined {
  const axes = call.list('axes', 1);
  const keeps = call.flag('keepdims', 1);
  if (shape.length > 1 || (axes && axes.length !== shape.length) || terms.length === 0) return undefined;
  const term = terms.reduce((a, b) => work(op, a, b));
  return [settled({ terms: [term], shape: keeps ? shape.map(() => 1) : [], dtype })];
}

/**
 * Numbers are moved as their places: the node runs on these, and terms take their places in the
 * end.
 */
function moved(
  call: Call,
  convert: Converter,
  operands: readonly Symbols[],
): readonly (Entry | undefined)[] | undefined {
  const terms = operands.flatMap((one) => one.terms);
  const stand = new Map<string, Known>();
  let at = 0;
  operands.forEach((one, i) => {
    const data = Float64Array.from({ length: one.terms.length }, (_, k) => at + k);
    stand.set(call.node.inputs[i], { dtype: 'I64', shape: one.shape, data });
    at += one.terms.length;
  });
  // a value that is taken in two places stands for the same numbers in both
  if (stand.size < operands.length) {
    operands.forEach((one, i) => {
      const first = call.node.inputs.indexOf(call.node.inputs[i]);
      const start = operands.slice(0, first).reduce((sum, { terms: own }) => sum + own.length, 0);
      const data = Float64Array.from({ length: one.terms.length }, (_, k) => start + k);
      stand.set(call.node.inputs[i], { dtype: 'I64', shape: one.shape, data });
    });
  }
  const around = { ...call.around, entryOf: (name: string) => stand.get(name) ?? call.around.entryOf(name) };
  const bound = Object.assign(Object.create(call.around), around);
  const results = [convert(new Call(call.node, bound))].flat() as (Entry | undefined)[];
  const known = results.map((entry) => entry && (isFlow(entry) ? entry.known : isSymbols(entry) ? undefined : entry));
  if (results.some((entry, i) => entry && (!known[i] || known[i].data.length > MOST))) return undefined;
  const { dtype } = operands[0];
  return known.map(
    (one) => one && settled({ terms: Array.from(one.data, (place) => terms[place]), shape: one.shape, dtype }),
  );
}
