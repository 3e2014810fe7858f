// Which backend runs, and why: what is asked for, what a host refuses, what a program hands over.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const node = (...args: string[]) => execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' });

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
