// examples/direction end to end: behind node:http, as a Worker and in Lambda, in a page's worker,
// and with other last layers. The small network always, that of an npm package where npm is in
// reach.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { loadDigits } from '../../examples/digits/data.ts';
import { fineTune } from '../../examples/direction/fine-tune.ts';
import { type Bundle, compileFor, lambdaBundle, workerBundle } from '../../examples/direction/functions/bundle.ts';
import { type Model, type Opened, openDirection, packaged, SMALL } from '../../examples/direction/model.ts';
import { pageFiles } from '../../examples/direction/page/files.ts';
import type { Told } from '../../examples/direction/page/worker.ts';
import { type Direction, inputOf, type Picture } from '../../examples/direction/pixels.ts';
import { startServer } from '../../examples/direction/server.ts';
import { digitAt, pictureOf } from '../../examples/direction/turned.ts';

const digits = loadDigits();
const small = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => pictureOf(digitAt(digits.test, i, i % 2 === 1)));
/** Something like a line of text: strokes on white. */
const line: Picture = {
  data: Uint8Array.from({ length: 4 * 150 * 40 }, (_, i) => {
    const [x, y] = [(i >> 2) % 150, Math.floor((i >> 2) / 150)];
    return i % 4 !== 3 && y > 8 && y < 32 && (x * 7 + (y >> 3) * 5) % 13 < 4 ? 20 : 255;
  }),
  width: 150,
  height: 40,
};

let model: Model | undefined;
let why = '';
try {
  model = packaged();
} catch (error) {
  why = `npm is out of reach: ${(error as Error).message.split('\n')[0]}`;
  console.log(`skipped: ${why}`);
}

/** Are these the same directions? Weights of the functions have half the digits. */
function expectAlike(got: Direction, expected: Direction, digits = 6): void {
  expect(got.map(({ degrees }) => degrees)).toEqual(expected.map(({ degrees }) => degrees));
  got.forEach(({ probability }, i) => {
    expect(probability).toBeCloseTo(expected[i].probability, digits);
  });
}

test('pictures are brought to their size: as wide as they are high, black behind', () => {
  const { data, shape } = inputOf({ data: new Uint8Array(4 * 8).fill(255), width: 4, height: 2 }, [3, 4, 10]);
  expect(shape).toEqual([1, 3, 4, 10]);
  expect(Array.from(data.subarray(0, 10))).toEqual([1, 1, 1, 1, 1, 1, 1, 1, -1, -1]);
  const colour = inputOf({ data: Uint8Array.of(255, 0, 51, 255), width: 1, height: 1 }, [3, 1, 1]).data;
  expect(Array.from(colour, (value) => Math.round(value * 10) / 10)).toEqual([-0.6, -1, 1]);
});

