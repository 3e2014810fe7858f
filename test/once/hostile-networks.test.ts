// ONNX files that lie: each is refused with a message of its own, before memory is taken.

import { expect, test } from 'vitest';
import { loadNetwork } from '../../src/weights/index.ts';
import { rejectionOf } from '../support/errors.ts';
import { floats, ints, node, onnxModel } from '../support/onnx-models.ts';

type Model = Parameters<typeof onnxModel>[0];

const image = (...nodes: ReturnType<typeof node>[]): Model => ({
  inputs: { x: [1, 2, 4, 4] },
  outputs: ['y'],
  constants: {
    w: floats([3, 2, 3, 3]),
    odd: floats([3, 5, 3, 3]),
    bias: floats([7]),
    huge: ints(2 ** 20, 2 ** 20),
    large: ints(2 ** 9, 2 ** 9, 2 ** 8),
    shape: ints(3, -1),
    negative: ints(-2, 16),
    pads: ints(0, 0, 5, 5, 0, 0, 5, 5),
    axis: ints(7),
    scales: floats([4], [1, 1, -2, 2]),
    matrix: floats([2, 3]),
    k: ints(99),
    zero: ints(0),
    zeros: { data: Float64Array.of(0), shape: [], dtype: 'I64' },
    far: { data: Float64Array.of(2 ** 40), shape: [], dtype: 'I64' },
    one: { data: Float64Array.of(1), shape: [], dtype: 'I64' },
  },
  nodes,
});

