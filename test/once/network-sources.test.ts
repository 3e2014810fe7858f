// Where networks of Keras and TF.js come from: files by name, paths, addresses, scripts.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import '../../src/index.ts';
import { bytesInScript, isScript, modelInScript } from '../../src/formats/script.ts';
import { Random } from '../../src/nn/random.ts';
import { type LoadedNetwork, loadNetwork } from '../../src/weights/index.ts';
import { answers, fixture, fixturePath, relative } from '../support/weights.ts';

const folder = mkdtempSync(join(tmpdir(), 'evenkeel-sources-'));
afterAll(() => rmSync(folder, { recursive: true }));

const text = (value: string) => new TextEncoder().encode(value);
const [json, shard] = [fixture('tfjs-layers/words.json'), fixture('tfjs-layers/words.bin')];
const want: number[] = answers('tfjs-layers/answers.json').words.outputs[0].data;

/** The answer of the network `words`, of TF.js. */
function check(net: LoadedNetwork): void {
  const data = Float32Array.from({ length: 10 }, (_, i) => (i * 7) % 10);
  expect(relative(net.compile()({ data, shape: [2, 5] }).data, want)).toBeLessThanOrEqual(1e-5);
}

/** JSON as minifiers write it: bare keys, !0 and !1, numbers without a leading 0. */
function minified(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(minified).join(',')}]`;
  if (typeof value === 'boolean') return value ? '!0' : '!1';
  if (typeof value === 'number') return `${value}`.replace(/^(-?)0\./, '$1.');
  if (typeof value === 'string') return `'${value}'`;
  if (value === null || typeof value !== 'object') return 'null';
  const entries = Object.entries(value).map(
    ([key, one]) => `${/^\w+$/.test(key) ? key : JSON.stringify(key)}:${minified(one)}`,
  );
  return `{${entries.join(',')}}`;
}
const bundle = (body: string) =>
  text(
    `!function(e){"object"==typeof exports?module.exports=e():self.model=e()}(function(){return{1:[function(e,t,n){t.exports=${body}},{}]}});\n`,
  );
const script = bundle(minified(JSON.parse(new TextDecoder().decode(json))));
const encoded = bundle(`"${Buffer.from(shard).toString('base64')}"`);

describe('a layers model of TF.js', () => {
  test('as files by name, in a record, a map, or a folder', async () => {
    check(await loadNetwork({ 'model.json': json, 'words.bin': shard }));
    check(
      await loadNetwork(
        new Map([
          ['words.bin', shard],
          ['model.json', json],
        ]),
      ),
    );
    check(await loadNetwork({ 'web/model.json': json, 'web/words.bin': shard }));
    check(await loadNetwork(json, { files: { 'words.bin': shard } }));
  });

  test('at a path, and a file URL', async () => {
    check(await loadNetwork(fixturePath('tfjs-layers/words.json')));
    check(await loadNetwork(pathToFileURL(fixturePath('tfjs-layers/words.json'))));
  });

  test('base64 of scripts is read in its place or elsewhere, with and without Node, whatever stands in it', () => {
    const random = new Random(4);
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
    const others = '=-_ ~\u00e9\u0100';
    let refused = 0;
    for (let i = 0; i < 400; i++) {
      const length = 16 + Math.floor(random.uniform() * 12);
      const wrong = i % 3 ? -1 : Math.floor(random.uniform() * (length + 3));
      const literal = Array.from({ length }, (_, k) => {
        const from = k === wrong ? others : letters;
        return from[Math.floor(random.uniform() * from.length)];
      }).join('');
      const script = text(`"use strict";module.exports="${literal}${'='.repeat(i % 4)}";it's="b"`);
      const read = (isOwn: boolean) => {
        try {
          return [...bytesInScript('TF.js', 'a', script.slice(), isOwn)];
        } catch (error) {
          refused++;
          return (error as Error).message;
        }
      };
      const found = read(false);
      if (typeof found !== 'string') expect(found).toEqual([...Buffer.from(literal, 'base64')]);
      expect(read(true)).toEqual(found);
      vi.stubGlobal('Buffer', undefined);
      const withoutHost = read(false);
      vi.unstubAllGlobals();
      expect(withoutHost).toEqual(found);
    }
    expect(refused).toBeGreaterThan(150);
    expect(refused).toBeLessThan(1050);
  });

  test('the object of a script is what a host reads there, however it is written', () => {
    const random = new Random(6);
    const one = <T>(...some: T[]): T => some[Math.floor(random.uniform() * some.length)];
    const space = () => one('', '', '', ' ', '\n\t', '/* {"\'*/', '// ]}\n');
    const texts = () =>
      one(
        "'a'",
        '"b"',
        '`c`',
        "'\u00e9\u4e2d'",
        `'"'`,
        `"it's"`,
        '"$"',
        "'$'",
        '`\\``',
        '"\\n\\u0041\\x42\\/"',
        '`\n\t`',
        '""',
      );
    const key = (i: number) =>
      one(`a${i}`, `$b_${i}`, `true${i}`, `e${i}`, `void${i}`, `'c d${i}'`, `"e\\"${i}"`, `"\u00fc${i}"`);
    const value = (depth: number): string => {
      const items = (item: (i: number) => string) => {
        const list = Array.from({ length: Math.floor(random.uniform() * 4) }, (_, i) => item(i));
        return list.join(',') + (list.length > 0 ? one('', ',') : '') + space();
      };
      if (depth > 0 && random.uniform() < 0.4) return `[${items(() => value(depth - 1))}]`;
      if (depth > 0 && random.uniform() < 0.6) {
        return `{${items((i) => `${space()}${key(i)}${space()}:${value(depth - 1)}`)}}`;
      }
      return `${space()}${one(texts(), '0', '12', '-.5', '+.25', '7.', '.5e-3', '1e21', '5.E2', '!0', '!1', 'void 0', 'undefined', 'null', 'true', 'false')}${space()}`;
    };
    for (let i = 0; i < 600; i++) {
      const literal = `{${one('', 'a:1,')}modelTopology:${value(4)},${one('', '"z":`\n`,')}}`;
      const want = JSON.stringify(new Function(`return ${literal}`)(), (_, value) => value ?? null);
      const found = modelInScript(text(`!function(){var q={a:1};return ${literal}}();`));
      if (!found) throw new Error(`none in ${literal}`);
      expect(JSON.stringify(JSON.parse(new TextDecoder().decode(found))), literal).toBe(want);
    }
  });

  test('a script whose object needs to be run has no model', () => {
    for (const value of [
      't',
      'f()',
      ['`', '{a}`'].join('$'),
      '"a',
      "'a\n'",
      '/a/',
      '1n',
      '0x10',
      '!2',
      'a=>a',
      'void 1',
      '(1)',
      '1 + 1',
      '1 +1',
      '[1 2]',
      '[1 /**/ 2]',
      '+"5"',
      '+!0',
      '.',
      '..5',
      '[...[1]]',
      '"a"+"b"',
      '"a" "b"',
      'a[0]',
      '5 .5',
      '/*',
      '//',
    ])
      expect(modelInScript(text(`x={modelTopology:${value},a:1}`)), value).toBeUndefined();
  });

  test('the object with weights is the model, where another one has a key of it', () => {
    const script = 'var none={modelTopology:null};export default {modelTopology:{a:1},weightsManifest:[]}';
    expect(new TextDecoder().decode(modelInScript(text(script)))).toBe(
      '{"modelTopology":{"a":1},"weightsManifest":[]}',
    );
  });

  test('in scripts, as packages ship them, of which nothing is run', async () => {
    expect(isScript(script)).toBe(true);
    expect(JSON.parse(new TextDecoder().decode(modelInScript(script)))).toEqual(
      JSON.parse(new TextDecoder().decode(json)),
    );
    check(await loadNetwork({ 'model.min.js': script, 'words.bin.min.js': encoded }));
    writeFileSync(join(folder, 'model.js'), script);
    writeFileSync(join(folder, 'words.bin.js'), encoded);
    check(await loadNetwork(join(folder, 'model.js')));
    const wrong = { 'model.js': script, 'words.bin.js': text('module.exports="not base64 at all, is it?"') };
    await expect(loadNetwork(wrong)).rejects.toThrow(
      "TF.js: shard 'words.bin.js' expected base64, got byte 32 (offset 19)",
    );
    const empty = { 'model.js': script, 'words.bin.js': text('module.exports=1') };
    await expect(loadNetwork(empty)).rejects.toThrow(
      "TF.js: shard 'words.bin.js' expected a script with base64, got none (offset 0)",
    );
  });

  test('a shard that is missing, or lies out of the folder', async () => {
    await expect(loadNetwork({ 'model.json': json })).rejects.toThrow(
      "TF.js: shard 'words.bin' expected its bytes, got none",
    );
    const evil = text(new TextDecoder().decode(json).replace('"words.bin"', '"../words.bin"'));
    await expect(loadNetwork({ 'model.json': evil, '../words.bin': shard })).rejects.toThrow(
      "TF.js: shard '../words.bin' expected a file beside the model, got a path out of its folder (offset 0)",
    );
  });
});

