// Operators of ONNX against formulas as they are written: what the fixtures of others do not hold.

import { describe, expect, test } from 'vitest';
import { loadNetwork } from '../../src/weights/index.ts';
import { normals } from '../support/data.ts';
import { formsOf, type Plain } from '../support/networks.ts';
import { floats, ints, type NodeText, node, onnxModel } from '../support/onnx-models.ts';
import { loadAndSpoil } from '../support/weights.ts';

type Shape = readonly number[];

const sizeOf = (shape: Shape) => shape.reduce((product, length) => product * length, 1);
const given = (seed: number, shape: Shape): Plain => ({ data: normals(seed, sizeOf(shape), 0.2), shape: [...shape] });

/** Every place of a shape. */
function* placesOf(shape: Shape): Generator<number[]> {
  for (let i = 0; i < sizeOf(shape); i++) {
    let rest = i;
    const place = shape.map(() => 0);
    for (let a = shape.length - 1; a >= 0; a--) {
      place[a] = rest % shape[a];
      rest = Math.floor(rest / shape[a]);
    }
    yield place;
  }
}

const at = (shape: Shape, place: Shape) => place.reduce((sum, index, a) => sum * shape[a] + index, 0);

/** Runs nodes of x and z, whose lengths are open, in every form. */
async function expectResult(
  nodes: readonly NodeText[],
  inputs: Readonly<Record<string, Plain>>,
  constants: Parameters<typeof onnxModel>[0]['constants'],
  shape: Shape,
  valueAt: (place: Shape) => number,
  opset = 20,
): Promise<void> {
  const open = Object.entries(inputs).map(
    ([name, x]) => [name, x.shape.map((_, a) => (a === 1 && x.shape.length > 2 ? x.shape[a] : `${name}${a}`))] as const,
  );
  const model = onnxModel({ inputs: Object.fromEntries(open), outputs: ['y'], constants, nodes }, opset);
  const net = await loadAndSpoil(model);
  for (const [form, run] of Object.entries(formsOf(net))) {
    const { y } = run(inputs);
    expect(y.shape, form).toEqual([...shape]);
    for (const place of placesOf(shape)) {
      const [got, want] = [y.data[at(shape, place)], valueAt(place)];
      expect(Math.abs(got - want) <= 2e-5 * (1 + Math.abs(want)), `${form} [${place}]: ${got}, not ${want}`).toBe(true);
    }
  }
}

describe('Einsum', () => {
  test.each([
    ['ij,jk->ik', [2, 3], [3, 4]],
    ['ij,kj', [2, 3], [4, 3]],
    ['bhid,bhjd->bhij', [2, 3, 4, 5], [2, 3, 6, 5]],
    ['bij,bjk->kb', [2, 3, 4], [2, 4, 5]],
    ['i,j->ij', [3], [4]],
    ['ij,ij->', [3, 4], [3, 4]],
    ['nkctv,kvw->nctw', [2, 3, 2, 4, 5], [3, 5, 6]],
    ['ijk,l->kli', [2, 3, 4], [5]],
  ] as const)('%s', async (equation, left, right) => {
    const [a, b] = [given(1, left), given(2, right)];
    const [inputs, output] = equation.split('->');
    const [x, w] = inputs.split(',').map((term) => [...term]);
    const letters = [...new Set([...x, ...w])];
    const lengthOf = (letter: string) => (x.includes(letter) ? left[x.indexOf(letter)] : right[w.indexOf(letter)]);
    const all = [...x, ...w];
    const result =
      output === undefined ? letters.filter((one) => all.filter((other) => other === one).length === 1) : [...output];
    const summed = letters.filter((one) => !result.includes(one));
    const shape = result.map(lengthOf);
    await expectResult([node('Einsum', 'x w', 'y', { equation })], { x: a, w: b }, {}, shape, (place) => {
      let sum = 0;
      for (const inner of placesOf(summed.map(lengthOf))) {
        const index = (letter: string) =>
          result.includes(letter) ? place[result.indexOf(letter)] : inner[summed.indexOf(letter)];
        sum += a.data[at(left, x.map(index))] * b.data[at(right, w.map(index))];
      }
      return sum;
    });
  });

  test('ellipsis, diagonals and three terms', async () => {
    const x = given(3, [2, 3, 3]);
    const nodes = [node('Einsum', 'x', 'y', { equation: '...ii->...i' })];
    await expectResult(nodes, { x }, {}, [2, 3], ([n, i]) => x.data[9 * n + 4 * i]);
    const [a, b, c] = [given(4, [2, 3]), given(5, [3, 4]), given(6, [4, 5])];
    const chain = [node('Einsum', 'a b c', 'y', { equation: 'ij,jk,kl->li' })];
    await expectResult(chain, { a, b, c }, {}, [5, 2], ([l, i]) => {
      let sum = 0;
      for (let j = 0; j < 3; j++)
        for (let k = 0; k < 4; k++) sum += a.data[3 * i + j] * b.data[4 * j + k] * c.data[5 * k + l];
      return sum;
    });
  });
});

