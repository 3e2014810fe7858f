// What docs/commonjs.md says of test runners and of TypeScript: its settings as they stand there,
// and every cell of its table.

import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { type Answer, type Example, type Host, judge, sh } from './host.ts';
import { app, packages, root, work } from './install.ts';
import { expectedAnswer } from './node.ts';

const page = () => readFileSync(`${root}docs/commonjs.md`, 'utf8');

/** A block of the page, by the comment on its first line. */
function block(title: string): string {
  const found = [...page().matchAll(/```js\n\/\/ (.*)\n([\s\S]*?)```/g)].find(([, first]) => first === title);
  if (!found) throw new Error(`docs/commonjs.md has no block '// ${title}'`);
  return found[2];
}

/** A command of the page, by how it begins. */
function command(start: string): string {
  const line = page()
    .split('\n')
    .find((one) => one.startsWith(`    ${start}`));
  if (!line) throw new Error(`docs/commonjs.md has no command '${start}'`);
  return line.trim();
}

/** A project with the package in `node_modules`, as npm or pnpm puts it there. */
function project(folder: string, manager: 'npm' | 'pnpm' = 'npm'): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(`${folder}node_modules`, { recursive: true });
  const place = manager === 'npm' ? 'evenkeel' : '.pnpm/evenkeel@0.1.0/node_modules/evenkeel';
  cpSync(`${app}node_modules/evenkeel`, `${folder}node_modules/${place}`, { recursive: true });
  if (manager === 'pnpm') symlinkSync(place, `${folder}node_modules/evenkeel`);
  writeFileSync(`${folder}package.json`, JSON.stringify({ private: true }));
  const probe = readFileSync(`${app}probe.mjs`, 'utf8');
  writeFileSync(`${folder}probe.mjs`, probe);
  writeFileSync(`${folder}probe.cjs`, probe.replace('export function probe', 'exports.probe = probe;\nfunction probe'));
}

const WRITE = "writeFileSync('answer.json', JSON.stringify(probe(k, infer)))";

/** Tests of a project, each of which writes the probe's answer. */
const TESTS = {
  'require.test.js': `const { writeFileSync } = require('node:fs');
const { probe } = require('./probe.cjs');
test('require', () => {
  const [k, infer] = [require('evenkeel'), require('evenkeel/infer')];
  require('evenkeel/models');
  require('evenkeel/weights');
  ${WRITE};
});
`,
  'import.test.js': `import { writeFileSync } from 'node:fs';
import * as k from 'evenkeel';
import * as infer from 'evenkeel/infer';
import { probe } from './probe.cjs';
test('import', () => ${WRITE});
`,
  'types.test.ts': `import { expect, test } from '@jest/globals';
import { BatchNorm1d } from 'evenkeel';
test('types', () => {
  const y: Float32Array = new BatchNorm1d(2).forward({ data: Float32Array.of(1, 2, 3, 5), shape: [2, 2] }).data;
  expect([...y].map(Math.round)).toEqual([-1, -1, 1, 1]);
});
`,
  'dynamic.test.js': `const { writeFileSync } = require('node:fs');
const { probe } = require('./probe.cjs');
test('import()', async () => {
  const [k, infer] = [await import('evenkeel'), await import('evenkeel/infer')];
  ${WRITE};
});
`,
  'es.test.mjs': `import { writeFileSync } from 'node:fs';
import * as k from 'evenkeel';
import * as infer from 'evenkeel/infer';
import { probe } from './probe.mjs';
test('import', () => ${WRITE});
`,
  'alone.test.js': `const k = require('evenkeel');
test('require', () => expect(k.info().backend).toMatch(/simd|relaxed/));
`,
  'pool.test.js': `test('pool', async () => {
  const { Linear, Sequential } = require('evenkeel');
  const { pool } = require('evenkeel/pool');
  const net = new Sequential(new Linear(2, 3, { seed: 1 })).eval().compile();
  const x = { data: Float32Array.of(1, 2), shape: [1, 2] };
  const p = await pool(net.save(), { workers: 1 });
  expect([...(await p.run(x)).data]).toEqual([...net(x).data]);
  await p.close();
});
`,
};
type Test = keyof typeof TESTS;

const ES_FLAG = '--experimental-vm-modules';

