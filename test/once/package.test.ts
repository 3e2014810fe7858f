// The built package, as programs outside see it.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { instantiateSync } from '@assemblyscript/loader';
import { build } from 'esbuild';
import { describe, expect, test } from 'vitest';
import { KERNEL_NAMES } from '../../src/kernels/table.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const node = (...args: string[]) => execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' });

test('resident memory stays flat over 100,000 rounds in one synchronous loop', () => {
  const { layer, network } = JSON.parse(node('test/support/flat.mjs'));
  expect(layer[1] / layer[0]).toBeLessThan(1.1);
  expect(network[1] / network[0]).toBeLessThan(1.1);
});

test('a compiled network runs into out without garbage', () => {
  // bytes per run; a call that has to be checked makes a kilobyte
  const { tensors, arrays } = JSON.parse(node('--expose-gc', 'test/support/garbage.mjs'));
  expect(tensors).toBeLessThan(16);
  expect(arrays).toBeLessThan(64);
});

describe('the package', () => {
  const modules = (readdirSync(join(root, 'dist'), { recursive: true }) as string[]).filter(
    (name) => name.endsWith('.js') && !name.startsWith('cli'),
  );

  test('can be required as well as imported: no top-level await', () => {
    const use =
      'const y = new k.BatchNorm1d(2).forward({ data: Float32Array.of(1, 2, 3, 5), shape: [2, 2] }); console.log([...y.data].map(Math.round).join());';
    expect(node('--input-type=commonjs', '-e', `const k = require('evenkeel'); ${use}`).trim()).toBe('-1,-1,1,1');
    expect(node('--input-type=module', '-e', `import * as k from 'evenkeel'; ${use}`).trim()).toBe('-1,-1,1,1');
  });

  test('imports nothing, no module of Node, and knows no file of its own', () => {
    expect(modules.length).toBeGreaterThan(8);
    for (const name of modules) {
      const text = readFileSync(join(root, 'dist', name), 'utf8');
      const imported = [...text.matchAll(/(?:\bfrom|\bimport)\s*["']([^"']+)["']/g)].map((match) => match[1]);
      expect(imported.filter((from) => !/^(\.|#wasm$)/.test(from))).toEqual([]);
      expect(text).not.toMatch(/import\.meta/);
    }
  });

  test('everything that package.json promises is there', () => {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const targets = [...Object.values(manifest.exports), ...Object.values(manifest.imports)].flatMap((entry) =>
      typeof entry === 'string' ? [entry] : Object.values(entry as object),
    );
    for (const target of targets) expect([target, existsSync(join(root, target as string))]).toEqual([target, true]);
    expect(manifest.dependencies).toBeUndefined();
  });

  test('works without WebAssembly, and says why', () => {
    const text = node(
      '--input-type=module',
      '-e',
      "delete globalThis.WebAssembly; const { BatchNorm1d, info } = await import('evenkeel'); new BatchNorm1d(2).forward({ data: Float32Array.of(1, 2, 3, 5), shape: [2, 2] }); console.log(JSON.stringify(info()))",
    );
    const { backend, reason } = JSON.parse(text);
    expect(backend).toBe('js');
    expect(reason).toMatch(/^the best this host has; relaxed: ReferenceError: .*; simd: ReferenceError: /);
  });
});

test('types need no browser: strict, for Node alone', () => {
  const folder = mkdtempSync(join(root, 'build/types-'));
  try {
    const code = `import { BatchNorm1d, foldConv, Linear, Sequential } from 'evenkeel';
import { load } from 'evenkeel/infer';
import { fromTorch, readSafetensors } from 'evenkeel/weights';
import { readFileSync } from 'node:fs';
const net = new Sequential(new Linear(2, 2), new BatchNorm1d(2));
net.loadStateDict(fromTorch(readSafetensors(readFileSync('x')).tensors, { layer: net }).state);
const run = load(net.compile({ maxBatch: 4 }).save());
const y: Float32Array = run({ data: new Float32Array(2), shape: [1, 2] }).data;
const { certificate } = foldConv({ weight: y, shape: [2, 2, 1], padding: 'same' }, { scale: [1, 2] });
export const bound: Float64Array = certificate.bound(1);
`;
    writeFileSync(join(folder, 'use.mts'), code);
    node(
      'node_modules/typescript/bin/tsc',
      '--noEmit',
      '--strict',
      '--ignoreConfig',
      '--module',
      'nodenext',
      '--target',
      'es2022',
      '--lib',
      'es2022,esnext.disposable',
      '--types',
      'node',
      join(folder, 'use.mts'),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('a bundle', () => {
  const bundle = async (code: string) => {
    const { outputFiles } = await build({
      stdin: { contents: code, resolveDir: root },
      bundle: true,
      minify: true,
      format: 'esm',
      platform: 'neutral',
      write: false,
    });
    return { text: outputFiles[0].text, gzip: gzipSync(outputFiles[0].contents, { level: 9 }).length };
  };

  test('that serves compiled networks holds nothing that trains', async () => {
    const { text, gzip } = await bundle("export { load } from 'evenkeel/infer'");
    expect(text).toContain('affine_ncx_f32');
    for (const word of ['grad_', 'stats_ncx', 'runningMean', 'loadStateDict', 'setThreads'])
      expect(text).not.toContain(word);
    expect(gzip).toBeLessThan(20_700); // both builds of the kernels are 8.9 kB of it
  });

  test('that reads safetensors holds no kernel', async () => {
    const { text, gzip } = await bundle("export { readSafetensors, fromTorch } from 'evenkeel/weights'");
    expect(text).not.toContain('WebAssembly');
    expect(gzip).toBeLessThan(6000);
  });
});

test('the debug build has every kernel', () => {
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
  try {
    const file = join(folder, 'debug.wasm');
    node(
      'node_modules/assemblyscript/bin/asc.js',
      '--target',
      'debug',
      '--outFile',
      file,
      '--textFile',
      join(folder, 'debug.wat'),
    );
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65535 });
    const { exports } = instantiateSync(readFileSync(file), { env: { memory } });
    expect(Object.keys(exports)).toEqual(expect.arrayContaining(KERNEL_NAMES));
    const values = new Float32Array(memory.buffer, 64, 3);
    values.set([-1, 2, Number.NaN]);
    (exports as unknown as Record<string, (...args: number[]) => void>).activate_f32(64, 64, 1, 0, 3); // relu
    expect([...values]).toEqual([0, 2, Number.NaN]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('the choice of backend', () => {
  const choose = (env: string, code: string) =>
    execFileSync(
      process.execPath,
      ['--input-type=module', '-e', `import { configure, info, zeros } from 'evenkeel'; ${code}`],
      { cwd: root, encoding: 'utf8', env: { ...process.env, EVENKEEL_BACKEND: env } },
    ).trim();
  const hasRelaxed = WebAssembly.validate(new Uint8Array(readFileSync(join(root, 'dist/wasm/relaxed.wasm'))));

  test('is relaxed where the host validates it, else simd', () => {
    expect(choose('', 'console.log(info().backend)')).toBe(hasRelaxed ? 'relaxed' : 'simd');
  });

  test('is never relaxed when deterministic', () => {
    expect(
      choose(
        '',
        'configure({ deterministic: true }); const { backend, deterministic } = info(); console.log(backend, deterministic)',
      ),
    ).toBe('simd true');
  });

  test('can be asked for, by setting and by environment', () => {
    expect(choose('', "configure({ backend: 'js' }); console.log(info().backend, info().reason)")).toBe('js asked for');
    expect(choose('js', 'console.log(info().backend, info().reason)')).toBe('js asked for');
    expect(choose('js', "configure({ backend: 'simd' }); console.log(info().backend)")).toBe('simd');
    expect(choose('', "info(); configure({ backend: 'js' }); console.log(info().backend)")).toBe('js');
  });

  const complaint = (env: string, code: string) =>
    choose(env, `try { ${code} } catch (error) { console.log(error.name, error.code, error.message) }`);

  test('cannot change once memory is in use', () => {
    expect(complaint('', "zeros([3]); configure({ backend: 'js' });")).toBe(
      'Error ERR_MODE configure: a change expected to come before the first tensor, got 1 blocks in use',
    );
  });

  test('an impossible choice is refused', () => {
    expect(complaint('', "configure({ backend: 'relaxed', deterministic: true });")).toBe(
      "RangeError ERR_OPTION configure: backend expected 'auto', 'simd' or 'js' when deterministic, got 'relaxed'",
    );
    expect(complaint('relaxed', 'configure({ deterministic: true }); info();')).toBe(
      "RangeError ERR_OPTION configure: backend expected 'auto', 'simd' or 'js' when deterministic, got 'relaxed'",
    );
    expect(complaint('gpu', 'info();')).toBe(
      "RangeError ERR_OPTION EVENKEEL_BACKEND: backend expected 'auto', 'relaxed', 'simd' or 'js', got 'gpu'",
    );
    if (!hasRelaxed)
      expect(complaint('relaxed', 'info();')).toMatch(
        /^RangeError ERR_BACKEND configure: backend expected one that this host has, got 'relaxed' \(relaxed: CompileError: .*\)$/,
      );
  });
});

test("the README's ten lines run as they stand, and say what it says they say", () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const [, code] = /```js\n(.*?)```/s.exec(readme)!;
  const lines = code
    .trimEnd()
    .split('\n')
    .filter((line) => line.trim() !== '');
  expect(lines.length).toBeLessThanOrEqual(14);
  const expected = lines.filter((line) => line.includes('console.log')).map((line) => line.split('// ')[1]);
  expect(expected.length).toBeGreaterThan(0);
  expect(node('--input-type=module', '-e', code).trim().split('\n')).toEqual(expected);
});

test('the main job leaves a whole report page, and no other file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
  try {
    writeFileSync(join(folder, 'keep.txt'), 'kept');
    const text = execFileSync(
      process.execPath,
      ['--import', 'tsx', 'examples/digits/main.ts', '--quick', '--steps', '60', '--report', folder],
      { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
    );
    expect(text).toMatch(/sigmoid: With batch norm the net (reaches|does not reach)/);
    expect(text).toMatch(/test accuracy \d/);
    expect(readdirSync(folder).sort()).toEqual(['index.html', 'keep.txt']);
    const page = readFileSync(join(folder, 'index.html'), 'utf8');
    expect(page.startsWith('<!doctype html>')).toBe(true);
    expect(page.trimEnd().endsWith('</html>')).toBe(true);
    expect(page.match(/<svg viewBox/g)!.length).toBe(8);
    expect(page).not.toMatch(/NaN|undefined|Infinity/);
    expect(page).not.toMatch(/https?:\/\//);
    expect(statSync(join(folder, 'index.html')).size).toBeGreaterThan(10_000);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
