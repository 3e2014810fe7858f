// Places before and behind any axis, or fewer of them: a padding that may follow from shapes.

import { wrongValue } from '../../errors.ts';
import { countOf, showSymbolic } from '../../tensors/shape.ts';
import { type Length, lengthsOf, readLengths } from '../lengths.ts';
import { MANY, type Operation, type Shape } from '../operation.ts';
import { movedError, type Plain, plainDescription, plainRunner } from '../plain.ts';

const MODES = ['constant', 'reflect', 'symmetric', 'edge', 'wrap'] as const;

export interface SurroundOperation extends Operation {
  readonly kind: 'surround';
  readonly mode: (typeof MODES)[number];
  /**
   * All befores, then all behinds, one for each axis; negative ones take places away. Over the
   * inputs.
   */
  readonly pads: readonly Length[];
  readonly value: number;
}

function shapeFor(subject: string, { pads, mode }: SurroundOperation, shapes: readonly Shape[]): Shape {
  const [x] = shapes;
  const found = lengthsOf(pads, shapes);
  if (found.length !== 2 * x.length) {
    throw wrongValue('ERR_SHAPE', subject, 'x', `rank ${found.length / 2}`, `shape ${showSymbolic(x)}`);
  }
  return x.map((length, axis) => {
    const [before, behind] = [found[axis], found[axis + x.length]];
    const out = length + before + behind;
    const most = mode === 'reflect' ? length - 1 : mode === 'symmetric' ? length : Number.POSITIVE_INFINITY;
    const isShort = (before > most || behind > most) && (before > 0 || behind > 0);
    if (out < 0 || isShort || (mode !== 'constant' && length === 0 && out > 0)) {
      const expected = `an axis ${axis} long enough for ${before} and ${behind} places (${mode})`;
      throw wrongValue('ERR_SHAPE', subject, 'x', expected, `shape ${showSymbolic(x)}`);
    }
    return out;
  });
}

/** Which place of an axis each output takes; −1: none. */
function mapOf(mode: SurroundOperation['mode'], length: number, before: number, out: number): Int32Array {
  return Int32Array.from({ length: out }, (_, i) => {
    const at = i - before;
    if (at >= 0 && at < length) return at;
    if (mode === 'constant') return -1;
    if (mode === 'edge') return at < 0 ? 0 : length - 1;
    if (mode === 'wrap') return ((at % length) + length) % length;
    // the outermost place itself is repeated, or not
    const twice = mode === 'symmetric' ? 1 : 0;
    const period = Math.max(1, 2 * (length - 1 + twice));
    const place = ((at % period) + period) % period;
    return place < length ? place : period - twice - place;
  });
}

const plain: Plain<SurroundOperation> = {
  kind: 'surround',
  arity: MANY,
  name: ({ mode }) => `pad, ${mode}`,
  shape: shapeFor,
  prepare(operation, shapes) {
    const [x] = shapes;
    const { mode, value } = operation;
    const shape = shapeFor('pad', operation, shapes);
    const found = lengthsOf(operation.pads, shapes);
    if (countOf(shape) === 0) return () => {};
    const maps = x.map((length, axis) => mapOf(mode, length, found[axis], shape[axis]));
    const last = maps.length - 1;
    if (last < 0) return ([values], [from], y, to) => void (y[to] = values[from]);
    const map = maps[last];
    const rows = countOf(shape.slice(0, -1));
    return ([values], [from], y, to) => {
      const place = shape.slice(0, -1).map(() => 0);
      for (let r = 0, out = to; r < rows; r++, out += map.length) {
        let at = 0;
        for (let a = 0; a < last && at >= 0; a++) at = maps[a][place[a]] < 0 ? -1 : at * x[a] + maps[a][place[a]];
        if (at < 0) y.fill(value, out, out + map.length);
        else {
          const first = from + at * x[last];
          for (let i = 0; i < map.length; i++) y[out + i] = map[i] < 0 ? value : values[first + map[i]];
        }
        for (let a = last - 1; a >= 0 && ++place[a] === shape[a]; a--) place[a] = 0;
      }
    };
  },
  read(fields) {
    const { mode, pads, value } = fields.json;
    if (!MODES.includes(mode as 'edge')) throw fields.fail('a mode', mode);
    const number = value === '-∞' ? Number.NEGATIVE_INFINITY : value;
    if (typeof number !== 'number') throw fields.fail('a value', value);
    return { kind: 'surround', mode: mode as 'edge', pads: readLengths(fields, pads), value: number };
  },
};

export const runSurround = /* @__PURE__ */ plainRunner(plain);

export const describeSurround = /* @__PURE__ */ plainDescription(plain, runSurround, {
  group: 'indexing',
  noun: 'a padding',
  json: ({ mode, pads, value }) => ({ mode, pads, value: value === Number.NEGATIVE_INFINITY ? '-∞' : value }),
  error: (inputs, operation, shape) =>
    movedError(plain)(inputs, operation.mode === 'constant' ? { ...operation, value: 0 } : operation, shape),
});