const cases: [string, Model | undefined, readonly Picture[]][] = [
  ['the small network', SMALL, small],
  ['the network of an npm package', model, [line]],
];
describe.each(cases)('%s', (_, given, pictures) => {
  const skip = given === undefined;
  let expected: Direction[] = [];
  let opened: Opened;
  beforeAll(async () => {
    if (skip) return;
    opened = await openDirection(given);
    expected = pictures.map((picture) => opened.direction(picture));
  });

  test.skipIf(skip)('gives probabilities', () => {
    for (const one of expected) expect(one.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 5);
    if (given === SMALL) expect(expected.map(([{ degrees }]) => degrees)).toEqual([0, 90, 0, 90, 0, 90, 0, 90]);
  });

  test.skipIf(skip)('answers behind node:http, and refuses what is no picture', async () => {
    const server = await startServer(given!, 0);
    const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const post = (query: string, body: Uint8Array) =>
      fetch(`${at}/direction?${query}`, { method: 'POST', body: body as never });
    try {
      for (const [i, { data, width, height }] of pictures.entries()) {
        const response = await post(`width=${width}&height=${height}`, Uint8Array.from(data));
        expect(response.status).toBe(200);
        const { direction, ms } = (await response.json()) as { direction: Direction; ms: number };
        expect(direction).toEqual(expected[i]);
        expect(ms).toBeGreaterThan(0);
      }
      const refused: [string, number, number, string][] = [
        ['width=0&height=4', 8, 400, 'width expected a whole number from 1 to 4096, got 0'],
        ['width=2&height=2', 17, 413, 'a picture expected 16 bytes, got more'],
        ['width=2&height=2', 15, 400, 'a picture expected 16 bytes, got 15'],
      ];
      for (const [query, size, status, error] of refused) {
        const response = await post(query, new Uint8Array(size));
        expect([response.status, await response.json()]).toEqual([status, { error }]);
      }
      for (const name of ['', 'page.js', 'worker.js', 'model.onnx', 'degrees.json'])
        expect((await fetch(`${at}/${name}`)).status, name).toBe(200);
      expect((await fetch(`${at}/nothing`)).status).toBe(404);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  test.skipIf(skip)('runs in a page’s worker, which fetches it', async () => {
    const server = await startServer(given!, 0);
    const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    // a worker of the web, as far as the script knows one
    const shim = `import { parentPort } from 'node:worker_threads';
      globalThis.postMessage = (value) => parentPort.postMessage(value);
      globalThis.addEventListener = (_, listener) => parentPort.on('message', (data) => listener({ data }));
      delete globalThis.process.getBuiltinModule;
      await import('data:text/javascript;base64,${Buffer.from((await pageFiles()).get('worker.js')!).toString('base64')}');`;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(shim)}`));
    const ask = (asked: object) =>
      new Promise<Told>((resolve, reject) => {
        worker.once('message', resolve);
        worker.once('error', reject);
        worker.postMessage(asked);
      });
    try {
      expect(await ask({ picture: pictures[0] })).toEqual({ error: 'a picture came before the network' });
      expect(await ask({ model: `${at}/model.onnx`, degrees: given!.degrees })).toEqual({ ready: true });
      for (const [i, picture] of pictures.entries()) {
        const told = (await ask({ picture })) as { direction: Direction };
        expect(told.direction).toEqual(expected[i]);
      }
    } finally {
      await worker.terminate();
      server.close();
      server.closeAllConnections();
    }
  });

  describe.skipIf(skip)('as functions', () => {
    let folder = '';
    let child: ChildProcess | undefined;
    beforeEach(async () => {
      await compileFor(given!);
      folder = mkdtempSync(join(tmpdir(), 'evenkeel-direction-'));
    });
    afterEach(() => {
      child?.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    });
    const placed = (bundle: Bundle) => {
      for (const [name, bytes] of bundle) writeFileSync(join(folder, name), bytes);
      return [...bundle.values()].reduce((sum, bytes) => sum + gzipSync(bytes).length, 0);
    };
    /** What a program prints that is alone with the bundle. */
    const run = (program: string, ...args: string[]) =>
      new Promise<string>((resolve, reject) => {
        writeFileSync(join(folder, 'main.mjs'), program);
        child = spawn(process.execPath, [...args, 'main.mjs'], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
        let [out, said] = ['', ''];
        child.stdout!.on('data', (chunk) => (out += chunk));
        child.stderr!.on('data', (chunk) => (said += chunk));
        child.once('exit', (code) => (code === 0 ? resolve(out) : reject(new Error(said))));
      });
    const queries = () => pictures.map(({ width, height }) => ({ width: `${width}`, height: `${height}` }));
    const bodies = () => pictures.map(({ data }) => Buffer.from(data).toString('base64'));

    test('Lambda: one file, alone in a folder', async () => {
      const bundle = await lambdaBundle();
      expect([...bundle.keys()]).toEqual(['lambda.js']);
      const size = placed(new Map([['lambda.mjs', bundle.get('lambda.js')!]]));
      expect(size).toBeLessThan(3_000_000);
      const events = queries().map((queryStringParameters, i) => ({
        queryStringParameters,
        body: bodies()[i],
        isBase64Encoded: true,
      }));
      const text = await run(`import { handler } from './lambda.mjs';
        const answers = [];
        for (const event of ${JSON.stringify([...events, { queryStringParameters: { width: '3' } }])}) answers.push(await handler(event));
        console.log(JSON.stringify(answers));`);
      const answers = JSON.parse(text) as { statusCode: number; body: string }[];
      expect(answers.at(-1)).toMatchObject({ statusCode: 400, body: expect.stringMatching(/height expected/) });
      answers.slice(0, -1).forEach(({ statusCode, body }, i) => {
        expect(statusCode).toBe(200);
        expectAlike(JSON.parse(body).direction, expected[i], 2);
      });
    });

    test('a Worker: no WebAssembly from bytes, and no more than 3 MB in all', async () => {
      const bundle = await workerBundle();
      const size = placed(bundle);
      expect(size).toBeLessThan(3_000_000);
      const names = [...bundle.keys()];
      expect(names[0]).toBe('worker.js');
      expect(names.filter((name) => name.endsWith('.wasm')).length).toBeGreaterThan(0);
      expect(readFileSync(join(folder, 'worker.js'), 'utf8')).not.toContain('node:');
      writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
      // modules come compiled, data as bytes, and nothing else is compiled
      writeFileSync(
        join(folder, 'hooks.mjs'),
        `import { readFile } from 'node:fs/promises';
        export async function load(url, context, next) {
          if (!/\\.(?:wasm|evenkeel)$/.test(url)) return next(url, context);
          const text = (await readFile(new URL(url))).toString('base64');
          const bytes = \`Uint8Array.from(atob('\${text}'), (c) => c.charCodeAt(0))\`;
          const value = url.endsWith('.wasm') ? \`new WebAssembly.Module(\${bytes})\` : \`\${bytes}.buffer\`;
          return { format: 'module', shortCircuit: true, source: \`export default \${value};\` };
        }`,
      );
      const relaxed = names.find((name) => /^relaxed.*\.wasm$/.test(name))!;
      const flags = WebAssembly.validate(bundle.get(relaxed) as never) ? [] : ['--experimental-wasm-relaxed-simd'];
      const program = `import { register } from 'node:module';
        register('./hooks.mjs', import.meta.url);
        const { default: worker } = await import('./worker.js');
        // Node itself compiles some
        const check = () => { if (new Error().stack.includes('worker.js')) throw new Error('code generation from bytes'); };
        for (const name of ['compile', 'Module'])
          WebAssembly[name] = new Proxy(WebAssembly[name], {
            apply: (...all) => (check(), Reflect.apply(...all)),
            construct: (...all) => (check(), Reflect.construct(...all)),
          });
        const [queries, bodies] = ${JSON.stringify([queries(), bodies()])};
        const answers = [];
        for (const [i, query] of queries.entries()) {
          const url = 'https://example.com/?' + new URLSearchParams(query);
          const response = await worker.fetch(new Request(url, { method: 'POST', body: Buffer.from(bodies[i], 'base64') }));
          answers.push({ status: response.status, ...(await response.json()) });
        }
        const wrong = await worker.fetch(new Request('https://example.com/?width=3&height=2', { method: 'POST', body: 'x' }));
        console.log(JSON.stringify([...answers, { status: wrong.status, ...(await wrong.json()) }]));`;
      const text = await run(program, ...flags);
      const answers = JSON.parse(text) as { status: number; direction: Direction; backend: string }[];
      expect(answers.pop()).toEqual({ status: 400, error: 'a picture expected 24 bytes, got 1' });
      answers.forEach(({ status, direction, backend }, i) => {
        expect([status, backend]).toEqual([200, expect.stringMatching(/simd|relaxed/)]);
        expectAlike(direction, expected[i], 2);
      });
    });
  });
});

test('other last layers learn another task, with the batch norms frozen', async () => {
  const before = await openDirection(SMALL);
  const { network, accuracy, learned } = await fineTune(digits);
  expect(accuracy).toBeGreaterThan(0.9);
  expect(learned).toBe(32 * 16 * 9 + 32 * 10 + 10);
  const [state, old] = [network.stateDict(), before.network.stateDict()];
  for (const name of Object.keys(old)) {
    if (name.startsWith('head')) continue;
    const now = state[`trunk.${name}`];
    if (name.startsWith('conv3')) expect(now.data).not.toEqual(old[name].data);
    else expect([name, now.data]).toEqual([name, old[name].data]);
  }
}, 60_000);
