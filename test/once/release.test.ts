// What the release script refuses, and what npm's page and users get.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { wholeModules } from '../../scripts/kernels.mjs';
import { published, refusals, withAddresses } from '../../scripts/release.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const repository = { type: 'git', url: 'git+https://example.com/owner/evenkeel.git' };

describe('a release is refused', () => {
  const ready = {
    manifest: { version: '1.2.3', repository },
    changelog: '# Changelog\n\n## 1.2.3\n',
    changes: '',
    tags: 'v1.2.3\n',
    measured: '1.2.3' as string | undefined,
    modules: { 'wasm/simd.wasm': { shipped: 'a', built: ['a', 'a'] } },
  };
  const reasons = (changed: Partial<typeof ready>) => refusals({ ...ready, ...changed });

  test('in none of these cases', () => {
    expect(refusals(ready)).toEqual([]);
    expect(reasons({ tags: 'latest\nv1.2.3\n', changelog: '## 1.2.3 (2031-05-01)' })).toEqual([]);
  });

  test('without a public repository', () => {
    const refusal = ['package.json has no repository on the web: the links of the README would lead nowhere'];
    expect(refusals({ ...ready, manifest: { version: '1.2.3' } })).toEqual(refusal);
    for (const url of ['file:../evenkeel', 'git@example.com:owner/evenkeel.git', ''])
      expect(refusals({ ...ready, manifest: { version: '1.2.3', repository: url } })).toEqual(refusal);
  });

  test('without a section of the changelog', () => {
    const refusal = ['CHANGELOG.md has no section of 1.2.3, or it says that it is unreleased'];
    for (const changelog of ['## 1.2.3 (unreleased)', '## 1.2.30', '## 1.2', '', '### 1.2.3'])
      expect(reasons({ changelog })).toEqual(refusal);
  });

  test('with changes that are not committed', () => {
    expect(reasons({ changes: ' M README.md\n' })).toEqual(['there are changes that are not committed']);
  });

  test("without the version's tag on the commit", () => {
    const refusal = (got: string) => [`the commit has no tag v1.2.3 and no other version's, but ${got}`];
    expect(reasons({ tags: '' })).toEqual(refusal('none'));
    expect(reasons({ tags: '1.2.3\nlatest\n' })).toEqual(refusal('none'));
    expect(reasons({ tags: 'v1.2.4\n' })).toEqual(refusal('v1.2.4'));
    expect(reasons({ tags: 'v1.2.2\nv1.2.3\n' })).toEqual(refusal('v1.2.2, v1.2.3'));
  });

  test('without figures of the version for the next ones to be held against', () => {
    const path = 'bench/history/1.2.3.json';
    const refusal = [`${path} has no figures of 1.2.3: npm run bench -- --json ${path}`];
    for (const measured of [undefined, '1.2.2']) expect(reasons({ measured })).toEqual(refusal);
  });

  test('with kernels that the sources do not build bit for bit', () => {
    const modules = (shipped: string | undefined, ...built: string[]) => ({ 'wasm/simd.wasm': { shipped, built } });
    const refused = (given: ReturnType<typeof modules>) => refusals({ ...ready, modules: given });
    expect(refused(modules('a', 'a', 'b'))).toEqual(['two builds of dist/wasm/simd.wasm differ']);
    expect(refused(modules('b', 'a', 'a'))).toEqual(['dist/wasm/simd.wasm is not what the sources build']);
    expect(refused(modules(undefined, 'a', 'a'))).toEqual(['dist/wasm/simd.wasm is not what the sources build']);
  });

  test('for all reasons at once', () => {
    expect(reasons({ changelog: '', changes: '?? x', tags: '' })).toHaveLength(3);
  });
});

test('kernels are the same bits from any folder, and those in dist/', () => {
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-kernels-'));
  try {
    const built = wholeModules(folder);
    for (const name of ['simd', 'relaxed'] as const)
      expect(built[name].equals(readFileSync(join(root, `dist/wasm/${name}.wasm`))), name).toBe(true);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('as long as package.json names no repository nothing is published', () => {
  expect(manifest.repository).toBeUndefined();
  const { status, stderr } = spawnSync(process.execPath, ['scripts/release.mjs'], { cwd: root, encoding: 'utf8' });
  expect(status).toBe(1);
  expect(stderr).toContain('not released: package.json has no repository on the web');
});

test('links of the README lead to files that are there, and on npm to addresses', () => {
  const links = [...readme.matchAll(/\]\(([^)\s]+)/g)].map(([, link]) => link);
  const relative = links.filter((link) => !/^https?:|^#/.test(link));
  expect(relative.length).toBeGreaterThan(5);
  for (const link of relative) expect([link, existsSync(join(root, link.split('#')[0]))]).toEqual([link, true]);
  const whole = withAddresses(readme, repository, '1.2.3');
  const after = [...whole.matchAll(/\]\(([^)\s]+)/g)].map(([, link]) => link);
  expect(after.filter((link) => !/^https:|^#/.test(link))).toEqual([]);
  expect(whole).toContain('](https://example.com/owner/evenkeel/blob/v1.2.3/docs/weights.md)');
  expect(after.length).toBe(links.length);
});

test('users get nothing that builds the package', () => {
  const { scripts, devDependencies, ...rest } = manifest;
  expect(published(manifest)).toEqual(rest);
  expect(Object.keys(scripts).length * Object.keys(devDependencies).length).toBeGreaterThan(0);
});