test('GridSample between pixels, outside of the picture 0', async () => {
  const [h, w] = [5, 6];
  const x = given(7, [2, 3, h, w]);
  const places = given(8, [2, 4, 2, 2]);
  const nodes = [node('GridSample', 'x places', 'y', { align_corners: 1, mode: 'linear' })];
  const pixel = (n: number, c: number, i: number, j: number) =>
    i >= 0 && i < h && j >= 0 && j < w ? x.data[((n * 3 + c) * h + i) * w + j] : 0;
  await expectResult(nodes, { x, places }, {}, [2, 3, 4, 2], ([n, c, i, j]) => {
    const [px, py] = [0, 1].map((d) => places.data[((n * 4 + i) * 2 + j) * 2 + d]);
    const [u, v] = [((px + 1) / 2) * (w - 1), ((py + 1) / 2) * (h - 1)];
    const [left, top] = [Math.floor(u), Math.floor(v)];
    const row = (k: number) => (1 - u + left) * pixel(n, c, k, left) + (u - left) * pixel(n, c, k, left + 1);
    return (1 - v + top) * row(top) + (v - top) * row(top + 1);
  });
});

test('GridSample at the middles of pixels takes them, and outside the edge or its mirror image', async () => {
  const x = { data: Float32Array.of(1, 2, 3, 4), shape: [1, 1, 1, 4] };
  const at4 = [-1.75, -0.75, 0.75, 1.25];
  const places = { data: Float32Array.from(at4.flatMap((place) => [place, 0])), shape: [1, 1, 4, 2] };
  for (const mode of ['nearest', 'linear', 'cubic']) {
    for (const [padding, values] of [
      ['border', [1, 1, 4, 4]],
      ['reflection', [2, 1, 4, 4]],
    ] as const) {
      const nodes = [node('GridSample', 'x places', 'y', { padding_mode: padding, mode })];
      await expectResult(nodes, { x, places }, {}, [1, 1, 1, 4], ([, , , i]) => values[i]);
    }
  }
});

test('Col2Im puts blocks back, summed where they overlap', async () => {
  const [c, kh, kw, h, w] = [2, 2, 3, 5, 6];
  const [rows, columns] = [(h + 1 - kh) / 2 + 1, w + 2 - kw + 1];
  const x = given(9, [2, c * kh * kw, rows * columns]);
  const nodes = [node('Col2Im', 'x image block', 'y', { strides: [2, 1], pads: [1, 1, 0, 1] })];
  const constants = { image: ints(h, w), block: ints(kh, kw) };
  await expectResult(nodes, { x }, constants, [2, c, h, w], ([n, ch, i, j]) => {
    let sum = 0;
    for (const [a, b, p, q] of placesOf([kh, kw, rows, columns])) {
      if (2 * p + a - 1 !== i || q + b - 1 !== j) continue;
      sum += x.data[(n * c * kh * kw + (ch * kh + a) * kw + b) * rows * columns + p * columns + q];
    }
    return sum;
  });
});

test('triangles and identities of open lengths', async () => {
  const x = given(10, [3, 2, 4, 5]);
  const upper = [node('Trilu', 'x k', 'y', { upper: 1 })];
  const k = { data: [1], shape: [], dtype: 'I64' };
  await expectResult(upper, { x }, { k }, [3, 2, 4, 5], (place) =>
    place[3] - place[2] >= 1 ? x.data[at([3, 2, 4, 5], place)] : 0,
  );
  const m = given(11, [4, 5]);
  await expectResult([node('Trilu', 'm', 'y', { upper: 0 })], { m }, {}, [4, 5], ([i, j]) =>
    j <= i ? m.data[5 * i + j] : 0,
  );
  await expectResult([node('EyeLike', 'm', 'y', { k: -1 })], { m }, {}, [4, 5], ([i, j]) => (j === i - 1 ? 1 : 0));
});

