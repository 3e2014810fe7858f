// The command line on Keras' and TF.js' files: everything is named, and a file that the HDF5
// library does not get out of has a deadline.

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type Hdf5Group, readHdf5 } from '../../src/formats/hdf5.ts';
import { loadSequential, readKeras, readSafetensors } from '../../src/weights/index.ts';
import { answers, fixture, fixturePath, relative } from '../support/weights.ts';

const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);
const bytesOf = (name: string) => Uint8Array.from(readFileSync(at(name)));

function evenkeel(args: string[], env: Record<string, string> = {}) {
  const options = { cwd: folder, encoding: 'utf8', env: { ...process.env, ...env } } as const;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(process.cwd(), 'dist/cli/main.js'), ...args],
    options,
  );
  return { status, stdout, stderr };
}

/** Every dataset of a file by its path. */
const datasetsOf = (bytes: Uint8Array) =>
  readHdf5('test', bytes, (root) => {
    const found: Record<string, readonly number[]> = {};
    const walk = ({ groups, datasets }: Hdf5Group, path: string) => {
      for (const [key, { data }] of datasets) found[`${path}${key}`] = Array.from(data);
      for (const [key, group] of groups) walk(group, `${path}${key}/`);
    };
    walk(root, '');
    return found;
  });

describe('inspect', () => {
  test('a model that is a class of its own: eps is assumed', () => {
    const { stdout } = evenkeel(['inspect', fixturePath('keras-kinds/own.weights.h5')]);
    expect(stdout).toContain('own.weights.h5: Keras, keras names, 8 tensors, 95 values\n');
    expect(stdout).toContain(
      '  bn1: batch norm, 3 channels, eps 0.001 (assumed), momentum 0.01 (assumed), biased variance (assumed), channels-last (assumed)\n',
    );
  });

  test.each(['kinds.keras', 'kinds.weights.h5'])('%s: norms of other kinds, and what is not known', (name) => {
    const { stdout } = evenkeel(['inspect', fixturePath(`keras-kinds/${name}`)]);
    for (const line of [
      '4 normalization layers',
      '  GroupNormalization gn',
      '  LayerNormalization ln',
      '  RMSNormalization rms',
    ])
      expect(stdout).toContain(`${line}\n`);
    for (const leaf of ['kernel', 'recurrent_kernel', 'bias'])
      expect(stdout).toContain(`  ! not known what it is: lstm/cell/${leaf}\n`);
  });

  test('archives of Keras 2.13 on Windows', () => {
    const { stdout } = evenkeel(['inspect', fixturePath('tfkeras/mlp-2.14-windows.keras')]);
    expect(stdout).toContain('14 tensors');
    expect(stdout).toContain('  X: batch norm, 4 channels, eps 0.05, momentum 0.1, biased variance, channels-first\n');
  });

  test('a graph model, a manifest alone', () => {
    const graph = evenkeel(['inspect', fixturePath('tfjs-networks/graph.json')]).stdout;
    expect(graph).toContain('  one: batch norm, 3 channels, eps 0.05, momentum 0.01 (assumed)');
    expect(graph).toContain('  three: batch norm, 3 channels, eps 0.001 (assumed)');
    const { status, stdout } = evenkeel(['inspect', fixturePath('tfjs-networks/manifest.json')]);
    expect(status).toBe(0);
    expect(stdout).toContain('  ! not known what it is: vocabulary\n');
  });
});