describe('an address', () => {
  let server: Server;
  let address = '';
  beforeAll(async () => {
    server = createServer((request, response) => {
      const name = request.url!.replace(/^\/|\?.*$/g, '');
      const found: Record<string, Uint8Array> = { 'web/model.json': json, 'web/words.bin': shard };
      if (name === 'broken.json') response.writeHead(500).end();
      else if (found[name]) response.end(found[name]);
      else response.writeHead(404).end();
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((done) => server.close(done)));

  test('gives the model and the shards beside it', async () => {
    check(await loadNetwork(`${address}/web/model.json?v=1`));
    check(await loadNetwork(new URL(`${address}/web/model.json`)));
  });

  test('that gives nothing is an error', async () => {
    await expect(loadNetwork(`${address}/none.json`)).rejects.toThrow(
      `'${address}/none.json' expected a file at this address, got none`,
    );
    await expect(loadNetwork(`${address}/broken.json`)).rejects.toThrow(
      'expected a file at this address, got status 500',
    );
  });
});

describe('an error of a file', () => {
  const broken = Uint8Array.of(8, 8, 255);

  test('has the name of a path behind its place', async () => {
    const path = join(folder, 'broken.onnx');
    writeFileSync(path, broken);
    for (const named of [path, pathToFileURL(path)])
      await expect(loadNetwork(named)).rejects.toThrow(/^ONNX: .* \(offset \d+, loading 'broken\.onnx'\)$/);
    for (const other of [broken, { 'broken.onnx': broken }])
      await expect(loadNetwork(other)).rejects.toThrow(/ \(offset \d+\)$/);
  });

  test('of a value that the caller gave has none', async () => {
    const files = { 'model.json': json, 'words.bin': shard };
    await expect(loadNetwork(files, { outputs: ['none'] })).rejects.toThrow(/got 'none'$/);
  });
});

describe('a config of Keras beside its weights', () => {
  const whole = gunzipSync(fixture('keras-networks/words.h5.gz'));
  /** The config that the file has inside. */
  const config = async () => {
    const { readKeras } = await import('../../src/weights/index.ts');
    return text(JSON.stringify((await readKeras(whole)).config));
  };
  const data = Float32Array.from({ length: 5 }, (_, i) => (i * 7) % 10);
  const answer: number[] = answers('keras-networks/answers.json').words.outputs[0].data;
  const same = (net: LoadedNetwork) =>
    expect(relative(net.compile()({ data, shape: [1, 5] }).data, answer)).toBeLessThanOrEqual(1e-5);

  test('under one of the usual names, or the one file that there is', async () => {
    const own = await config();
    for (const name of ['model.weights.h5', 'net_weights.h5', 'net.h5']) {
      const net = await loadNetwork(own, { files: { [name === 'net.h5' ? 'model.h5' : name]: whole } });
      same(net);
      expect(net.report.assumed[0]).toMatch(/^weights of the file '/);
    }
    writeFileSync(join(folder, 'words.json'), own);
    writeFileSync(join(folder, 'words.weights.h5'), whole);
    same(await loadNetwork(join(folder, 'words.json')));
  });

  test('without weights is an error that says their names', async () => {
    await expect(loadNetwork({ 'net.json': await config() })).rejects.toThrow(
      "Keras: config expected its weights in one of the files 'net.weights.h5', 'net.h5', 'net.hdf5', 'net_weights.h5', got none (offset 0)",
    );
  });

  test('weights without a config are an error that says the way out', async () => {
    const alone = readFileSync(fixturePath('keras/chain.new.weights.h5'));
    await expect(loadNetwork(alone)).rejects.toThrow('Keras: config expected a network with layers, got weights alone');
  });
});

describe('outputs and constants', () => {
  test('layers by name end the network', async () => {
    const net = await loadNetwork({ 'model.json': json, 'words.bin': shard }, { outputs: ['flatten_Flatten2'] });
    expect(net.outputs).toEqual([{ name: 'flatten_Flatten2', shape: [null, 20] }]);
    await expect(loadNetwork({ 'model.json': json, 'words.bin': shard }, { outputs: ['none'] })).rejects.toThrow(
      "loadNetwork: outputs expected names of layers of the network, got 'none'",
    );
  });
});
