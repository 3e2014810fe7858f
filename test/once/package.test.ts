// The built package, as programs outside see it.

import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { instantiateSync } from '@assemblyscript/loader';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BUDGETS, measure } from '../../scripts/sizes.mjs';
import * as library from '../../src/index.ts';
import { KERNEL_NAMES } from '../../src/kernels/table.ts';
import * as models from '../../src/models/index.ts';
import { KERNELS } from '../../src/provided.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const node = (...args: string[]) => execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' });

describe('the package', () => {
  const modules = (readdirSync(join(root, 'dist'), { recursive: true }) as string[]).filter(
    (name) => name.endsWith('.js') && !name.startsWith('cli'),
  );

  test('can be required as well as imported: no top-level await', () => {
    const use =
      'const y = new k.BatchNorm1d(2).forward({ data: Float32Array.of(1, 2, 3, 5), shape: [2, 2] }); console.log([...y.data].map(Math.round).join());';
    expect(node('--input-type=commonjs', '-e', `const k = require('evenkeel'); ${use}`).trim()).toBe('-1,-1,1,1');
    expect(node('--input-type=module', '-e', `import * as k from 'evenkeel'; ${use}`).trim()).toBe('-1,-1,1,1');
  });

  test('imports nothing, no module of Node, and knows no file of its own', () => {
    expect(modules.length).toBeGreaterThan(8);
    for (const name of modules) {
      const text = readFileSync(join(root, 'dist', name), 'utf8');
      const imported = [...text.matchAll(/(?:\bfrom|\bimport)\s*["']([^"']+)["']/g)].map((match) => match[1]);
      expect(imported.filter((from) => !/^(\.|#wasm$)/.test(from))).toEqual([]);
      // a pool's worker is a module beside it
      if (name !== join('pool', 'index.js')) expect(text).not.toMatch(/import\.meta/);
    }
  });

  test('everything that package.json promises is there', () => {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const targets = [...Object.values(manifest.exports), ...Object.values(manifest.imports)].flatMap((entry) =>
      typeof entry === 'string' ? [entry] : Object.values(entry as object),
    );
    for (const target of targets) expect([target, existsSync(join(root, target as string))]).toEqual([target, true]);
    expect(manifest.dependencies).toBeUndefined();
  });

  test('resolution that knows no exports finds the same types', () => {
    const { types, typesVersions, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const entries = Object.entries(exports as Record<string, { types?: string }>);
    const typed = entries.filter(([name, { types }]) => types && !name.endsWith('.wasm'));
    const older = Object.entries(typesVersions['*'] as Record<string, string[]>);
    const found = [['.', types], ...older.map(([name, [file]]) => [`./${name}`, file])];
    expect(found).toEqual(typed.map(([name, { types }]) => [name, types]));
  });
});

describe('installed from its tarball in an empty folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const run = (file: string, ...args: string[]) => execFileSync(file, args, { cwd: folder, encoding: 'utf8' });
  const tsc = (...args: string[]) => {
    const strict = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022'];
    return run(process.execPath, join(root, 'node_modules/typescript/bin/tsc'), ...strict, ...args);
  };
  let files: { path: string; size: number }[];
  let tarball: string;

  beforeAll(() => {
    writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }');
    const [packed] = JSON.parse(run('npm', 'pack', root, '--ignore-scripts', '--json'));
    ({ files, filename: tarball } = packed);
    run('npm', 'install', '--offline', '--no-audit', '--no-fund', `./${tarball}`);
  });

  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const [, code] = /```js\n(.*?)```/s.exec(readme)!;

  test("the README's ten lines run as they stand, and say what it says they say", () => {
    const lines = code.split('\n').filter((line) => line.trim() !== '');
    expect(lines.length).toBeLessThanOrEqual(14);
    const expected = lines.filter((line) => line.includes('console.log')).map((line) => line.split('// ')[1]);
    expect(expected.length).toBeGreaterThan(0);
    writeFileSync(join(folder, 'lines.mjs'), code);
    expect(run(process.execPath, 'lines.mjs').trim().split('\n')).toEqual(expected);
  });

  test('they are strict TypeScript as well', () => {
    writeFileSync(join(folder, 'lines.mts'), code);
    tsc('--lib', 'es2022,esnext.disposable,dom', 'lines.mts');
  });

  test('types name no internal member', () => {
    const internal = [
      'trace',
      'traceAll',
      'wiring',
      'stateSlots',
      'checkpoint',
      'channelAxis',
      'named',
      'checkForward',
      'forget',
      'fused',
    ];
    const lines = [...internal, 'checkSaved', 'isWatched', 'estimator', 'averages', 'watch', 'settings'].map(
      (name) => `// @ts-expect-error\nbn.${name};`,
    );
    writeFileSync(
      join(folder, 'internal.mts'),
      `import { BatchNorm2d } from 'evenkeel';\nconst bn = new BatchNorm2d(2);\nbn.forward;\nbn.options;\n${lines.join('\n')}\n`,
    );
    tsc('--lib', 'es2022', 'internal.mts');
  });

  test('options compile, and misuse of every public class does not', () => {
    for (const name of ['misuse', 'options'])
      copyFileSync(join(root, `test/types/${name}.ts`), join(folder, `${name}.mts`));
    // no browser, no Node, nothing that is not finished
    tsc('--lib', 'es2022', 'misuse.mts', 'options.mts');
    const text = readFileSync(join(root, 'test/types/misuse.ts'), 'utf8');
    const refused = [...text.matchAll(/@ts-expect-error.*\n(.*)/g)].map(([, line]) => line).join('\n');
    const types = readFileSync(join(root, 'api/evenkeel.api.md'), 'utf8');
    const classes = [...types.matchAll(/^export (?:abstract )?class (\w+)/gm)].map(([, name]) => name);
    expect(classes.length).toBeGreaterThan(30);
    expect(classes.filter((name) => !new RegExp(`\\b${name}\\b`).test(refused))).toEqual([]);
  });

  test('types need no browser: Node alone will do', () => {
    const text = `import { BatchNorm1d, foldConv, init, Linear, Sequential } from 'evenkeel';
import { load } from 'evenkeel/infer';
import { BatchNorm2d } from 'evenkeel/js';
import { mobilenetV2, type ResNetOptions, resnet } from 'evenkeel/models';
import simd from 'evenkeel/simd.wasm';
import { type Pool, pool } from 'evenkeel/pool';
import { fromTorch, readSafetensors } from 'evenkeel/weights';
import { readFileSync } from 'node:fs';
await init({ module: simd });
const net = new Sequential(new Linear(2, 2), new BatchNorm1d(2), new BatchNorm2d(2));
net.loadStateDict(fromTorch(readSafetensors(readFileSync('x')).tensors, { layer: net }).state);
const run = load(net.compile({ maxBatch: 4 }).save());
const y: Float32Array = run({ data: new Float32Array(2), shape: [1, 2] }).data;
const { certificate } = foldConv({ weight: y, shape: [2, 2, 1], padding: 'same' }, { scale: [1, 2] });
export const bound: Float64Array = certificate.bound(1);
const options: ResNetOptions = { classes: 10, norm: (channels) => new BatchNorm2d(channels) };
resnet(18, options).backward(resnet(50).forward({ data: y, shape: [1, 3, 8, 8] }), { inputGradient: false });
await using p: Pool = await pool(new URL('net.safetensors', import.meta.url), { workers: 2 });
const answer: number[] = (await p.run({ data: y, shape: [1, 2] }, { signal: AbortSignal.timeout(9) })).shape;
for await (const { data } of p.map([{ data: y, dims: answer }])) data.fill(0);
export const logits: Float32Array = mobilenetV2().compile()({ data: y, shape: [1, 3, 8, 8] }).data;
`;
    writeFileSync(join(folder, 'use.mts'), text);
    const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types')];
    tsc('--lib', 'es2022', ...types, 'use.mts');
    writeFileSync(
      join(folder, 'weights.mts'),
      "export * from 'evenkeel/weights';\nexport * from 'evenkeel/infer';\nexport * from 'evenkeel/pool';\n",
    );
    tsc('--lib', 'es2022', 'weights.mts');
  });

  test('holds what programs need, in less than 1.5 MB, and needs nothing else', () => {
    expect(files.filter(({ path }) => !/^(dist\/|README|LICENSE|package\.json)/.test(path))).toEqual([]);
    expect(files.reduce((sum, { size }) => sum + size, 0)).toBeLessThan(1_500_000);
    expect(readdirSync(join(folder, 'node_modules')).filter((name) => !name.startsWith('.'))).toEqual(['evenkeel']);
  });

  test('shards say which package is missing or of another version, and how to install it', () => {
    writeFileSync(
      join(folder, 'shards.mjs'),
      `import { runOnBullMQ } from 'evenkeel/shards';
const task = { name: 't', version: '1', shard() {}, merge() {}, encode() {} };
const manifest = { shards: [{ key: 'a', input: 1 }] };
await runOnBullMQ({ connection: 'redis://127.0.0.1:1', manifest, task }).catch(({ code, message }) => console.log(code, message));
`,
    );
    const said = () => run(process.execPath, 'shards.mjs').trim();
    expect(said()).toBe('ERR_PEER runOnBullMQ: the package expected bullmq, got none (npm install bullmq)');
    const peer = join(folder, 'node_modules/bullmq');
    mkdirSync(peer);
    writeFileSync(
      join(peer, 'package.json'),
      '{ "name": "bullmq", "version": "5.9.0", "type": "module", "main": "index.js" }',
    );
    writeFileSync(join(peer, 'index.js'), 'export class Queue {}');
    expect(said()).toBe(
      'ERR_PEER runOnBullMQ: the package bullmq expected version 6, got version before 6 (npm install bullmq@6)',
    );
    writeFileSync(join(peer, 'index.js'), 'export const BULLMQ_MAJOR_VERSION = 6;');
    expect(said()).toBe('ERR_PEER runOnBullMQ: the package expected ioredis, got none (npm install ioredis)');
    rmSync(peer, { recursive: true });
  });

  test('is what publint and attw expect', () => {
    const tool = (name: string, ...args: string[]) =>
      execFileSync(join(root, 'node_modules/.bin', name), args, { cwd: root, encoding: 'utf8' });
    expect(tool('publint', join(folder, tarball), '--strict')).toContain('All good!');
    // exits with an error for what this profile does not ignore
    expect(tool('attw', join(folder, tarball), '--profile', 'esm-only', '--format', 'ascii')).toContain('evenkeel v');
  });
});

describe('a bundle', () => {
  test.each(BUDGETS)('of $name stays within $budget bytes', async ({ code, budget }) => {
    const { gzip } = await measure(code);
    expect(gzip).toBeLessThanOrEqual(budget);
  });

  const names = (...list: string[]) => `export { ${list.join(', ')} } from 'evenkeel'`;
  const kernelsIn = async (code: string) => (await measure(code)).parts.kernels ?? 0;

  test('that serves compiled networks holds nothing that trains', async () => {
    const { text } = await measure("export { load } from 'evenkeel/infer'");
    expect(text).toContain('affine_ncx_f32');
    for (const word of ['grad_', 'stats_ncx', 'runningMean', 'loadStateDict', 'setThreads'])
      expect(text).not.toContain(word);
  });

  test('that reads safetensors holds no kernel, and neither does evenkeel/js', async () => {
    expect(await kernelsIn("export { readSafetensors, fromTorch } from 'evenkeel/weights'")).toBe(0);
    expect(await kernelsIn("export * from 'evenkeel/js'")).toBe(0);
  });

  test('of any name that runs kernels brings them', async () => {
    for (const name of Object.keys(library) as (keyof typeof library)[])
      expect([name, (await kernelsIn(names(name))) > 5000]).toEqual([name, KERNELS[name].length > 0]);
    for (const name of Object.keys(models))
      expect([name, await kernelsIn(`export { ${name} } from 'evenkeel/models'`)]).toEqual([
        name,
        expect.toSatisfy((bytes) => bytes > 10_000),
      ]);
    expect(await kernelsIn("export { loadSequential } from 'evenkeel/weights'")).toBeGreaterThan(10_000);
  });
});

test('the debug build has every kernel', () => {
  const folder = mkdtempSync(join(tmpdir(), 'evenkeel-'));
  try {
    const file = join(folder, 'debug.wasm');
    node(
      'node_modules/assemblyscript/bin/asc.js',
      '--target',
      'debug',
      '--outFile',
      file,
      '--textFile',
      join(folder, 'debug.wat'),
    );
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65535 });
    const { exports } = instantiateSync(readFileSync(file), { env: { memory } });
    expect(Object.keys(exports)).toEqual(expect.arrayContaining(KERNEL_NAMES));
    const values = new Float32Array(memory.buffer, 64, 3);
    values.set([-1, 2, Number.NaN]);
    // relu
    (exports as unknown as Record<string, (...args: number[]) => void>).activate_f32(64, 64, 1, 0, 3);
    expect([...values]).toEqual([0, 2, Number.NaN]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
