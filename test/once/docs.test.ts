// What the documentation shows does what it says.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));

test('the first lines of the README run as they stand', () => {
  const code = /```js\n([\s\S]*?)```/.exec(readFileSync(`${root}README.md`, 'utf8'))![1];
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: root, encoding: 'utf8' });
  expect(output.trim()).toBe('true true');
});

test('links lead to files', () => {
  for (const page of ['README.md', 'CONTRIBUTING.md', 'docs/weights.md', 'docs/inference.md', 'docs/performance.md']) {
    const text = readFileSync(root + page, 'utf8');
    for (const [, link] of text.matchAll(/\]\(([^)#:]+)\)/g)) {
      const from = new URL(`file://${root}${page}`);
      expect([page, link, existsSync(new URL(link, from))]).toEqual([page, link, true]);
    }
  }
});
