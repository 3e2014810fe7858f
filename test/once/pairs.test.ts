// Folding by names: what is folded, what is kept and why, and what that assumes.

import { describe, expect, test } from 'vitest';
import {
  foldSafetensors,
  readSafetensors,
  safetensorsShards,
  type Writable,
  writeSafetensors,
} from '../../src/weights/index.ts';
import { convolve } from '../support/convolve.ts';
import { answers, fixture, relative } from '../support/weights.ts';

const of = (shape: readonly number[], ...data: number[]) => ({ data: Float32Array.from(data), shape });
const vector = (...data: number[]) => of([data.length], ...data);
const conv = (...shape: number[]) =>
  of(shape, ...Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => (i % 7) + 1));
const norm = (name: string, channels: number, scale = 'weight', shift = 'bias') => {
  const fill = (base: number) => vector(...Array.from({ length: channels }, (_, c) => base + c / 4));
  return {
    [`${name}.${scale}`]: fill(2),
    [`${name}.${shift}`]: fill(-0.5),
    [`${name}.running_mean`]: fill(1),
    [`${name}.running_var`]: fill(4),
  };
};
const fold = (tensors: Record<string, Writable>, options?: Parameters<typeof foldSafetensors>[1]) => {
  const result = foldSafetensors(writeSafetensors(tensors), options);
  return {
    ...result,
    tensors: readSafetensors(result.file).tensors,
    pairs: Object.fromEntries(result.folded.map(({ norm, into }) => [norm, into])),
    reasons: Object.fromEntries(result.kept.map(({ norm, reason }) => [norm, reason])),
  };
};
/** As the safetensors package writes them: sorted. */
const sorted = (tensors: Record<string, Writable>) =>
  Object.fromEntries(Object.entries(tensors).sort(([a], [b]) => (a < b ? -1 : 1)));

describe('norms', () => {
  const exact = {
    'conv1.weight': of([2, 2, 1, 1], 1, 2, 3, 4),
    'bn1.running_mean': vector(1, 1),
    'bn1.running_var': vector(4, 4),
  };

  test.each([
    ['gamma', 'beta'],
    ['weight', 'bias'],
  ])('with %s and %s are folded with them', (scale, shift) => {
    const affine = { [`bn1.${scale}`]: vector(2, 3), [`bn1.${shift}`]: vector(0.5, -0.5) };
    const { tensors, assumed } = fold({ ...exact, ...affine }, { eps: 0 });
    expect([...tensors.keys()]).toEqual(['conv1.weight', 'conv1.bias']);
    expect([...tensors.get('conv1.weight')!.data]).toEqual([1, 2, 4.5, 6]);
    expect([...tensors.get('conv1.bias')!.data]).toEqual([-0.5, -2]);
    expect(assumed).toEqual([
      'bn1: it follows conv1, by their names: the file has no graph',
      'bn1: conv1 is not transposed, with as many channels in as out',
    ]);
  });

  test('with a tensor that nobody knows are kept, and so is all of theirs', () => {
    const odd = { ...exact, 'bn1.scale': vector(2, 3), 'bn1.offset': vector(0.5, -0.5) };
    const { reasons, file } = fold(odd);
    expect(reasons).toEqual({ bn1: "nobody knows what 'bn1.scale' does" });
    expect(file).toEqual(writeSafetensors(odd));
    expect(fold({ ...exact, 'bn1.weight': vector(1, 1), 'bn1.gamma': vector(2, 2) }).reasons.bn1).toBe(
      "it has both 'weight' and 'gamma'",
    );
    expect(fold({ ...exact, 'conv1.weight_scale': vector(2) }).reasons.bn1).toBe(
      "nobody knows what 'conv1.weight_scale' does",
    );
    expect(() => fold(odd, { pairs: { bn1: 'conv1' } })).toThrow(
      "foldSafetensors: 'bn1' expected a layer to fold into, got nobody knows what 'bn1.scale' does",
    );
    const { 'bn1.running_mean': _, ...meanless } = exact;
    expect(fold(meanless).reasons.bn1).toBe("foldSafetensors: 'bn1' expected a running_mean, got none");
    const { 'bn1.running_var': __, ...varless } = exact;
    expect(fold(varless).reasons.bn1).toBe("foldSafetensors: 'bn1' expected a running_var, got none");
  });

  test('behind quantised weights are kept, and the others folded', () => {
    const tensors = {
      'fc1.weight': { data: [1, -2, 3, 4], shape: [2, 2], dtype: 'I8' },
      ...norm('bn1', 2),
      'fc2.weight': { bytes: new Uint8Array(4), shape: [2, 2], dtype: 'F8_E4M3' },
      ...norm('bn2', 2),
      'fc3.weight': conv(3, 2),
      ...norm('bn3', 3),
    };
    const { reasons, pairs, tensors: out } = fold(tensors);
    expect(pairs).toEqual({ bn3: 'fc3' });
    expect(reasons).toEqual({
      bn1: "'fc1.weight' is I8: only floats can be folded into",
      bn2: "'fc2.weight' is F8_E4M3: only floats can be folded into",
    });
    expect([...out.get('fc1.weight')!.bytes]).toEqual([1, 254, 3, 4]);
    expect(out.get('fc2.weight')!.bytes).toEqual(new Uint8Array(4));
  });

  test('with a variance below 0 are named', () => {
    expect(() => fold({ ...exact, 'bn1.running_var': vector(-1, 4) })).toThrow(
      "fromTorch: 'bn1.running_var' expected finite variances of 0 or more, got -1 at 0",
    );
  });
});

