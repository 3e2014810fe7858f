// The training loop of examples/loop, as a program of its own.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { AdamW, batches, CosineLR, loadCheckpoint, namedParameters, WarmUp } from '../../src/index.ts';
import { digitConvnet } from '../../src/models/index.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

test('a first training loop has 40 lines, and recognises 97 % of the digits or more', async () => {
  const text = readFileSync(join(root, 'examples/loop/train.ts'), 'utf8');
  expect(text.split('\n').filter((line) => line !== '' && !line.startsWith('//')).length).toBeLessThanOrEqual(40);
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
  try {
    const file = join(folder, 'digits.safetensors');
    const args = ['--import', 'tsx', 'examples/loop/train.ts', file];
    const lines = execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' }).trim().split('\n');
    const held = lines.slice(0, -1).map((line) => Number(/: (\d+\.\d+) % of 1000 held-out digits$/.exec(line)![1]));
    const [, best, share] = /^epoch (\d+) kept: (\d+\.\d+) % of 2000 others$/.exec(lines.at(-1)!)!;
    expect(Number(share)).toBeGreaterThanOrEqual(97);
    // the best weights were kept, and it went on for three epochs behind them at most
    expect(held[Number(best) - 1]).toBe(Math.max(...held));
    expect(held.length).toBeLessThanOrEqual(Math.min(Number(best) + 4, 8));
    // the checkpoint is of the last epoch, and loads
    const net = digitConvnet({ width: 8 });
    const optimizer = new AdamW(namedParameters(net), { decayNorms: false });
    const schedule = new WarmUp(new CosineLR(optimizer, { steps: 1020 }), { steps: 100 });
    const data = batches([1], { size: 50 });
    const { metadata } = await loadCheckpoint(file, { net, optimizer, schedule, data });
    expect(metadata).toEqual({ epoch: `${held.length}`, accuracy: `${held.at(-1)! / 100}` });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
