// The benchmark: its names and statistics, and what it says of options and files. No time is judged
// here.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { caseGroups } from '../../bench/cases.ts';
import { changes, changesInTurns, flaw, type Run } from '../../bench/compare.ts';
import { nameOf, rowOf } from '../../bench/figures.ts';
import { bareLoops } from '../../bench/loops.ts';
import { peerCases } from '../../bench/peers/cases.ts';
import { nearest, selected } from '../../bench/select.ts';
import { meanInterval, medianInterval, rankTest, shift, studentQuantile } from '../../bench/statistics.ts';
import { csv } from '../../bench/text.ts';
import { merged, slowRounds, timeTogether } from '../../bench/timing.ts';
import { Random } from '../../src/nn/random.ts';

const names = caseGroups().flatMap((group) => group.names);
const named = (filter: string) => [...selected(names, filter)].map((i) => nameOf(names[i]));

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const peers = peerCases();
const takenBy = { bench: names, 'bench:peers': peers };

/** First cells of the tables of a text that hold figures. */
const firstCells = (text: string) =>
  text
    .split('\n')
    .filter((line) => line.startsWith('| ') && /\d/.test(line.split('|')[1]))
    .map((line) => line.split('|')[1].trim());

/** A part of a page: from one piece of text to another. */
const between = (page: string, from: string, to: string) => {
  const text = read(page);
  const [start, end] = [text.indexOf(from), text.indexOf(to)];
  expect([page, start >= 0 && end > start]).toEqual([page, true]);
  return text.slice(start, end);
};

test('every name that the README prints is taken by --filter', () => {
  const printed = firstCells(between('README.md', '## How fast', '## Where it runs'));
  const cases = printed.filter((name) => !name.startsWith('tensors'));
  expect(cases.length).toBeGreaterThan(20);
  for (const name of cases) expect(named(name), name).not.toEqual([]);
  const others = [
    ...firstCells(between('README.md', '| on the CPU', '## Run a network')).filter((name) => name.includes('²')),
    ...firstCells(between('README.md', 'Other libraries on', 'On tensors two threads')),
    ...firstCells(between('README.md', 'The other norms', 'Batch renormalization takes')),
  ];
  expect(others.length).toBeGreaterThan(12);
  for (const name of others) expect([name, selected(peers, name).size > 0]).toEqual([name, true]);
});

test('every network and layer that docs/performance.md prints beside others is taken by --filter', () => {
  const networks = firstCells(between('docs/performance.md', '| | onnxruntime-web', 'Parts for threads'));
  expect(networks.length).toBeGreaterThan(6);
  for (const name of networks.map((name) => name.replace(/, Node \d+$/, '')))
    expect([name, selected(peers, name).size]).toEqual([name, 1]);
});

test('every command with --filter in the documentation measures something', () => {
  const pages = ['', 'docs', 'docs/decisions'].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(folder, name)),
  );
  const commands = pages.flatMap((page) =>
    [...read(page).matchAll(/npm run (bench(?::peers)?) --[^`]*? --filter\s+(?:'([^']+)'|"([^"]+)"|([^\s`]+))/g)].map(
      ([, command, ...filters]) => ({ page, command, filter: filters.find((text) => text !== undefined)! }),
    ),
  );
  expect(commands.length).toBeGreaterThan(4);
  for (const { page, command, filter } of commands) {
    const all = takenBy[command as keyof typeof takenBy];
    // `kernel | <name>` stands for each of them
    expect([page, filter, selected(all, filter.replace(/<.*>/, '')).size > 0]).toEqual([page, filter, true]);
  }
});

test('a filter takes whole shapes, × or x, and free spaces', () => {
  expect(named('1×1024')).toEqual(named('1x1024'));
  expect(named('1 × 1024')).toEqual(named('1x1024'));
  expect(named('1×64').every((name) => name.endsWith('vector 1x64'))).toBe(true);
  expect(named('eval|ncx').every((name) => name.startsWith('eval | ncx'))).toBe(true);
  expect(named('32×64×56×56, channels last, evaluation')).toContain('eval | nxc | resnet50/conv2 32x56x56x64');
  const both = named('training forward, 32×64×56×56; channels last');
  expect(both).toContain('train | ncx | resnet50/conv2 32x64x56x56');
  expect(both).toContain('train | nxc | resnet50/conv2 32x56x56x64');
  expect(named('vector 1x64')).toEqual(named('| vector 1x64'));
  expect(named('')).toHaveLength(names.length);
});