describe('names leave the order open', () => {
  test('a pre-activation block, as PyTorch wrote it, is left as it is', () => {
    const file = fixture('torch/preactivation.safetensors');
    const { kept, folded, file: out } = foldSafetensors(file);
    expect(folded).toEqual([]);
    expect(kept).toEqual([
      { norm: 'bn1', reason: "'conv1' gives 6 channels, not 4" },
      {
        norm: 'bn2',
        reason:
          "names leave open what it follows, as 'conv1' gives 6 channels and 'bn1' takes 4: pair it with its layer",
      },
    ]);
    expect(out).toEqual(file);
    const paired = foldSafetensors(file, { pairs: { bn1: 'stem' } });
    expect(paired.folded.map(({ norm: name, into, assumed }) => [name, into, assumed])).toEqual([
      ['bn1', 'stem', ['eps']],
    ]);
    const square = {
      'stem.weight': conv(2, 3),
      'fc1.weight': conv(2, 2),
      ...norm('bn1', 2),
      'fc2.weight': conv(2, 2),
      ...norm('bn2', 2),
    };
    expect(fold(square, { pairs: { bn1: 'stem' } }).reasons).toEqual({
      bn2: "names leave open what it follows, as 'bn1' follows 'stem' and not 'fc1': pair it with its layer",
    });
    expect(fold(square, { pairs: { bn1: 'fc2' } }).reasons).toEqual({
      bn2: "'fc2' is 'bn1''s layer as well: pair it with one",
    });
  });

  test('in the order of a file: a norm before its layer, an activation between them', () => {
    const pre = {
      ...norm('bn1', 2),
      'conv1.weight': conv(2, 2, 1, 1),
      ...norm('bn2', 3),
      'conv2.weight': conv(3, 3, 1, 1),
    };
    const open = (why: string) => `names leave open what it follows, as the file has ${why}: pair it with its layer`;
    expect(fold(pre).reasons).toEqual({ bn1: open("'bn1' before 'conv1'"), bn2: open("'bn1' before 'conv1'") });
    // names that are sorted say nothing of an order
    expect(fold(sorted(pre)).pairs).toEqual({ bn1: 'conv1', bn2: 'conv2' });
    const between = { 'conv1.weight': conv(2, 3, 1, 1), 'act1.weight': vector(0.1, 0.2), ...norm('bn1', 2) };
    expect(fold(between).reasons).toEqual({ bn1: open("'act1' between 'conv1' and 'bn1'") });
    const behind = { 'conv1.weight': conv(2, 3, 1, 1), ...norm('bn1', 2), 'act1.weight': vector(0.1, 0.2) };
    expect(fold(behind).pairs).toEqual({ bn1: 'conv1' });
    expect(fold(between, { pairs: { bn1: 'conv1' } }).pairs).toEqual({ bn1: 'conv1' });
  });

  test('a first convolution without a norm and a last norm without a layer, as where norms come first', () => {
    const blocks = Object.assign(
      {},
      ...[0, 1].flatMap((i) => [
        { [`b.${i}.conv1.weight`]: conv(3, 3, 1, 1), [`b.${i}.conv2.weight`]: conv(3, 3, 1, 1) },
        norm(`b.${i}.bn1`, 3),
        norm(`b.${i}.bn2`, 3),
      ]),
    ) as Record<string, Writable>;
    const ends = { 'conv.weight': conv(3, 2, 1, 1), ...norm('bn_final', 3), 'fc.weight': conv(5, 3) };
    const { pairs, reasons, file } = fold(sorted({ ...blocks, ...ends }));
    expect(pairs).toEqual({});
    expect(reasons['b.1.bn2']).toBe(
      "names leave open what it follows, as 'bn_final' has no layer of its name and 'conv' no norm, as where norms come first: pair it with its layer",
    );
    expect(file).toEqual(writeSafetensors(sorted({ ...blocks, ...ends })));
    // one of the two alone: a norm of inputs, a convolution at the end
    const { 'conv.weight': first, ...norms } = ends;
    expect(Object.keys(fold(sorted({ ...blocks, ...norms })).pairs).length).toBe(4);
    expect(Object.keys(fold(sorted({ ...blocks, 'conv.weight': first })).pairs).length).toBe(4);
    // a layer of another width fits the norm behind it alone
    const wider = { 'b.2.conv1.weight': conv(4, 3, 1, 1), ...norm('b.2.bn1', 4) };
    expect(Object.keys(fold(sorted({ ...blocks, ...ends, ...wider })).pairs).length).toBe(5);
    // whoever says the last norm's layer knows the order
    const told = fold(sorted({ ...blocks, ...ends }), { pairs: { bn_final: 'conv' } });
    expect(Object.keys(told.pairs).length).toBe(5);
    const other = fold(sorted({ ...blocks, ...ends }), { pairs: { bn_final: 'b.1.conv2' } });
    expect(other.pairs).toEqual({ bn_final: 'b.1.conv2' });
  });

  test('running means none of which is below 0, as behind a ReLU', () => {
    const net = (mean: (c: number) => number) =>
      sorted({
        'conv1.weight': conv(16, 3, 1, 1),
        ...norm('bn1', 16),
        'bn1.running_mean': vector(...Array.from({ length: 16 }, (_, c) => mean(c))),
      });
    const reason =
      'names leave open what it follows, as no running mean is below 0, as behind a ReLU: pair it with its layer';
    expect(fold(net((c) => 0.1 + c / 7)).reasons).toEqual({ bn1: reason });
    expect(
      fold(
        net((c) => 0.1 + c / 7),
        { pairs: { bn1: 'conv1' } },
      ).pairs,
    ).toEqual({ bn1: 'conv1' });
    for (const mean of [(c: number) => (c === 9 ? -1e-3 : c), (c: number) => c, () => 0, () => 1])
      expect(fold(net(mean)).pairs).toEqual({ bn1: 'conv1' });
  });

  test('two norms of one layer', () => {
    const two = { 'conv1.weight': conv(2, 3, 1, 1), ...norm('bn1', 2), ...norm('norm1', 2) };
    expect(fold(two).reasons).toEqual({
      bn1: "'conv1' is 'norm1''s layer as well: pair it with one",
      norm1: "'conv1' is 'bn1''s layer as well: pair it with one",
    });
    expect(() => fold(two, { pairs: { bn1: 'conv1', norm1: 'conv1' } })).toThrow(
      "foldSafetensors: 'norm1' expected a layer of its own, got 'conv1', as 'bn1'",
    );
  });

  test('two layers of one norm: the channels may tell', () => {
    const net = { 'conv1.weight': conv(2, 3, 1, 1), ...norm('bn1', 2), 'fc1.weight': conv(5, 8) };
    expect(fold(net).pairs).toEqual({ bn1: 'conv1' });
    expect(fold({ ...net, 'fc1.weight': conv(2, 8) }).reasons).toEqual({
      bn1: "it may follow 'conv1' or 'fc1': pair it with one",
    });
  });
});