const CASES: readonly (readonly [string, Model, string])[] = [
  [
    'operators that there are not here',
    image(node('NonZero', 'x', 'a'), node('Unique', 'a', 'b'), node('NonZero', 'b', 'c'), {
      ...node('Foo', 'c', 'y'),
      domain: 'my.ops',
    }),
    "ONNX: graph expected operators that there are here, got NonZero (2 nodes, the first 'NonZero_a'), Unique (1 node, the first 'Unique_b'), " +
      "my.ops.Foo (1 node, the first 'Foo_y') (foldOnnx folds the file for onnxruntime; outputs: [name of a value] cuts the graph before them)",
  ],
  [
    'a cycle',
    image(node('Add', 'x b', 'a'), node('Relu', 'a', 'b'), node('Relu', 'b', 'y')),
    "expected inputs that do not come of it, got a cycle through 'b'",
  ],
  [
    'a value that nobody gives',
    image(node('Add', 'x nobody', 'y')),
    "expected input 1, got 'nobody', which nobody gives",
  ],
  [
    'an output that nobody gives',
    { ...image(node('Relu', 'x', 'z')) },
    "output 'y' expected a node that gives it, got none",
  ],
  [
    'arithmetic of shapes that lacks an input',
    image(node('Shape', 'x', 's'), node('Where', 's s', 't'), node('Reshape', 'x t', 'y')),
    'expected input 2, got none',
  ],
  [
    'an activation of several nodes whose input nobody gives',
    image(node('Sigmoid', 'nobody', 'a'), node('Mul', 'nobody a', 'y')),
    "'nobody'",
  ],
  ['channels that differ', image(node('Conv', 'x odd', 'y')), 'x expected 5 channels on axis 1, got 2'],
  ['groups that do not divide', image(node('Conv', 'x w', 'y', { group: 2 })), 'groups expected'],
  ['a bias of another length', image(node('Conv', 'x w bias', 'y')), 'expected a bias of 3 values, got shape [7]'],
  [
    'strides of 0',
    image(node('Conv', 'x w', 'y', { strides: [0, 1] })),
    'expected 2 numbers from 1 on as strides, got [0, 1]',
  ],
  [
    'as many strides as axes',
    image(node('Conv', 'x w', 'y', { strides: [1] })),
    'expected 2 numbers from 1 on as strides, got [1]',
  ],
  ['pads beyond reason', image(node('Conv', 'x w', 'y', { pads: [2 ** 30, 0, 0, 0] })), 'expected 4 numbers as pads'],
  [
    'another kernel_shape',
    image(node('Conv', 'x w', 'y', { kernel_shape: [5, 5] })),
    'expected the kernel_shape of the weight, [3, 3], got [5, 5]',
  ],
  [
    'a kernel larger than the image',
    image(node('MaxPool', 'x', 'y', { kernel_shape: [9, 9] })),
    'x expected 9 or more values on axis 2, got 4',
  ],
  [
    'auto_pad of another name',
    image(node('Conv', 'x w', 'y', { auto_pad: 'SOME' })),
    "expected auto_pad among NOTSET, SAME_UPPER, SAME_LOWER, VALID, , got 'SOME'",
  ],
  [
    'a shape that does not hold the values',
    image(node('Reshape', 'x shape', 'y')),
    'expected 32 values, as x has, got shape',
  ],
  [
    'a negative length',
    image(node('Reshape', 'x negative', 'y')),
    'expected lengths of 0 or more, or -1, got [-2, 16]',
  ],
  ['an axis that there is not', image(node('Concat', 'x x', 'y', { axis: 9 })), 'expected an axis of rank 4, got 9'],
  ['axes that there are not', image(node('Unsqueeze', 'x axis', 'y')), 'expected an axis of rank 5, got 7'],
  [
    'perm without each axis',
    image(node('Transpose', 'x', 'y', { perm: [0, 1, 1, 2] })),
    'expected each axis once, got [0, 1, 1, 2]',
  ],
  ['a reflection longer than the axis', image(node('Pad', 'x pads', 'y', { mode: 'reflect' })), 'expected'],
  ['scales below 0', image(node('Resize', 'x - scales', 'y')), 'expected scales above 0, got [1, 1, -2, 2]'],
  ['matrices that do not fit', image(node('MatMul', 'x matrix', 'y')), 'x expected 2 features on axis 3, got 4'],
  [
    'shapes that do not broadcast',
    image(node('Add', 'x bias', 'y')),
    'expected shapes that agree, or lengths of 1, got [1, 2, 4, 4] and [7]',
  ],
  [
    'more of the largest than there are',
    image(node('TopK', 'x k', 'y i')),
    'k expected at most 4 values of axis 3, got 99',
  ],
  [
    'a constant that grows',
    image(node('ConstantOfShape', 'huge', 'a'), node('Add', 'x a', 'y')),
    'expected whole lengths of 0 or more, and at most 268435456 values, got [1048576, 1048576]',
  ],
  [
    'a constant that grows beyond the file',
    image(node('ConstantOfShape', 'large', 'a'), node('ReduceSum', 'a', 's'), node('Add', 'x s', 'y')),
    'values, as the file and its inputs justify',
  ],
  [
    'an expansion beyond its input',
    image(node('Expand', 'zeros large', 'a'), node('ReduceSum', 'a', 's'), node('Add', 'x s', 'y')),
    'values, as the file and its inputs justify',
  ],
  [
    'a range without end',
    image(node('Range', 'zeros far one', 'a'), node('ReduceSum', 'a', 's'), node('Add', 'x s', 'y')),
    'expected whole lengths of 0 or more, and at most 268435456 values',
  ],
  [
    'a range in steps of 0',
    image(node('Range', 'zeros far zeros', 'a'), node('Add', 'x a', 'y')),
    'expected a step other than 0, got 0',
  ],
  ['a branch that there is not', image(node('If', 'one', 'y')), 'expected then_branch, got none'],
  [
    'a recurrence of another shape',
    {
      inputs: { x: [2, 1, 3] },
      outputs: ['y'],
      constants: { w: floats([1, 2, 3]), r: floats([1, 2, 5]) },
      nodes: [node('RNN', 'x w r', 'y', { hidden_size: 2 })],
    },
    'expected R of shape [1, 2, 2], got [1, 2, 5]',
  ],
  [
    'an input of texts',
    { inputs: { x: [1] }, types: { x: 'STRING' }, outputs: ['y'], nodes: [node('Identity', 'x', 'y')] },
    "input 'x' expected a tensor of numbers, got type STRING",
  ],
];

test.each(CASES)('%s', async (_, model, message) => {
  const [, code, got] = (await rejectionOf(loadNetwork(onnxModel(model)))) ?? [];
  expect(got).toContain(message);
  expect(['ERR_FORMAT', 'ERR_OPTION']).toContain(code);
});

test('names of outputs and constants that there are not', async () => {
  const bytes = onnxModel(image(node('Relu', 'x', 'y')));
  const message = async (options: object) => (await rejectionOf(loadNetwork(bytes, options)))?.[2];
  expect(await message({ outputs: ['nobody'] })).toBe(
    "loadNetwork: outputs expected names of values of the graph, got 'nobody'",
  );
  expect(await message({ outputs: [] })).toBe('loadNetwork: outputs expected names of values, got []');
  expect(await message({ outputs: ['y', 'y'] })).toBe("loadNetwork: outputs expected each name once, got ['y', 'y']");
  expect(await message({ constants: { z: 1 } })).toBe("loadNetwork: constants expected names of inputs, got 'z'");
  expect(await message({ constants: { x: { data: [1], shape: [2] } } })).toBe(
    "loadNetwork: constants 'x' expected 1 values, got shape [2]",
  );
});