test('ReverseSequence turns the first values of each sample', async () => {
  const x = given(12, [4, 3, 2]);
  const lengths = { data: Float32Array.of(1, 4, 2), shape: [3] };
  const nodes = [node('ReverseSequence', 'x lengths', 'y')];
  await expectResult(nodes, { x, lengths }, {}, [4, 3, 2], ([t, n, i]) => {
    const count = lengths.data[n];
    return x.data[((t < count ? count - 1 - t : t) * 3 + n) * 2 + i];
  });
});

test('QuantizeLinear and DequantizeLinear by channel', async () => {
  const x = given(13, [2, 3, 4]);
  const constants = { scale: floats([3], [0.1, 0.02, 0.5]), zero: { data: [0, 3, -7], shape: [3], dtype: 'I8' } };
  const nodes = [
    node('QuantizeLinear', 'x scale zero', 'q', { axis: 1 }),
    node('DequantizeLinear', 'q scale zero', 'y', { axis: 1 }),
  ];
  await expectResult(nodes, { x }, constants, [2, 3, 4], ([n, c, i]) => {
    const [scale, zero] = [Math.fround([0.1, 0.02, 0.5][c]), [0, 3, -7][c]];
    const step = Math.fround(x.data[(n * 3 + c) * 4 + i] / scale);
    return (Math.min(Math.max(Math.round(step) + zero, -128), 127) - zero) * scale;
  });
});

describe('recurrent layers with weights of their own are those with weights at run time', () => {
  const [steps, samples, features, hidden] = [5, 3, 4, 3];
  const cells = [
    ['LSTM', 4, {}],
    ['LSTM', 4, { input_forget: 1, clip: { float: 0.5 } }],
    ['GRU', 3, {}],
    ['GRU', 3, { linear_before_reset: 1 }],
    ['RNN', 1, {}],
  ] as const;
  const all = cells.flatMap((cell) =>
    ['forward', 'reverse', 'bidirectional'].flatMap((direction) =>
      [0, 1].map((layout) => [...cell, direction, layout] as const),
    ),
  );
  test.each(all)('%s %s %j %s, layout %s', async (op, gates, attributes, direction, layout) => {
    const ways = direction === 'bidirectional' ? 2 : 1;
    const state = layout ? [samples, ways, hidden] : [ways, samples, hidden];
    const weights: Record<string, Plain> = {
      w: given(21, [ways, gates * hidden, features]),
      r: given(22, [ways, gates * hidden, hidden]),
      b: given(23, [ways, 2 * gates * hidden]),
      ...(op === 'LSTM' && { p: given(24, [ways, 3 * hidden]) }),
    };
    const inputs: Record<string, Plain> = {
      x: given(25, layout ? [samples, steps, features] : [steps, samples, features]),
      h: given(26, state),
      ...(op === 'LSTM' && { c: given(27, state) }),
      lengths: { data: Float32Array.of(5, 2, 4), shape: [samples] },
    };
    const outputs = op === 'LSTM' ? ['y', 'yh', 'yc'] : ['y', 'yh'];
    const nodes = [
      node(op, op === 'LSTM' ? 'x w r b lengths h c p' : 'x w r b lengths h', outputs.join(' '), {
        hidden_size: hidden,
        direction,
        layout,
        ...attributes,
      }),
    ];
    const shapesOf = (values: Record<string, Plain>) =>
      Object.fromEntries(Object.entries(values).map(([name, { shape }]) => [name, shape]));
    const constants = Object.fromEntries(
      Object.entries(weights).map(([name, { data, shape }]) => [name, { data, shape, dtype: 'F32' }]),
    );
    const types = { lengths: 'I32' };
    const own = await loadNetwork(onnxModel({ inputs: shapesOf(inputs), outputs, constants, nodes, types }));
    const free = await loadNetwork(
      onnxModel({ inputs: { ...shapesOf(inputs), ...shapesOf(weights) }, outputs, nodes, types }),
    );
    const expected = formsOf(free).forward({ ...inputs, ...weights });
    for (const [form, run] of Object.entries(formsOf(own))) {
      const got = run(inputs);
      for (const name of outputs) {
        expect(got[name].shape, form).toEqual(expected[name].shape);
        got[name].data.forEach((value, i) => {
          const off = Math.abs(value - expected[name].data[i]);
          expect(off <= 1e-5, `${form} ${name}[${i}]: off by ${off}`).toBe(true);
        });
      }
    }
  });
});
