// What the release script refuses, and what npm's page and users get.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { published, refusals, withAddresses } from '../../scripts/release.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const repository = { type: 'git', url: 'git+https://example.com/owner/evenkeel.git' };

test('a release without a public repository, a section of the changelog or a clean checkout is refused', () => {
  const ready = { ...manifest, repository };
  expect(refusals(ready, `# Changelog\n\n## ${manifest.version}\n`, '')).toEqual([]);
  const noRepository = 'package.json has no repository on the web: the links of the README would lead nowhere';
  expect(refusals({ version: '1.2.3' }, '## 1.2.3', '')).toEqual([noRepository]);
  for (const url of ['file:../evenkeel', 'git@example.com:owner/evenkeel.git', ''])
    expect(refusals({ version: '1.2.3', repository: url }, '## 1.2.3', '')).toEqual([noRepository]);
  const section = 'CHANGELOG.md has no section of 1.2.3, or it says that it is unreleased';
  expect(refusals({ version: '1.2.3', repository }, '## 1.2.3 (unreleased)', '')).toEqual([section]);
  expect(refusals({ version: '1.2.3', repository }, '## 1.2.30', '')).toEqual([section]);
  expect(refusals({ version: '1.2.3', repository }, '## 1.2.3', ' M README.md\n')).toEqual([
    'there are changes that are not committed',
  ]);
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