describe('a Sequential', () => {
  test('proves by its indexes what follows what', () => {
    const tensors = {
      'net.0.weight': conv(4, 3),
      ...norm('net.1', 4),
      'net.2.weight': conv(4, 4),
      'net.3.weight': vector(0.25),
      ...norm('net.4', 4),
    };
    const { pairs, reasons, assumed } = fold(tensors, { eps: 1e-3 });
    expect([pairs, assumed]).toEqual([{ 'net.1': 'net.0' }, []]);
    expect(reasons).toEqual({ 'net.4': 'no layer of a name that it follows: pair it with one' });
  });

  test('with a layer that looks transposed: no other of as many channels in as out is taken for one that is not', () => {
    const tensors = {
      '0.weight': conv(8, 4, 2, 2),
      ...norm('1', 4),
      '2.weight': conv(4, 4, 2, 2),
      ...norm('3', 4),
    };
    const { reasons, pairs } = fold(tensors);
    expect([pairs, reasons]).toEqual([
      {},
      {
        1: "'0' gives 8 channels, not 4",
        3: "'2' may be transposed, as the layer before '1' looks so: name it as transposed, or pair it",
      },
    ]);
    expect(fold(tensors, { transposed: ['0', '2'] }).pairs).toEqual({ 1: '0', 3: '2' });
  });

  test('of Burn, which has inputs first: as many out as in say nothing', () => {
    const square = { '0.weight': conv(4, 4), ...norm('1', 4, 'gamma', 'beta') };
    expect(fold(square).reasons).toEqual({
      1: "'0' has as many outputs as inputs, and Burn, which says gamma and beta, has the inputs first: pair it with its layer",
    });
    expect(fold({ '0.weight': conv(4, 3), ...norm('1', 4, 'gamma', 'beta') }).pairs).toEqual({ 1: '0' });
  });
});