test('every name as it is listed takes its own case, and names are unique', () => {
  for (const name of names) expect(named(nameOf(name))).toContain(nameOf(name));
  expect(new Set(names.map(nameOf)).size).toBe(names.length);
  const loops = bareLoops();
  for (const loop of loops) expect(selected(loops, nameOf(loop)).size).toBeGreaterThan(0);
  for (const one of peers) expect([...selected(peers, nameOf(one))].map((i) => peers[i])).toContain(one);
  expect(new Set(peers.map(nameOf)).size).toBe(peers.length);
});

test('an unknown filter has nearest names', () => {
  expect(named('evul 1x1024')).toEqual([]);
  expect(nearest(names, 'evul | nxc | row 1x1024')[0]).toBe('eval | nxc | row 1x1024');
});

test('the interval of a median holds it as often as it says', () => {
  const random = new Random(3);
  for (const n of [8, 40]) {
    let held = 0;
    for (let i = 0; i < 4000; i++) {
      const [low, high] = medianInterval(Array.from({ length: n }, () => Math.exp(random.normal())));
      held += Number(low <= 1 && 1 <= high);
    }
    expect(held / 4000).toBeGreaterThan(0.94);
  }
  expect(medianInterval([3, 1, 2])).toEqual([1, 3]);
});

test('the rank test is exact', () => {
  expect(rankTest([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])).toBeCloseTo(2 / 252, 12);
  expect(rankTest([1, 2, 3, 4, 6], [5, 7, 8, 9, 10])).toBeCloseTo(4 / 252, 12);
  expect(rankTest([1, 1, 1, 1, 1], [1, 1, 1, 1, 1])).toBe(1);
  expect(shift([1, 2, 3, 4, 5], [11, 12, 13, 14, 15]).estimate).toBe(10);
});

test("Student's quantiles are those of the tables, and an interval is as sure as it says", () => {
  const table = [
    [1, 0.95, 12.706],
    [2, 0.95, 4.303],
    [4, 0.95, 2.776],
    [4, 0.99, 4.604],
    [9, 0.99, 3.25],
    [30, 0.95, 2.042],
  ];
  for (const [freedom, p, t] of table) expect(studentQuantile(freedom, p)).toBeCloseTo(t, 3);
  const random = new Random(5);
  let held = 0;
  for (let i = 0; i < 4000; i++) {
    const { low, high } = meanInterval(Array.from({ length: 5 }, () => random.normal()));
    held += Number(low <= 0 && 0 <= high);
  }
  expect(Math.abs(held / 4000 - 0.95)).toBeLessThan(0.015);
});

/** A run of five processes on a machine of its own speed, with noise. */
function run(seed: number, factor: number, noise: number): Run {
  const random = new Random(seed);
  const speed = Math.exp(0.2 * random.normal());
  const timing = (time: number) =>
    merged(
      Array.from({ length: 5 }, () => {
        const level = time * speed * Math.exp(noise * random.normal());
        const rounds = [Array.from({ length: 8 }, () => level * Math.exp(noise * random.normal()))];
        return { rounds, samples: 800, spread: noise };
      }),
    );
  const times = () => ({ ours: timing(10 * factor), plain: timing(100), copy: timing(8) });
  const rows = Array.from({ length: 300 }, (_, i) =>
    rowOf({ op: 'case', layout: '', shape: `${i}` }, { bytes: 1, times: times() }),
  );
  const about = { machine: 'a machine, 2 cores', node: 'v20', backend: 'simd', threads: 1, date: '2026-11-29' };
  return { about, rows };
}

