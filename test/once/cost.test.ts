// Files that would cost more than they are: how much a header may become.

import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { type Json, parseJson, parseMembers } from '../../src/formats/json.ts';
import { readSafetensors } from '../../src/weights/index.ts';

const text = (value: string) => new TextEncoder().encode(value);
const json = (value: string) => parseJson('test', 'text', text(value));

test('empty lists and objects cost a place, others no more than six times their text', () => {
  expect((json(`[${'{},[],'.repeat(1e6)}0]`) as unknown[]).length).toBe(2e6 + 1);
  const refused = 'test: text expected fewer lists, objects and keys for its length, got';
  for (const unit of ['[0],', '{"":0},', '[[0]],', '{"a":[1]},'])
    expect(() => json(`[${unit.repeat(6e6 / unit.length)}0]`)).toThrow(refused);
  expect(() => json(`{${Array.from({ length: 400_000 }, (_, i) => `"${i}":0`).join(',')}}`)).toThrow(refused);
});

test('texts, keys in ever other orders, and large tables have their price', () => {
  const refused = 'test: text expected fewer lists, objects and keys for its length, got';
  const many = (count: number, of: (i: number) => string) =>
    `[${Array.from({ length: count }, (_, i) => of(i)).join()}]`;
  expect(() => json(many(2e6, () => '"ab"'))).toThrow(refused);
  const swapped = (i: number) => {
    const keys = [...'abcdefghij'];
    for (let k = 0, rest = i; k < 8; rest = Math.floor(rest / (10 - k)), k++) {
      const other = k + (rest % (10 - k));
      [keys[k], keys[other]] = [keys[other], keys[k]];
    }
    return `{${keys.map((key) => `"${key}":0`).join()}}`;
  };
  expect(() => json(many(60_000, swapped))).toThrow(refused);
  expect((json(many(60_000, () => swapped(0))) as unknown[]).length).toBe(60_000);
  const table = (keys: number) => `{${Array.from({ length: keys }, (_, i) => `"k${i}":${i}`).join()}}`;
  for (const keys of [31, 32, 33, 1000]) {
    const object = json(table(keys)) as Record<string, number>;
    expect(Object.entries(object)).toEqual(Array.from({ length: keys }, (_, i) => [`k${i}`, i]));
    expect(() => json(`${table(keys).slice(0, -1)},"k7":0}`)).toThrow("expected each key once, got 'k7' again");
    expect('toString' in object).toBe(false);
  }
});

test('the config of a large model is read: thirty megabytes of nodes and weights', () => {
  const node = (i: number) => {
    const name = `StatefulPartitionedCall/model/block_${i}/conv/Conv2D`;
    const size = (value: number) => ({ size: `${value}` });
    const tensorShape = { dim: [size(3), size(3), size(64), size(64)] };
    const type = { type: 'DT_FLOAT' };
    const weight = {
      name: `${name}/weight`,
      op: 'Const',
      attr: { dtype: type, value: { tensor: { dtype: 'DT_FLOAT', tensorShape } } },
    };
    const strides = { list: { i: ['1', '2', '2', '1'] } };
    const attr = { T: type, strides, data_format: { s: 'TkhXQw==' }, epsilon: { f: 0.05 }, padding: { s: 'U0FNRQ==' } };
    return [weight, { name, op: 'Conv2D', input: [`${name}/weight`, `x${i}`], attr }];
  };
  const nodes = Array.from({ length: 56_000 }, (_, i) => node(i)).flat();
  const all = JSON.stringify({ modelTopology: { node: nodes } });
  expect(all.length).toBeGreaterThan(30e6);
  expect(json(all)).toEqual(JSON.parse(all));
});

test('lists of every length are whole', () => {
  for (const length of [0, 1, 4095, 4096, 4097, 10_000]) {
    const list = Array.from({ length }, (_, i) => (i % 3 ? i : [i, [i]]));
    expect(json(JSON.stringify([list, list]))).toEqual([list, list]);
  }
});