test('a residual block, as PyTorch wrote it, gives PyTorch’s outputs', () => {
  const { file, folded, kept } = foldSafetensors(fixture('torch/residual.safetensors'));
  expect([folded.length, kept]).toEqual([3, []]);
  const { tensors } = readSafetensors(file);
  const layer = (name: string, padding: number) => ({
    weight: Float64Array.from(tensors.get(`${name}.weight`)!.data),
    bias: Float64Array.from(tensors.get(`${name}.bias`)!.data),
    shape: [...tensors.get(`${name}.weight`)!.shape],
    padding,
  });
  const { x, y } = answers('torch/residual.json');
  const input = { data: Float64Array.from(x as number[]), shape: [2, 2, 5, 5] };
  const relu = (data: Float64Array) => data.map((value) => Math.max(value, 0));
  const first = convolve(input, layer('conv1', 1));
  const second = convolve({ ...first, data: relu(first.data) }, layer('conv2', 1));
  const beside = convolve(input, layer('downsample.0', 0)).data;
  expect(relative(relu(second.data.map((value, i) => value + beside[i])), y)).toBeLessThan(1e-6);
});

test('wrappers inside of names stay in them', () => {
  const wrapped = { 'conv1._orig_mod.weight': conv(2, 3, 1, 1), ...norm('bn1._orig_mod', 2) };
  const { tensors, pairs } = fold(wrapped, { eps: { 'bn1._orig_mod': 1e-3 } });
  expect(pairs).toEqual({ 'bn1._orig_mod': 'conv1._orig_mod' });
  expect([...tensors.keys()]).toEqual(['conv1._orig_mod.weight', 'conv1._orig_mod.bias']);
  expect(fold(wrapped, { pairs: { bn1: 'conv1' } }).pairs).toEqual(pairs);
});