test('two runs of the same code differ in less than 5 % of cases, whatever the noise', () => {
  for (const noise of [0.01, 0.05, 0.3]) {
    const found = changes(run(1, 1, noise), run(2, 1, noise));
    expect(found).toHaveLength(300);
    const reported = found.filter(({ verdict }) => verdict === 'slower' || verdict === 'faster');
    expect(reported.length).toBeLessThan(15);
  }
});

test('what is a tenth slower is reported, and named unclear where noise hides it', () => {
  const verdicts = (noise: number) => changes(run(1, 1, noise), run(2, 1.1, noise)).map(({ verdict }) => verdict);
  expect(verdicts(0.01).every((verdict) => verdict === 'slower')).toBe(true);
  expect(verdicts(0.5).filter((verdict) => verdict === 'unclear').length).toBeGreaterThan(150);
});

/** Cases of which ours and that of an earlier program took turns on a machine whose clock moves. */
function turns(factor: number, noise: number): Run['rows'] {
  const random = new Random(9);
  return Array.from({ length: 300 }, (_, i) => {
    const pairs = Array.from({ length: 5 }, () => {
      const own = factor * Math.exp(noise * random.normal()); // how the two lie in memory
      return Array.from({ length: 8 }, () => {
        const clock = Math.exp(0.3 * random.normal());
        return [10 * own, 10].map((time) => time * clock * Math.exp(noise * random.normal()));
      });
    });
    const timing = (at: number) =>
      merged(pairs.map((rounds) => ({ rounds: [rounds.map((pair) => pair[at])], samples: 800, spread: noise })));
    const times = { ours: timing(0), before: timing(1), plain: timing(0) };
    return rowOf({ op: 'case', layout: '', shape: `${i}` }, { bytes: 1, times });
  });
}

test('programs in turns: a tenth is reported, and nothing where nothing changed, whatever the clock', () => {
  const reported = (factor: number, noise: number) =>
    changesInTurns(turns(factor, noise)).filter(({ verdict }) => verdict === 'slower' || verdict === 'faster').length;
  for (const noise of [0.01, 0.05, 0.3]) expect(reported(1, noise)).toBeLessThan(15);
  expect(reported(1.1, 0.01)).toBe(300);
  expect(reported(1.1, 0.02)).toBeGreaterThan(285);
  expect(changesInTurns(run(1, 1, 0.01).rows)).toEqual([]);
});

test('files of other kinds are no baseline', () => {
  expect(flaw(run(1, 1, 0.01))).toBeUndefined();
  expect(flaw(null)).toBe('no figures of npm run bench');
  expect(flaw({ about: {}, rows: [{ op: 'a' }] })).toBe('a case without times of ours and plain');
});

test('comma-separated values quote commas', () => {
  const row = { ...run(1, 1, 0.01).rows[0], op: 'eval, relu' };
  const [head, line] = csv([row]).split('\n');
  expect(line.startsWith('"eval, relu",')).toBe(true);
  expect(head.split(',')).toHaveLength(line.replace('"eval, relu"', 'op').split(',').length);
});

test('slow work has as many rounds as an interval needs', async () => {
  expect([1, 2, 3, 5, 100].map(slowRounds)).toEqual([6, 3, 2, 2, 2]);
  const wait = () => {
    for (const end = performance.now() + 2; performance.now() < end; );
  };
  const { slow } = await timeTogether({ slow: wait }, 0.5);
  expect(slow.rounds.map(({ length }) => length)).toEqual([6]);
  expect(slow.samples).toBe(6);
  expect([slow.low, slow.high]).toEqual([Math.min(...slow.rounds[0]), Math.max(...slow.rounds[0])]);
  const { few } = await timeTogether({ few: wait }, 0.5, { slowRounds: slowRounds(5) });
  expect(few.rounds.map(({ length }) => length)).toEqual([2]);
  // what is compared has as many rounds, also where one of them alone is slow
  const works = { before: () => {}, ours: wait, plain: () => {} };
  const { before, ours, plain } = await timeTogether(works, 0.5, { slowRounds: 2, alike: ['before', 'ours'] });
  expect([before, ours, plain].map(({ rounds }) => rounds[0].length)).toEqual([2, 2, 8]);
});

const folder = mkdtempSync(join(tmpdir(), 'evenkeel-bench-'));
afterAll(() => rmSync(folder, { recursive: true }));
const fileOf = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

