// Graph models of TF.js that lie: each is refused with a message of its own, before memory is taken.

import { expect, test } from 'vitest';
import { loadNetwork } from '../../src/weights/index.ts';
import { rejectionOf as rejection } from '../support/errors.ts';
import { type GraphText, graphModel, tfFloats, tfInt, tfInts, tfNode, tfShape } from '../support/tfjs-models.ts';

const rejectionOf = async (work: Promise<unknown>) => {
  const [, code, message] = (await rejection(work)) ?? [];
  return { code, message };
};

const conv = { strides: [1, 1, 1, 1], padding: 'SAME', data_format: 'NHWC' };

const image = (...nodes: ReturnType<typeof tfNode>[]): GraphText => ({
  inputs: { x: [1, 4, 4, 2] },
  constants: {
    w: tfFloats([3, 3, 2, 3]),
    odd: tfFloats([3, 3, 5, 3]),
    flat: tfFloats([3, 2]),
    bias: tfFloats([7]),
    three: tfFloats([3]),
    two: tfFloats([2]),
    none: tfFloats([0]),
    huge: tfInts(1048576, 1048576),
    large: tfInts(512, 512, 256),
    negative: tfInts(-2, 16),
    wrong: tfInts(3, -1),
    axis: tfInt(7),
    axes: tfInts(1, 7),
    twice: tfInts(0, 1, 1, 2),
    pads: { shape: [4, 2], dtype: 'int32', data: [0, 0, 5, 0, 0, 0, 0, 0] },
    minus: { shape: [4, 2], dtype: 'int32', data: [0, 0, -1, 0, 0, 0, 0, 0] },
    begin: tfInts(0, 9, 0, 0),
    size: tfInts(1, 2, 1, 1),
    zeros: tfInts(0, 0, 0, 0),
    sizes: tfInts(1, 9, 9, 2),
    part: tfFloats([2, 3], []),
    half: tfFloats([1], [1.5]),
    empty: tfInts(),
  },
  nodes,
});