test('metadata say nothing of norms that are gone', () => {
  const norms = { bn1: { eps: 1e-3 }, bn2: { eps: 1e-4 } };
  const file = writeSafetensors(
    { 'fc1.weight': conv(2, 3), ...norm('bn1', 2), ...norm('bn2', 2) },
    { format: 'pt', 'evenkeel.norms': JSON.stringify(norms) },
  );
  const { file: out, folded } = foldSafetensors(file);
  expect(folded[0].eps).toBe(1e-3);
  expect(readSafetensors(out).metadata).toEqual({ format: 'pt', 'evenkeel.norms': '{"bn2":{"eps":0.0001}}' });
});

describe('shards', () => {
  const whole = { 'fc1.weight': conv(2, 3), ...norm('bn1', 2) };
  const parts = {
    'model-00001-of-00002.safetensors': { 'fc1.weight': whole['fc1.weight'] },
    'model-00002-of-00002.safetensors': norm('bn1', 2),
  };
  const files = Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, writeSafetensors(part)]));
  const map = Object.fromEntries(
    Object.entries(parts).flatMap(([file, part]) => Object.keys(part).map((name) => [name, file])),
  );
  const index = (weight_map: object) => new TextEncoder().encode(JSON.stringify({ metadata: {}, weight_map }));

  test('are read by their index as one file, and folded', () => {
    expect(safetensorsShards(index(map))).toEqual(Object.keys(parts));
    const { tensors } = readSafetensors(index(map), { files });
    expect([...tensors.keys()]).toEqual(Object.keys(whole));
    const { file } = foldSafetensors(index(map), { files: new Map(Object.entries(files)) });
    expect(file).toEqual(foldSafetensors(writeSafetensors(whole)).file);
  });

  test.each([
    [
      'without files',
      index(map),
      {},
      "safetensors: index expected the file 'model-00001-of-00002.safetensors' in files, got none (offset 0)",
    ],
    [
      'with a tensor that no shard has',
      index({ ...map, lost: 'model-00001-of-00002.safetensors' }),
      files,
      "safetensors: tensor 'lost' expected a place in 'model-00001-of-00002.safetensors', got none (offset 0)",
    ],
    [
      'with a tensor that two shards have',
      index({ ...map, other: 'b' }),
      { ...files, b: files['model-00001-of-00002.safetensors'] },
      "safetensors: tensor 'fc1.weight' expected one shard, got model-00001-of-00002.safetensors and b (offset 0)",
    ],
    [
      'with an index as shard',
      index({ a: 'b' }),
      { b: index(map) },
      "safetensors: shard 'b' expected a safetensors file, got an index of safetensors shards (offset 0)",
    ],
    ['without a map', index([]), {}, 'safetensors: index expected a weight_map of files by tensor, got [] (offset 0)'],
  ])('%s', (_, file, given, message) => {
    expect(() => readSafetensors(file, { files: given })).toThrow(message);
  });
});

test('metadata may be null', () => {
  const file = writeSafetensors({ a: vector(1) }, { k: 'v' });
  const text = new TextDecoder('latin1').decode(file).replace('{"k":"v"}', 'null     ');
  const { metadata, tensors } = readSafetensors(Uint8Array.from(text, (c) => c.charCodeAt(0)));
  expect([{ ...metadata }, tensors.size]).toEqual([{}, 1]);
});

test('16,000 norms take a moment', () => {
  const tensors: Record<string, Writable> = {};
  for (let i = 0; i < 16_000; i++) {
    const { [`b${i}.bn.weight`]: _, [`b${i}.bn.bias`]: __, ...statistics } = norm(`b${i}.bn`, 2);
    Object.assign(tensors, { [`b${i}.conv.weight`]: conv(2, 1, 1, 1) }, statistics);
  }
  const file = writeSafetensors(tensors);
  const before = process.cpuUsage().user;
  expect(foldSafetensors(file).folded.length).toBe(16_000);
  // 91 s where every norm walked through the whole file
  expect((process.cpuUsage().user - before) / 1e6).toBeLessThan(15);
});
