// What `npm start` leaves behind, and what long loops do.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const node = (...args: string[]) => execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' });

const median = (numbers: number[]) => numbers.sort((a, b) => a - b)[numbers.length >> 1];

test.each(['layer', 'network'])('memory stays flat over 100,000 rounds of a %s in one synchronous loop', (workload) => {
  const points: Record<'live' | 'linear' | 'resident', number>[] = JSON.parse(
    node('--expose-gc', '--max-semi-space-size=1', 'test/support/flat.mjs', workload),
  );
  const growth = (of: 'live' | 'linear' | 'resident') =>
    median(points.slice(-5).map((point) => point[of])) - median(points.slice(0, 5).map((point) => point[of]));
  expect(points).toHaveLength(11);
  // between the two medians lie 60,000 rounds: one object kept by each would be 700 kB or more
  expect(growth('live')).toBeLessThan(300_000);
  expect(growth('linear')).toBe(0);
  expect(growth('resident')).toBeLessThan(6 << 20);
});

/** A few boxed numbers, where V8 does not see through a call. */
const MOST_GARBAGE = 256;

test.each(['small', 'convolutions'])('a compiled network runs into out without garbage: %s', (net) => {
  // bytes per run; a call that has to be checked makes a kilobyte
  const flags = ['--expose-gc', '--min-semi-space-size=64', '--max-semi-space-size=64'];
  const { tensors, arrays } = JSON.parse(node(...flags, 'test/support/garbage.mjs', net));
  expect(tensors).toBeLessThan(MOST_GARBAGE);
  expect(arrays).toBeLessThan(MOST_GARBAGE);
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
    const answer = /^With batch norm the sigmoid net (?:takes|never) .+; the tanh net .+\.$/m.exec(text)?.[0];
    expect(answer).toBeDefined();
    expect(text).toMatch(/sigmoid: (?:To \d+\.\d %, which is what|What) the net without batch norm ends with/);
    expect(text).toMatch(/test accuracy \d/);
    expect(text).toMatch(/A convnet of four layers ends with \d+\.\d+ % with batch norm and \d+\.\d+ % without/);
    expect(text).toMatch(/largest difference from evaluation mode \S+, [\d,]+ images\/s compiled/);
    for (const title of [
      'Small batches',
      'Dropout before batch norm',
      'Sequences of unequal length',
      'One poisoned batch',
    ])
      expect(text).toContain(`${title}: `);
    expect(readdirSync(folder).sort()).toEqual(['index.html', 'keep.txt']);
    const page = readFileSync(join(folder, 'index.html'), 'utf8');
    expect(page.startsWith('<!doctype html>')).toBe(true);
    expect(page.trimEnd().endsWith('</html>')).toBe(true);
    expect(page.match(/<svg viewBox/g)!.length).toBe(14);
    // the answer and its picture come first
    expect(page.indexOf(answer!)).toBeLessThan(page.indexOf('<svg'));
    expect(page.indexOf('<svg')).toBeLessThan(page.indexOf('Ioffe'));
    expect(page).not.toMatch(/NaN|undefined|Infinity/);
    expect(page).not.toMatch(/https?:\/\//);
    expect(statSync(join(folder, 'index.html')).size).toBeGreaterThan(10_000);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