/** Jest with the page's settings: what it says works gives the probe's answer, the rest fails. */
async function jest(major: number, manager: 'npm' | 'pnpm'): Promise<Answer> {
  const specs = [`jest@${major}`, `babel-jest@${major}`, 'ts-jest@29', 'typescript@5.9', 'esbuild'];
  const tools = await packages(
    `jest-${major}`,
    ...specs,
    ...['@babel/core@7', '@babel/preset-env@7', '@swc/core', '@swc/jest'],
  );
  const folder = `${tools}project/`;
  project(folder, manager);
  for (const [name, text] of Object.entries(TESTS)) writeFileSync(folder + name, text);
  const run = (config: string, test: Test, flag: string) => {
    writeFileSync(`${folder}jest.config.js`, config);
    const args = [
      `${tools}node_modules/jest/bin/jest.js`,
      '--ci',
      '--runInBand',
      '--testTimeout=300000',
      '--cacheDirectory',
      `${folder}cache`,
    ];
    const env = { ...process.env, NODE_OPTIONS: flag };
    return sh(process.execPath, [...args, test], { cwd: folder, env, timeout: 300_000 });
  };
  let answer: Answer | undefined;
  const passes = async (config: string, tests: readonly Test[], flag = '') => {
    for (const test of tests) {
      rmSync(`${folder}answer.json`, { force: true });
      await run(config, test, flag);
      if (!TESTS[test].includes(WRITE)) continue;
      answer = JSON.parse(readFileSync(`${folder}answer.json`, 'utf8')) as Answer;
      const wrong = judge(answer, await expectedAnswer(), { name: test, run: async () => answer! });
      if (wrong) throw new Error(`${test}: ${wrong}`);
    }
  };
  const fails = async (config: string, test: Test, why: RegExp, flag = '') => {
    const said = await run(config, test, flag).then(
      () => 'no error',
      (error: Error) => error.message,
    );
    if (!why.test(said)) throw new Error(`${test} expected to fail with ${why}: ${said}`);
  };

  const NO_ES = /Cannot use import statement|Must use import|require\(\) of ES Module/;
  await fails('module.exports = {};', 'require.test.js', NO_ES);
  await fails('module.exports = {};', 'require.test.js', NO_ES, ES_FLAG);
  await fails('module.exports = {};', 'dynamic.test.js', /--experimental-vm-modules/);
  if (!command('NODE_OPTIONS=').includes(ES_FLAG)) throw new Error(`docs/commonjs.md does not name ${ES_FLAG}`);
  await passes(block('jest.config.js: ES modules'), ['es.test.mjs'], ES_FLAG);
  await passes('module.exports = {};', ['dynamic.test.js'], ES_FLAG);

  writeFileSync(`${folder}transform.js`, block('transform.js'));
  const typed: Test[] = ['require.test.js', 'import.test.js', 'types.test.ts', 'dynamic.test.js'];
  await passes(block('jest.config.js: esbuild'), [...typed, 'pool.test.js']);
  await passes(block('jest.config.js: @swc/jest'), [...typed, 'pool.test.js']);
  await passes(block('jest.config.js: ts-jest'), typed);
  await fails(block('jest.config.js: ts-jest'), 'pool.test.js', /import\.meta|Must use import/);

  writeFileSync(`${folder}babel.config.js`, block('babel.config.js'));
  await passes(block('jest.config.js: Babel'), ['require.test.js', 'import.test.js', 'dynamic.test.js']);
  await fails(block('jest.config.js: Babel'), 'pool.test.js', /import\.meta|Must use import/);
  rmSync(`${folder}babel.config.js`);

  const [, ...bundling] = command('npx esbuild').split(' ');
  await sh(`${root}node_modules/.bin/${bundling[0]}`, [...bundling.slice(1), '--log-level=error'], { cwd: folder });
  await passes(block('jest.config.js: a bundle'), ['alone.test.js']);
  return answer!;
}

async function vitest(): Promise<Answer> {
  const folder = `${work}vitest/`;
  project(folder);
  const text = TESTS['es.test.mjs'].replace(/^/, "import { test } from 'vitest';\n");
  writeFileSync(`${folder}es.test.ts`, text);
  // defaults, and not those of a folder above
  writeFileSync(`${folder}vitest.config.mjs`, 'export default {};\n');
  symlinkSync(`${root}node_modules/vitest`, `${folder}node_modules/vitest`);
  await sh(process.execPath, [`${root}node_modules/vitest/vitest.mjs`, 'run', '--root', folder, '--maxWorkers=1'], {
    cwd: folder,
  });
  return JSON.parse(readFileSync(`${folder}answer.json`, 'utf8'));
}

