// `evenkeel check`, `run`, `bench` and `compile --f16` on networks that are no chains.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32, deflateSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { load } from '../../src/infer/index.ts';
import { loadNetwork, writeNpy } from '../../src/weights/index.ts';
import { EVERY_GROUP, type Plain } from '../support/networks.ts';
import { node, onnxModel } from '../support/onnx-models.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'evenkeel-networks-'));
afterAll(() => rmSync(folder, { recursive: true }));

function evenkeel(...args: string[]) {
  const main = join(root, 'dist/cli/main.js');
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', cwd: folder });
  return { status, stdout, stderr };
}
const json = (...args: string[]) => JSON.parse(evenkeel(...args, '--json').stdout);
const fixture = (name: string) => join(root, `test/fixtures/golden-conv/onnx/onnx_${name}.onnx`);

/** A PNG of 8 bits with one filter of each kind. */
function png(width: number, height: number, pixel: (x: number, y: number, c: number) => number): Uint8Array {
  const part = (kind: string, body: Uint8Array) => {
    const named = Buffer.concat([Buffer.from(kind), body]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(body.length);
    sum.writeUInt32BE(crc32 ? crc32(named) : 0);
    return Buffer.concat([length, named, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const at = (x: number, y: number, c: number) => (x < 0 || y < 0 ? 0 : pixel(x, y, c));
  const paeth = (a: number, b: number, c: number) => {
    const [p, q, r] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
    return p <= q && p <= r ? a : q <= r ? b : c;
  };
  const lines = Array.from({ length: height }, (_, y) => {
    const filter = y % 5;
    const values = Array.from({ length: width * 3 }, (_, i) => {
      const [x, c] = [Math.floor(i / 3), i % 3];
      const [a, b, d] = [at(x - 1, y, c), at(x, y - 1, c), x && y ? at(x - 1, y - 1, c) : 0];
      return pixel(x, y, c) - [0, a, b, (a + b) >> 1, paeth(a, b, d)][filter];
    });
    return [filter, ...values];
  });
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const data = deflateSync(Uint8Array.from(lines.flat()));
  return Buffer.concat([signature, part('IHDR', head), part('IDAT', data), part('IEND', Buffer.alloc(0))]);
}

test('check says what a network is, and names what is missing', async () => {
  const { status, stdout } = evenkeel('check', fixture('resnet_op13_bn_dyn'));
  expect(status).toBe(0);
  expect(stdout).toMatch(/^runs: /);
  expect(stdout).toMatch(/multiply-adds for a batch of one/);
  writeFileSync(
    join(folder, 'strange.onnx'),
    onnxModel({
      inputs: { x: [2] },
      outputs: ['y'],
      nodes: [node('NonZero', 'x', 'a'), node('Cast', 'a', 'y', { to: 1 })],
    }),
  );
  const wrong = evenkeel('check', 'strange.onnx');
  expect(wrong.status).toBe(1);
  expect(wrong.stdout).toBe(
    "does not run: operators that there are not here\n  NonZero: 1 node, the first 'NonZero_a'\n",
  );
  expect(wrong.stderr).toBe('evenkeel: strange.onnx has operators that there are not here: NonZero\n');
});

test('run takes a picture, and says what it assumed', async () => {
  const pixel = (x: number, y: number, c: number) => (37 * x + 11 * y + 80 * c + x * y) & 255;
  const path = fixture('mobilenetv2_op15_bn_folded_dyn');
  const network = await loadNetwork(path);
  const [, channels, height, width] = network.inputs[0].shape as number[];
  expect(channels).toBe(3);
  writeFileSync(join(folder, 'a.png'), png(width, height, pixel));
  writeFileSync(join(folder, 'labels.txt'), Array.from({ length: 100 }, (_, i) => `class ${i}`).join('\n'));
  const found = json(
    'run',
    path,
    '--input',
    'a.png',
    '--mean',
    '0.5,0.4,0.3',
    '--std',
    '0.2',
    '--labels',
    'labels.txt',
    '--top',
    '2',
  );
  const data = Float32Array.from({ length: 3 * height * width }, (_, i) => {
    const [c, place] = [Math.floor(i / (height * width)), i % (height * width)];
    return (pixel(place % width, Math.floor(place / width), c) / 255 - [0.5, 0.4, 0.3][c]) / 0.2;
  });
  const y = network.compile()({ data, shape: [1, 3, height, width] }) as Plain;
  expect(found.outputs[0].shape).toEqual(y.shape);
  found.outputs[0].data.forEach((value: number, i: number) => {
    expect(value).toBeCloseTo(y.data[i], 4);
  });
  expect(found.outputs[0].top).toHaveLength(2);
  expect(found.outputs[0].top[0].label).toBe(`class ${found.outputs[0].top[0].index}`);
  expect(found.assumed).toEqual([`input '${network.inputs[0].name}': layout nchw, from its shape`]);
  writeFileSync(join(folder, 'x.npy'), writeNpy({ data, shape: [1, 3, height, width] } as never));
  const same = json('run', path, '--input', 'x.npy', '--profile');
  expect(same.outputs[0].data[0]).toBeCloseTo(y.data[0], 4);
  expect(same.profile.steps.length).toBeGreaterThan(5);
});

test('wrong options are a wrong command', () => {
  const path = fixture('lenet_op13_bn_dyn');
  for (const [args, message] of [
    [['--top', '0'], "--top takes a whole number of 1 or more, not '0'"],
    [['--input', 'a.txt'], "--input takes random, a picture, .npy or .json, not 'a.txt'"],
    [['--layout', 'both'], "--layout takes nchw or nhwc, not 'both'"],
    [['--mean', 'x', '--input', 'b.png'], undefined],
  ] as const) {
    const { status, stderr } = evenkeel('run', path, ...args);
    expect(status).toBe(message ? 2 : 1);
    if (message) expect(stderr).toBe(`evenkeel: ${message}\n`);
  }
});

test('bench measures, and compile --f16 halves', () => {
  const path = fixture('lenet_op13_bn_dyn');
  const found = json('bench', path);
  expect(found.median).toBeGreaterThan(0);
  expect(found.low).toBeLessThanOrEqual(found.median);
  expect(found.multiplyAdds).toBeGreaterThan(1000);
  evenkeel('compile', path, 'whole.evenkeel');
  evenkeel('compile', path, 'half.evenkeel', '--f16');
  const [whole, half] = ['whole', 'half'].map((name) => readFileSync(join(folder, `${name}.evenkeel`)));
  expect(half.length).toBeLessThan(0.75 * whole.length);
  const run = load(half, { operations: EVERY_GROUP });
  expect(run.inputs[0].shape?.[0]).toBe(null);
});

test('check, run, bench and compile take files of Keras, and name layers that are missing', async () => {
  const weights = (name: string) => join(root, 'test/fixtures/weights', name);
  const path = weights('keras-networks/classifier.keras');
  const net = await loadNetwork(path);
  const checked = json('check', path);
  expect([checked.runs, checked.report.trainable]).toEqual([true, true]);
  const [found] = json('run', path).outputs;
  expect([found.name, found.shape]).toEqual(['classes', [1, 5]]);
  expect(found.data.reduce((sum: number, value: number) => sum + value, 0)).toBeCloseTo(1, 5);
  expect(json('bench', path).median).toBeGreaterThan(0);
  expect(evenkeel('compile', path, 'classifier.evenkeel').status).toBe(0);
  const served = load(readFileSync(join(folder, 'classifier.evenkeel')), { operations: EVERY_GROUP });
  const x = { data: Float32Array.from({ length: 432 }, (_, i) => (i * 37) % 256), shape: [1, 12, 12, 3] };
  expect([...(served(x) as Plain).data]).toEqual([...(net.compile()(x) as Plain).data]);
  const wrong = evenkeel('check', weights('keras-kinds/custom.keras'));
  expect([wrong.status, wrong.stdout]).toEqual([
    1,
    "does not run: layers that there are not here\n  Block: 1 layer, the first 'block'\n",
  ]);
  expect(json('run', weights('tfjs-layers/graphs.json')).outputs).toHaveLength(9);
});
