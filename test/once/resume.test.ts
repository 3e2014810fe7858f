// A run that is stopped and resumed in another process has the bits of one that was never stopped.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { KIND_NAMES, run } from '../support/resumable.ts';

const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
afterAll(() => rmSync(folder, { recursive: true }));

const root = fileURLToPath(new URL('../../', import.meta.url));
const script = fileURLToPath(new URL('../support/resumable.ts', import.meta.url));

/** In a process of its own. */
const apart = (...args: (string | number)[]) =>
  execFileSync(process.execPath, ['--import', './scripts/typescript.mjs', script, ...args.map(String)], {
    cwd: root,
    encoding: 'utf8',
  }).trim();

test.each(KIND_NAMES)('%s: 200 steps, stopped at 73', async (kind) => {
  const file = join(folder, `${kind}.safetensors`);
  const whole = await run(kind, 0, 200);
  expect(await run(kind, 0, 73, file)).not.toBe(whole);
  expect(apart(kind, 73, 200, file)).toBe(whole);
});