/** An error that was expected, and is none. */
const UNUSED = 'TS2578';

const NAMES = {
  infer: 'load',
  js: 'info',
  models: 'resnet',
  pool: 'pool',
  shards: 'runShards',
  weights: 'readSafetensors',
};

/** Every entry; a name that is not found, or has no type, is an error. */
const PROGRAM = `import { BatchNorm1d } from 'evenkeel';
${Object.entries(NAMES)
  .map(
    ([entry, name]) => `import { ${name} } from 'evenkeel/${entry}';
// @ts-expect-error
export const ${name}Is: number = ${name};
`,
  )
  .join('')}
const y: Float32Array = new BatchNorm1d(2).forward({ data: Float32Array.of(1, 2, 3, 5), shape: [2, 2] }).data;
export const rounded: string = [...y].map(Math.round).join();
`;

interface Row {
  readonly files: readonly string[];
  readonly options: string;
  /** Errors by version. */
  readonly cells: readonly (readonly [version: string, errors: string])[];
}

/** The page's table of TypeScript. */
function table(): Row[] {
  const [head, , ...rows] = page()
    .slice(page().indexOf('| file | `compilerOptions`'))
    .split('\n\n')[0]
    .split('\n')
    .map((line) => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '').trim()));
  const files: Record<string, string[]> = { CommonJS: ['a.ts'], 'ES module': ['a.mts'], either: ['a.ts', 'a.mts'] };
  return rows.map(([file, options, ...cells]) => ({
    files: files[file],
    options: options.replaceAll('`', ''),
    cells: cells.map((cell, i) => [head[i + 2], cell] as const),
  }));
}

async function typescript(): Promise<string> {
  const folder = `${work}typescript/`;
  project(folder);
  for (const name of ['a.ts', 'a.mts']) writeFileSync(folder + name, PROGRAM);
  const rows = table();
  const wrong: string[] = [];
  let count = 0;
  for (const { files, options, cells } of rows) {
    for (const [version, expected] of cells) {
      const tools = await packages(`typescript-${version}`, `typescript@${version}`);
      const shared = { strict: true, target: 'es2022', lib: ['es2022'], types: [], outDir: 'out' };
      const compilerOptions = { ...shared, ...JSON.parse(`{${options}}`) };
      writeFileSync(`${folder}tsconfig.json`, JSON.stringify({ compilerOptions, files }));
      rmSync(`${folder}out`, { recursive: true, force: true });
      const said = await sh(process.execPath, [`${tools}node_modules/typescript/bin/tsc`, '-p', '.'], {
        cwd: folder,
      }).catch((error: Error) => error.message);
      const codes = [...said.matchAll(/error (TS\d+)/g)].map(([, code]) => code);
      // an option that is refused has errors of imports behind it, and those have unused directives
      const [, refused] = /tsconfig\.json\(.*error (TS\d+)/.exec(said) ?? [];
      const got = refused ?? codes.find((code) => code !== UNUSED) ?? codes[0] ?? 'none';
      if (got !== expected) wrong.push(`TypeScript ${version}, ${files}, ${options}: ${got}, not ${expected}`);
      else if (got === 'none' && files[0] === 'a.ts' && !/bundler|preserve/.test(options)) {
        const answer = await sh(process.execPath, ['-p', "require('./out/a.js').rounded"], { cwd: folder });
        if (answer.trim() !== '-1,-1,1,1') wrong.push(`TypeScript ${version}, ${options}: ran to ${answer}`);
      }
      count++;
    }
  }
  if (count < 45) throw new Error(`docs/commonjs.md has a table of ${count} cells`);
  if (wrong.length) throw new Error(wrong.join('\n'));
  return 'types';
}

export const commonjs: (Host | Example)[] = [
  { name: 'CommonJS: Jest 29', heavy: true, run: () => jest(29, 'npm') },
  { name: 'CommonJS: Jest 30', heavy: true, run: () => jest(30, 'pnpm') },
  { name: 'CommonJS: vitest', run: vitest },
  { name: 'CommonJS: TypeScript 5.7 to 7.0', heavy: true, run: typescript },
];