/** Runs a program of the bench. */
function bench(program: 'main' | 'peers/main', ...args: string[]) {
  const hooks = ['--import', './scripts/typescript.mjs'];
  const { status, stdout, stderr } = spawnSync(process.execPath, [...hooks, `bench/${program}.ts`, ...args], {
    cwd: root,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

describe('options and files of the bench', () => {
  const quick = ['--filter', '1×64', '--time', '1', '--processes', '1'];
  const file = fileOf('file', '');

  test('a filter that takes nothing is answered with the nearest names, in bench:peers as well', () => {
    for (const program of ['main', 'peers/main'] as const) {
      const { status, stdout, stderr } = bench(program, '--filter', 'evul | nxc | row 1x1024');
      const [head, first, ...rest] = stderr.split('\n');
      expect([status, stdout]).toEqual([2, '']);
      expect(head).toBe(
        "--filter expected part of the name of a case, got 'evul | nxc | row 1x1024'; the nearest names are",
      );
      expect([first, rest.length]).toEqual(['  eval | nxc | row 1x1024', 5]);
    }
  });

  test('bench:peers lists its names, and reads its options', () => {
    const { status, stdout, stderr } = bench('peers/main', '--list', '--filter', 'training step');
    expect([status, stdout, stderr]).toEqual([0, 'training step | nxc | convnet 28², batch 64\n', '']);
    expect(bench('peers/main', '--time', '0')).toEqual({
      status: 2,
      stdout: '',
      stderr: "--time expected milliseconds, above 0 and at most 60000, got '0'\n",
    });
  });

  test('places for files are tried before anything is measured', () => {
    const refused = (...args: string[]) => {
      const { status, stdout, stderr } = bench('main', ...quick, ...args);
      expect([status, stdout]).toEqual([2, '']);
      return stderr;
    };
    expect(refused('--json', join(file, 'run.json'))).toBe(
      `--json expected a file that can be written, got ${file}/run.json: ENOTDIR: not a directory, stat '${file}/run.json'\n`,
    );
    expect(refused('--csv', folder)).toBe(`--csv expected a file that can be written, got ${folder}: a folder\n`);
    expect(refused('--baseline', join(folder, 'none.json'))).toBe(
      `--baseline expected a file that --json wrote, got ${folder}/none.json: ENOENT: no such file or directory, open '${folder}/none.json'\n`,
    );
    expect(refused('--loops', '--json', join(folder, 'loops.json'))).toBe(
      '--loops expected no other options than --filter, --list and --time, got --processes\n',
    );
    expect(readdirSync(folder)).toEqual(['file']);
  });

  test('folders are made, and files hold what was measured', () => {
    const [json, csvFile] = [join(folder, 'a/b/run.json'), join(folder, 'c/run.csv')];
    const { status, stderr } = bench('main', ...quick, '--json', json, '--csv', csvFile);
    expect([status, stderr]).toEqual([0, '']);
    const { about, rows } = JSON.parse(readFileSync(json, 'utf8')) as Run;
    expect(about.options).toEqual({ filter: '1×64', time: 1, slower: 0 });
    expect(rows.map(nameOf)).toEqual(named('1×64'));
    expect(readFileSync(csvFile, 'utf8').split('\n')).toHaveLength(rows.length + 2);
    for (const name of ['a/b', 'c']) expect(readdirSync(join(folder, name))).toHaveLength(1);
  });

  test('the program that was measured runs again beside a later one, and is a program', () => {
    const programs = () => readdirSync(join(root, 'build')).filter((name) => name.startsWith('bench-'));
    const left = programs();
    const json = join(folder, 'before.json');
    const args = ['--filter', '1×64', '--time', '1'];
    expect(bench('main', ...args, '--json', json).status).toBe(0);
    const { program, ...rest } = JSON.parse(readFileSync(json, 'utf8')) as Run;
    const after = join(folder, 'after.json');
    const { status, stdout } = bench('main', ...args, '--baseline', json, '--json', after);
    const times = (JSON.parse(readFileSync(after, 'utf8')) as Run).rows.map((row) => row.times);
    expect([status, times.length]).toEqual([0, rest.rows.length]);
    const lengths = (rounds: readonly number[][]) => rounds.map(({ length }) => length);
    for (const { ours, before } of times) expect(lengths(before!.rounds)).toEqual(lengths(ours.rounds));
    expect(stdout).toMatch(/^Compared with .*, whose program took turns with this one:$/m);
    expect(stdout).toMatch(new RegExp(` too noisy to tell, of ${times.length} cases$`, 'm'));

    const copy = join(folder, 'copy.json');
    const kept = bench('main', '--results', json, '--json', copy, '--baseline', json);
    expect([kept.status, JSON.parse(readFileSync(copy, 'utf8'))]).toEqual([0, rest]);
    expect(kept.stdout).toMatch(/^Compared with .*, by the times of then:$/m);

    const broken = fileOf('broken.json', JSON.stringify({ ...rest, program: 'AAAA' }));
    const refused = bench('main', ...args, '--baseline', broken);
    expect([refused.status, refused.stdout]).toEqual([2, '']);
    expect(refused.stderr).toMatch(/^--baseline expected a file that --json wrote, got .*: its program: /);
    expect(programs()).toEqual(left);
  });
});

describe("a function of the user's own", () => {
  const own = (text: string, ...args: string[]) => {
    const path = fileOf('own.mjs', text);
    const { status, stdout, stderr } = bench('main', '--own', path, '--time', '1', ...args);
    return { path, status, stdout, stderr };
  };
  const BODY = `for (let i = 0; i < x.length; i++) {
    const c = i % 4;
    y[i] = ((x[i] - mean[c]) / Math.sqrt(variance[c] + eps)) * gamma[c] + beta[c];
  }`;
  const right = `export const shape = [3, 4];
export const name = 'mine';
export default function mine({ x, y, gamma, beta, mean, variance, eps }) { ${BODY} }`;

  test('that of docs/performance.md is right, as it stands there', () => {
    const [, code] = /```js\n(export const shape.*?)```/s.exec(read('docs/performance.md'))!;
    const { status, stdout, stderr } = own(code.replace('[32, 64, 56, 56]', '[2, 64, 56, 56]'));
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/× yours/);
    expect(stdout).toMatch(/^eval \| channels-first \| yours 2x64x56x56 /m);
  });

  test('is timed in several processes, and where it returns a promise', () => {
    const later = right.replace('export default function', 'export default async function');
    const { status, stdout, stderr } = own(later, '--processes', '2', '--csv');
    const row = stdout.split('\n').find((line) => line.startsWith('eval,channels-first,mine 3x4,'))!;
    const columns = stdout.split('\n')[0].split(',');
    expect([status, Number(row.split(',')[columns.indexOf('over_own')]) > 0]).toEqual([0, true]);
    expect(stderr).not.toMatch(/error/i);
  });

  const refusal = (text: string, ...args: string[]) => {
    const { path, status, stdout, stderr } = own(text, ...args);
    // no figure of it
    expect([status, stdout.includes('mine 3x4')]).toEqual([2, false]);
    return stderr.replaceAll(path, 'own.mjs');
  };

  test.each([1, 2])('one with other results is named in one line, in %i process(es)', (processes) => {
    const line = refusal(right.replace('+ beta[c]', ''), '--processes', `${processes}`);
    expect(line.replace(/\d\.\d+ from/, 'D from')).toBe(
      "--own expected y of eval within 0.0001 of batch norm's largest value in own.mjs, got D from it\n",
    );
  });

  test('so is one that throws, gives NaN, or is no function', () => {
    expect(refusal(right.replace(BODY, 'y.fill(NaN);'))).toBe(
      "--own expected y of eval within 0.0001 of batch norm's largest value in own.mjs, got values that are not finite\n",
    );
    expect(refusal(right.replace(BODY, "throw new RangeError('too large');"))).toBe(
      '--own expected a function that returns in own.mjs, got RangeError: too large\n',
    );
    expect(refusal('export default 3;')).toBe('--own expected a function as default export in own.mjs, got 3\n');
  });
});