test('objects inherit no names, whatever they are called', () => {
  const object = json('{"__proto__": 1, "constructor": {}}') as Record<string, unknown>;
  expect([Object.entries(object)[0][1], Object.keys(object), 'toString' in object]).toEqual([
    1,
    ['__proto__', 'constructor'],
    false,
  ]);
  expect(() => json('{"toString": 1, "toString": 2}')).toThrow(
    "test: text expected each key once, got 'toString' again (offset 16)",
  );
  expect(json('["a\\u0041\\n", "plain", ""]')).toEqual(['aA\n', 'plain', '']);
  expect(() => json('["\t"]')).toThrow("test: text expected a string, got '\"' (offset 1)");
  expect(() => json(`[${'1'.repeat(401)}]`)).toThrow("test: text expected a value, got '1' (offset 1)");
});

test('tensors without end, and axes without end', () => {
  const file = (header: string) => {
    const bytes = new Uint8Array(8 + header.length);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
    bytes.set(text(header), 8);
    return bytes;
  };
  const empty = (name: string | number, shape: string) =>
    `"${name}":{"dtype":"F32","shape":[${shape}],"data_offsets":[0,0]}`;
  const many = Array.from({ length: 70_000 }, (_, i) => empty(i, '0')).join(',');
  expect(() => readSafetensors(file(`{${many}}`))).toThrow(
    'safetensors: header expected at most 49152 tensors, got 70000 (offset 8)',
  );
  expect(() => readSafetensors(file(`{${empty('a', `${'1,'.repeat(8192)}0`)}}`))).toThrow(
    /^safetensors: tensor 'a' expected at most 8192 axes, got 8193 \(offset \d+\)$/,
  );
});

test('a long header is parsed in pieces, and refused where it is wrong', () => {
  const value = ', "é": [{}, "]}\\\\\\"", [1]]';
  const member = (i: number) => `"k\\"${i}" : {"at": ${i}${value}}`;
  const many = Array.from({ length: 2000 }, (_, i) => member(i));
  const read = (header: string) => {
    const found = new Map<string, Json>();
    const left = parseMembers('test', 'text', text(header), 8, (key, one) => {
      if (found.has(key)) return false;
      found.set(key, one);
      return true;
    });
    return { found, left };
  };
  const whole = ` {${many.join(' , ')} } \n`;
  const { found, left } = read(whole);
  expect(Object.fromEntries(found)).toEqual(JSON.parse(whole));
  expect(Object.keys(left as object)).toEqual([]);
  const at = text(whole).length + 8;
  const all = many.join();
  for (const [header, message] of [
    [`{${all},}`, `expected a key, got '}' (offset ${9 + text(all).length + 1})`],
    [`${whole}x`, `expected the end, got 'x' (offset ${at})`],
    [`{${all}]`, "expected ',' or '}', got ']'"],
    [`{${all}`, "expected ',' or '}', got the end"],
    [`{${all},${member(7)}}`, "expected each key once, got 'k\"7' again"],
    [`{${all},,"a":1}`, "expected a key, got ','"],
    [`{${all},"a":[}`, "expected a value, got '}'"],
    [`{${all},"a`, 'expected the end of a string, got the end'],
    [`[${all}]`, "expected ',' or ']', got ':'"],
  ])
    expect(() => read(header), header.slice(-20)).toThrow(message);
  expect(read('[1, 2]')).toEqual({ found: new Map(), left: [1, 2] });
  expect(read('{}').found.size).toBe(0);
});

// Linux counts the memory of a process; the built package is measured, as a program has it
test.skipIf(process.platform !== 'linux')('a file of 16,000 norms is read and folded in 64 MB', () => {
  const program = new URL('../support/peak.mjs', import.meta.url).pathname;
  const peak = JSON.parse(execFileSync(process.execPath, [program], { encoding: 'utf8' }));
  expect(Object.keys(peak)).toEqual(['norms', 'header']);
  for (const megabytes of Object.values(peak)) expect(megabytes).toBeLessThan(64);
});
