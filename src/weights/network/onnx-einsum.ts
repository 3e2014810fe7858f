// Einsum: sums over letters, as transpositions, products of matrices and products that broadcast.

import type { Flow } from './draft.ts';
import type { Call, Converter } from './onnx-call.ts';
import { matmul, reduce, reshaped, transpose } from './onnx-layers.ts';
import { eye } from './onnx-ranges.ts';
import { productOf } from './terms.ts';

/** A value, and the letter of each of its axes. */
interface Lettered {
  readonly flow: Flow;
  readonly letters: readonly string[];
}

/** Letters of a term: axes of an ellipsis are `.0`, `.1`, …, counted so that the last ones agree. */
function lettersOf(call: Call, term: string, ellipsis: number, most: number): string[] {
  const spread = Array.from({ length: ellipsis }, (_, i) => `.${most - ellipsis + i}`);
  return (term.match(/\.\.\.|[A-Za-z]|./g) ?? []).flatMap((one) => {
    if (one === '...') return spread;
    if (/[A-Za-z]/.test(one)) return [one];
    throw call.fail('letters and ... in equation', term);
  });
}

function read(call: Call): { operands: Lettered[]; result: string[] } {
  const equation = call.text('equation', '').replaceAll(' ', '');
  const [left, right, ...more] = equation.split('->');
  const terms = left.split(',');
  if (more.length || terms.length !== call.count)
    throw call.fail(`an equation of ${call.count} terms`, `'${equation}'`);
  const flows = terms.map((_, i) => call.flow(i));
  const widths = terms.map((term, i) => {
    const named = term.replace('...', '').length;
    const width = flows[i].dims.length - named;
    if (width < 0 || (width > 0 && !term.includes('...')))
      throw call.fail(`${named} axes for ${term}`, `rank ${flows[i].dims.length}`);
    return width;
  });
  const most = Math.max(...widths);
  const operands = terms.map((term, i) => ({ flow: flows[i], letters: lettersOf(call, term, widths[i], most) }));
  const all = operands.flatMap(({ letters }) => letters);
  // without a result: what occurs once, in order, behind the axes of the ellipsis
  const once = [...new Set(all)]
    .filter((one) => one.startsWith('.') || all.indexOf(one) === all.lastIndexOf(one))
    .sort();
  const result = right === undefined ? once : lettersOf(call, right, most, most);
  const strange = result.find((one, i) => !all.includes(one) || result.indexOf(one) !== i);
  if (strange) throw call.fail('letters of the inputs in the result, each once', `'${equation}'`);
  return { operands, result };
}

/** A letter that a term has twice: the diagonal of two axes. */
function diagonal(call: Call, { flow, letters }: Lettered): Lettered {
  const second = letters.findIndex((one, i) => letters.indexOf(one) !== i);
  if (second < 0) return { flow, letters };
  const first = letters.indexOf(letters[second]);
  const dims = flow.dims.map((dim, i) => (i === first || i === second ? dim : 1));
  const mask = reshaped(call, eye(call, flow.dims[first], flow.dims[second], 0, 'F32'), dims);
  const one = reduce(call, call.draft.multiply(flow, mask), 'sum', [second], false);
  return diagonal(call, { flow: one, letters: letters.filter((_, i) => i !== second) });
}

/** Sums over the letters that nobody needs. */
function summed(call: Call, { flow, letters }: Lettered, needed: ReadonlySet<string>): Lettered {
  const axes = letters.flatMap((one, i) => (needed.has(one) ? [] : [i]));
  if (axes.length === 0) return { flow, letters };
  return { flow: reduce(call, flow, 'sum', axes, false), letters: letters.filter((one) => needed.has(one)) };
}

/** The value with its axes in this order; 1 where it has no such axis. */
function ordered(call: Call, { flow, letters }: Lettered, order: readonly string[]): Flow {
  const own = order.filter((one) => letters.includes(one));
  const turned = transpose(
    call,
    flow,
    own.map((one) => letters.indexOf(one)),
  );
  return reshaped(
    call,
    turned,
    order.map((one) => (letters.includes(one) ? turned.dims[own.indexOf(one)] : 1)),
  );
}

function product(call: Call, left: Lettered, right: Lettered, later: ReadonlySet<string>): Lettered {
  const a = summed(call, left, new Set([...later, ...right.letters]));
  const b = summed(call, right, new Set([...later, ...a.letters]));
  const both = a.letters.filter((one) => b.letters.includes(one));
  const [batch, inner] = [both.filter((one) => later.has(one)), both.filter((one) => !later.has(one))];
  const [rows, columns] = [a, b].map(({ letters }) => letters.filter((one) => !both.includes(one)));
  const letters = [...batch, ...rows, ...columns];
  if (inner.length === 0) {
    return { flow: call.draft.multiply(ordered(call, a, letters), ordered(call, b, letters)), letters };
  }
  const x = ordered(call, a, [...batch, ...rows, ...inner]);
  const w = ordered(call, b, [...batch, ...inner, ...columns]);
  const count = batch.length;
  const [height, width] = [x.dims.slice(count, count + rows.length), w.dims.slice(count + inner.length)];
  const depth = productOf(x.dims.slice(count + rows.length));
  const y = matmul(
    call,
    reshaped(call, x, [...x.dims.slice(0, count), productOf(height), depth]),
    reshaped(call, w, [
      ...w.dims.slice(0, count),
      productOf(w.dims.slice(count, count + inner.length)),
      productOf(width),
    ]),
  );
  return { flow: reshaped(call, y, [...y.dims.slice(0, count), ...height, ...width]), letters };
}

export const einsum: Converter = (call) => {
  const { operands, result } = read(call);
  const [first, ...others] = operands.map((one) => diagonal(call, one));
  const y = others.reduce((left, right, i) => {
    const later = new Set([...result, ...others.slice(i + 1).flatMap(({ letters }) => letters)]);
    return product(call, left, right, later);
  }, first);
  return ordered(call, summed(call, y, new Set(result)), result);
};