describe('layers that a model calls with training=True', () => {
  const keras = (name: string) => fixturePath(`keras-kinds/training-${name}`);

  test.each([
    ['norm.keras', 'bn'],
    ['norm.h5', 'bn'],
    ['network.keras', 'inner.inner_bn'],
  ])('%s: the norm is marked', (name, norm) => {
    const { stdout, status } = evenkeel(['inspect', keras(name)]);
    expect(stdout).toMatch(
      new RegExp(`  ${norm}: batch norm, .*\n    ! in training mode: it takes the statistics of each`),
    );
    expect(stdout).toContain('\n1 finding\n');
    expect(status).toBe(0);
    const { training, norms } = JSON.parse(evenkeel(['inspect', keras(name), '--json']).stdout);
    expect(training).toEqual([norm]);
    expect(norms[0].findings.length).toBe(1);
  });

  test('dropout is named', () => {
    expect(evenkeel(['inspect', keras('dropout.keras')]).stdout).toContain('  ! in training mode: drop\n1 finding\n');
    expect(evenkeel(['inspect', keras('none.keras')]).stdout).toContain('statistics look sound');
  });

  test('convert says so, and fold leaves the norm alone', () => {
    const { stdout } = evenkeel(['convert', keras('network.keras'), 'training.safetensors']);
    expect(stdout).toContain('in training mode, which weights alone do not say: inner.inner_bn\n');
    expect(evenkeel(['inspect', 'training.safetensors']).stdout).toContain('! in training mode');
    const folded = evenkeel(['fold', 'training.safetensors', 'folded.safetensors']);
    expect(folded.stdout).toContain('inner.inner_bn stays: it is in training mode\n');
    expect(bytesOf('folded.safetensors')).toEqual(bytesOf('training.safetensors'));
    const { status, stderr } = evenkeel(['convert', keras('norm.keras'), 'training.onnx']);
    expect([status, stderr]).toEqual([1, expect.stringContaining('expected inference, got training=True')]);
  });
});

describe('convert', () => {
  test('a Keras file as Keras writes it: kinds, and what nobody knows, stay', async () => {
    const { stdout } = evenkeel(['convert', fixturePath('keras-kinds/kinds.keras'), 'kinds.weights.h5']);
    expect(stdout).toContain('carried over as it is, as nobody knows it: lstm/cell/recurrent_kernel\n');
    expect(await datasetsOf(bytesOf('kinds.weights.h5'))).toEqual(
      await datasetsOf(fixture('keras-kinds/kinds.weights.h5')),
    );
  });

  test('what an optimizer keeps, in its own type', async () => {
    expect(evenkeel(['convert', fixturePath('keras-kinds/compiled.keras'), 'compiled.weights.h5']).status).toBe(0);
    const { tensors } = await readKeras(bytesOf('compiled.weights.h5'));
    const original = (await readKeras(fixture('keras-kinds/compiled.keras'))).tensors;
    for (const [name, { dtype, data }] of original)
      expect([name, tensors.get(name)?.dtype, tensors.get(name)?.data]).toEqual([name, dtype, data]);
  });

  test('texts are left out, and said to be', () => {
    const { status, stdout } = evenkeel([
      'convert',
      fixturePath('tfjs-networks/manifest.json'),
      'manifest.safetensors',
    ]);
    expect(status).toBe(0);
    expect(stdout).toContain('left out, as these are texts: vocabulary\n');
    // with two counters
    expect(readSafetensors(bytesOf('manifest.safetensors')).tensors.size).toBe(16);
  });

  test('a layers model of TF.js becomes an ONNX network', async () => {
    expect(evenkeel(['convert', fixturePath('tfjs-networks/functional.json'), 'functional.onnx']).stderr).toBe('');
    const { x, y } = answers('tfjs-networks/answers.json').functional;
    const net = await loadSequential(at('functional.onnx'));
    expect(relative(net.forward({ data: Float32Array.from(x), shape: [2, 3] }).data, y)).toBeLessThan(1e-5);
  });
});

test('a file that is read for ever has a deadline', () => {
  copyFileSync(fixturePath('keras/chain.new.h5'), at('for-ever.h5'));
  // in the place of h5wasm, what the library does with some damaged files
  const loops =
    'export const ready = Promise.resolve({ HEAPU8: new Uint8Array(8), FS: { writeFile() { for (;;); } } });';
  const hook = `export const resolve = (name, context, next) => name === 'h5wasm' ? { url: ${JSON.stringify(`data:text/javascript,${encodeURIComponent(loops)}`)}, shortCircuit: true } : next(name, context);`;
  const register = `import { register } from 'node:module'; register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hook)}`)});`;
  const { status, stderr } = evenkeel(['inspect', 'for-ever.h5'], {
    NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(register)}`,
  });
  expect(stderr).toBe(
    "evenkeel: Keras: 'for-ever.h5' expected a file that is read in 4 s, as whole ones are, got no end: it is damaged (offset 0)\n",
  );
  expect(status).toBe(1);
});
