// The pages of the documentation.

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));

test('links lead to files', () => {
  for (const page of [
    'README.md',
    'CONTRIBUTING.md',
    'docs/weights.md',
    'docs/inference.md',
    'docs/training.md',
    'docs/performance.md',
    'docs/hosts.md',
    'docs/remedies.md',
    'docs/explained.md',
    'docs/explained.zh.md',
  ]) {
    const text = readFileSync(root + page, 'utf8');
    for (const [, link] of text.matchAll(/\]\(([^)#:]+)\)/g)) {
      const from = new URL(`file://${root}${page}`);
      expect([page, link, existsSync(new URL(link, from))]).toEqual([page, link, true]);
    }
  }
});