const CASES: readonly (readonly [string, GraphText, string])[] = [
  [
    'operators that there are not here',
    image(tfNode('NonMaxSuppressionV5', 'x', 'a'), tfNode('Where', 'a', 'b'), tfNode('NonMaxSuppressionV5', 'b', 'y')),
    "TF.js: modelTopology expected operators that there are here, got NonMaxSuppressionV5 (2 nodes, the first 'a'), " +
      "Where (1 node, the first 'b') (outputs: [name of a node] cuts the graph before them)",
  ],
  [
    'a cycle',
    image(tfNode('AddV2', 'x b', 'a'), tfNode('Relu', 'a', 'b'), tfNode('Relu', 'b', 'y')),
    "TF.js: node Relu 'b' expected inputs that do not come of it, got a cycle through 'b' (offset 0)",
  ],
  [
    'an input that no node gives',
    image(tfNode('AddV2', 'x nobody', 'y')),
    "TF.js: node AddV2 'y' expected inputs that are there, got 'nobody', which no node gives (offset 0)",
  ],
  [
    'an output of a node that has one',
    image(tfNode('Relu', 'x:3', 'y')),
    "TF.js: node Relu 'y' expected input 0, got 'x:3', which nobody gives (offset 0)",
  ],
  [
    'one name twice',
    image(tfNode('Relu', 'x', 'y'), tfNode('Relu', 'y', 'y')),
    "TF.js: node Relu 'y' expected a name of its own, got it again (offset 0)",
  ],
  [
    'names with a colon',
    image(tfNode('Relu', 'x', 'y:1')),
    "TF.js: modelTopology.node[24] expected a name without : and ^, got 'y:1' (offset 0)",
  ],
  ['no node at all', { nodes: [] }, 'TF.js: modelTopology expected nodes, got none (offset 0)'],
  [
    'no value that is left',
    { nodes: [tfNode('Relu', 'b', 'a'), tfNode('Relu', 'a', 'b')] },
    'TF.js: modelTopology expected a node whose value no other takes, got none (offset 0)',
  ],
  [
    'attributes of another kind',
    image(tfNode('Conv2D', 'x w', 'y', { ...conv, padding: 3 })),
    `TF.js: node Conv2D 'y' expected a text as padding, got object (offset 0)`,
  ],
  [
    'padding of another name',
    image(tfNode('Conv2D', 'x w', 'y', { ...conv, padding: 'SOME' })),
    "TF.js: node Conv2D 'y' expected padding among SAME, VALID, EXPLICIT, got 'SOME' (offset 0)",
  ],
  [
    'explicit paddings that are not there',
    image(tfNode('Conv2D', 'x w', 'y', { ...conv, padding: 'EXPLICIT' })),
    "TF.js: node Conv2D 'y' expected 8 numbers from 0 on as explicit_paddings, got [] (offset 0)",
  ],
  [
    'strides of 0',
    image(tfNode('Conv2D', 'x w', 'y', { ...conv, strides: [1, 0, 1, 1] })),
    "TF.js: node Conv2D 'y' expected 4 numbers above 0 as strides, 1 for samples and channels, got [1, 0, 1, 1] (offset 0)",
  ],
  [
    'strides over channels',
    image(tfNode('MaxPool', 'x', 'y', { ...conv, ksize: [1, 2, 2, 2] })),
    "TF.js: node MaxPool 'y' expected 4 numbers above 0 as ksize, 1 for samples and channels, got [1, 2, 2, 2] (offset 0)",
  ],
  [
    'channels that differ',
    image(tfNode('Conv2D', 'x odd', 'y', conv)),
    "TF.js: node Conv2D 'y' expected x of 5 channels, as the kernel, got 2 (offset 0)",
  ],
  [
    'a kernel of another rank',
    image(tfNode('Conv2D', 'x flat', 'y', conv)),
    "TF.js: node Conv2D 'y' expected a kernel of rank 4, got rank 2 (offset 0)",
  ],
  [
    'a bias of another length',
    image(tfNode('_FusedConv2D', 'x w bias', 'y', { ...conv, fused_ops: ['BiasAdd'] })),
    "TF.js: node _FusedConv2D 'y' expected a bias of 3 values, got shape [7] (offset 0)",
  ],
  [
    'fused operations that there are not here',
    image(tfNode('_FusedConv2D', 'x w three', 'y', { ...conv, fused_ops: ['BiasAdd', 'Swash'] })),
    "TF.js: node _FusedConv2D 'y' expected fused_ops among BiasAdd, FusedBatchNorm, Relu, Relu6, LeakyRelu, Elu, Prelu, " +
      'Sigmoid, Tanh, Selu, GeluExact, GeluApproximate, got Swash (offset 0)',
  ],
  [
    'fewer inputs than fused operations',
    image(tfNode('_FusedConv2D', 'x w', 'y', { ...conv, fused_ops: ['BiasAdd', 'Relu'] })),
    "TF.js: node _FusedConv2D 'y' expected an input for each of fused_ops BiasAdd, Relu, got 2 (offset 0)",
  ],
  [
    'more inputs than fused operations',
    image(tfNode('_FusedConv2D', 'x w three three', 'y', { ...conv, fused_ops: ['BiasAdd'] })),
    "TF.js: node _FusedConv2D 'y' expected inputs for fused_ops BiasAdd, got 4 of them (offset 0)",
  ],
  [
    'a norm in training mode',
    image(tfNode('FusedBatchNormV3', 'x two two two two', 'y', { is_training: true })),
    "TF.js: node FusedBatchNormV3 'y' expected inference, got is_training true (offset 0)",
  ],
  [
    'a norm without statistics',
    image(tfNode('FusedBatchNormV3', 'x two two none none', 'y')),
    "TF.js: node FusedBatchNormV3 'y' expected inference, got is_training true (offset 0)",
  ],
  [
    'statistics of other channels',
    image(tfNode('FusedBatchNormV3', 'x two two two three', 'y', { is_training: false, epsilon: 0.5 })),
    "TF.js: node FusedBatchNormV3 'y' expected 2 values as variance, got 3 (offset 0)",
  ],
  [
    'a window larger than the image',
    image(tfNode('MaxPool', 'x', 'y', { ...conv, padding: 'VALID', ksize: [1, 9, 9, 1] })),
    "TF.js: node MaxPool 'y' expected what the operator takes, got MaxPool2d([9, 9]): x expected 9 or more values on axis 1, got 4",
  ],
  [
    'a shape that does not hold the values',
    image(tfNode('Reshape', 'x wrong', 'y')),
    "TF.js: node Reshape 'y' expected what the operator takes, got",
  ],
  [
    'a negative length',
    image(tfNode('Reshape', 'x negative', 'y')),
    "TF.js: node Reshape 'y' expected lengths of 0 or more, or -1, got [-2, 16] (offset 0)",
  ],
  [
    'an axis that there is not',
    image(tfNode('ConcatV2', 'x x axis', 'y')),
    "TF.js: node ConcatV2 'y' expected an axis of rank 4, got 7 (offset 0)",
  ],
  [
    'axes that there are not',
    image(tfNode('Mean', 'x axes', 'y')),
    "TF.js: node Mean 'y' expected an axis of rank 4, got 7 (offset 0)",
  ],
  [
    'an axis that comes at run time',
    image(tfNode('ConcatV2', 'x x x', 'y')),
    "TF.js: node ConcatV2 'y' expected a constant as axis (input 2), got 'x', which is worked out (offset 0)",
  ],
  [
    'perm without each axis',
    image(tfNode('Transpose', 'x twice', 'y')),
    "TF.js: node Transpose 'y' expected each axis once, got [0, 1, 1, 2] (offset 0)",
  ],
  [
    'numbers that are not whole',
    image(tfNode('Mean', 'x half', 'y')),
    "TF.js: node Mean 'y' expected whole numbers as axes (input 1), got shape [1] (offset 0)",
  ],
  [
    'a reflection longer than the axis',
    image(tfNode('MirrorPad', 'x pads', 'y', { mode: 'REFLECT' })),
    "TF.js: node MirrorPad 'y' expected what the operator takes, got",
  ],
  [
    'places below 0',
    image(tfNode('Pad', 'x minus', 'y')),
    "TF.js: node Pad 'y' expected whole numbers from 0 on (input 1), got -1 (offset 0)",
  ],
  [
    'pads of another shape',
    image(tfNode('Pad', 'x axes', 'y')),
    "TF.js: node Pad 'y' expected 4 pairs of numbers (input 1), got shape [2] (offset 0)",
  ],
  [
    'a slice outside of the axis',
    image(tfNode('Slice', 'x begin size', 'y')),
    "TF.js: node Slice 'y' expected places of axis 1, got 9 and 2 of 4 (offset 0)",
  ],
  [
    'a place outside of the axis',
    image(tfNode('StridedSlice', 'x begin begin size', 'y', { shrink_axis_mask: 2 })),
    "TF.js: node StridedSlice 'y' expected a place of axis 1, of length 4, got 9 (offset 0)",
  ],
  [
    'strides of slices that are 0',
    image(tfNode('StridedSlice', 'x zeros size zeros', 'y')),
    "TF.js: node StridedSlice 'y' expected strides other than 0, got others (offset 0)",
  ],
  [
    'two ellipses',
    image(tfNode('StridedSlice', 'x zeros size size', 'y', { ellipsis_mask: 3 })),
    "TF.js: node StridedSlice 'y' expected one bit of ellipsis_mask, got more (offset 0)",
  ],
  [
    'parts that do not fit',
    image(tfNode('Split', 'axis x', 'y', { num_split: 3 })),
    "TF.js: node Split 'y' expected an axis of rank 4, got 7 (offset 0)",
  ],
  [
    'thousands of parts',
    image(tfNode('Unpack', 'x', 'y', { num: 2 ** 30, axis: 1 })),
    "TF.js: node Unpack 'y' expected a whole number from 1 to 65536 as num, got 1073741824 (offset 0)",
  ],
  [
    'as many values as it says',
    image(tfNode('Unpack', 'x', 'y', { num: 3, axis: 1 })),
    "TF.js: node Unpack 'y' expected 3 values along axis 1, got 4 (offset 0)",
  ],
  [
    'blocks that do not divide',
    image(tfNode('DepthToSpace', 'x', 'y', { block_size: 2 })),
    "TF.js: node DepthToSpace 'y' expected a number of channels that 4 divides, got 2 (offset 0)",
  ],
  [
    'blocks of channels first',
    image(tfNode('DepthToSpace', 'x', 'y', { block_size: 2, data_format: 'NCHW' })),
    "TF.js: node DepthToSpace 'y' expected data_format 'NHWC', got 'NCHW' (offset 0)",
  ],
  [
    'an output of a transposed convolution that no input has',
    image(tfNode('Conv2DBackpropInput', 'sizes w x', 'y', { ...conv, strides: [1, 2, 2, 1] })),
    "TF.js: node Conv2DBackpropInput 'y' expected x of 3 channels, as the kernel, got 2 (offset 0)",
  ],
  [
    'corners and halves at once',
    image(tfNode('ResizeBilinear', 'x wrong', 'y', { align_corners: true, half_pixel_centers: true })),
    "TF.js: node ResizeBilinear 'y' expected align_corners or half_pixel_centers, got both (offset 0)",
  ],
  [
    'sizes below 0',
    image(tfNode('ResizeBilinear', 'x wrong', 'y')),
    "TF.js: node ResizeBilinear 'y' expected two lengths above 0 as size, got [3, -1] (offset 0)",
  ],
  [
    'shapes that do not broadcast',
    image(tfNode('AddV2', 'x bias', 'y')),
    'expected shapes that agree, or lengths of 1, got [1, 4, 4, 2] and [7]',
  ],
  [
    'matrices that do not fit',
    image(tfNode('MatMul', 'flat flat', 'y')),
    "TF.js: node MatMul 'y' expected what the operator takes, got",
  ],
  [
    'a constant that grows',
    image(tfNode('Fill', 'huge half_0', 'a'), tfNode('AddV2', 'x a', 'y'), tfNode('Reshape', 'half empty', 'half_0')),
    'loadNetwork: a expected at most 16777216 values, as the file and its inputs justify, got shape [1048576, 1048576]',
  ],
  [
    'an input of a type that is no number',
    { nodes: [{ ...tfNode('Placeholder', '', 'x', { dtype: 'DT_STRING' }) }, tfNode('Relu', 'x', 'y')] },
    "TF.js: node Placeholder 'x' expected numbers as input, got type STRING (offset 0)",
  ],
  [
    'a shape that nobody knows',
    { nodes: [tfNode('Placeholder', '', 'x', { dtype: 'DT_FLOAT' }), tfNode('Relu', 'x', 'y')] },
    "TF.js: node Placeholder 'x' expected a shape, in the node or in the signature, got none (offset 0)",
  ],
  [
    'a shape of negative lengths',
    {
      nodes: [
        tfNode('Placeholder', '', 'x', { shape: { shape: { dim: [{ size: '-3' }] } } }),
        tfNode('Relu', 'x', 'y'),
      ],
    },
    "TF.js: node Placeholder 'x' expected a shape as shape, got",
  ],
  [
    'a constant without a value',
    { inputs: { x: [1] }, nodes: [tfNode('Const', '', 'c', { dtype: 'DT_FLOAT' }), tfNode('AddV2', 'x c', 'y')] },
    "TF.js: node Const 'c' expected a value among the weights, got none (offset 0)",
  ],
  [
    'a signature of nodes that there are not',
    { ...image(tfNode('Relu', 'x', 'y')), signature: { outputs: { z: { name: 'nowhere:0' } } } },
    "TF.js: signature.outputs 'z' expected a node of the graph, got 'nowhere' (offset 0)",
  ],
  [
    'a signature of inputs that there are not',
    {
      ...image(tfNode('Relu', 'x', 'y')),
      signature: { inputs: { z: { name: 'nowhere:0', tensorShape: tfShape([1]) } } },
    },
    "TF.js: signature.inputs 'z' expected a node of the graph, got 'nowhere' (offset 0)",
  ],
];

test.each(CASES)('%s', async (_, model, message) => {
  const files = graphModel(model);
  const error = await rejectionOf(loadNetwork(files));
  expect(error.message).toContain(message);
  expect(error.code).toMatch(/^ERR_/);
});

test('outputs that the graph does not have are named', async () => {
  const files = graphModel(image(tfNode('Relu', 'x', 'y')));
  const error = await rejectionOf(loadNetwork(files, { outputs: ['z'] }));
  expect(error.message).toBe("loadNetwork: outputs expected names of values of the graph, got 'z'");
});

test('weights that are shorter than they say are refused before a node is read', async () => {
  const files = graphModel(image(tfNode('Relu', 'x', 'y')));
  const error = await rejectionOf(loadNetwork({ ...files, 'weights.bin': files['weights.bin'].slice(0, 40) }));
  expect(error.message).toBe("TF.js: weight 'w' expected 216 bytes, got 40 (offset 0)");
});

test('a graph of many nodes is read in its time, and one of too many is refused', async () => {
  const nodes = Array.from({ length: 20_000 }, (_, i) => tfNode('Relu', i === 0 ? 'x' : `n${i - 1}`, `n${i}`));
  const files = graphModel({ inputs: { x: [1, 2] }, nodes });
  const network = await loadNetwork(files, { outputs: ['n9'] });
  expect(network.report.unused).toEqual(['19990 nodes that no output needs']);
  const many = Array.from({ length: 2 ** 17 + 1 }, (_, i) => ({ name: `n${i}`, op: 'NoOp', input: [], attr: {} }));
  const error = await rejectionOf(loadNetwork(graphModel({ nodes: many })));
  expect(error.message).toBe('TF.js: modelTopology expected at most 131072 nodes, got 131073 (offset 0)');
});
