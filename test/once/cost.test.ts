// Files that would cost more than they are: how much a header may become.

import { expect, test } from 'vitest';
import { parseJson } from '../../src/formats/json.ts';
import { readSafetensors } from '../../src/weights/index.ts';

const text = (value: string) => new TextEncoder().encode(value);
const json = (value: string) => parseJson('test', 'text', text(value));

test('empty lists and objects cost nothing, others no more than ten times their text', () => {
  expect((json(`[${'{},[],'.repeat(1e6)}0]`) as unknown[]).length).toBe(2e6 + 1);
  const refused = 'test: text expected fewer lists, objects and keys for its length, got';
  for (const unit of ['[0],', '{"":0},', '[[0]],', '{"a":[1]},'])
    expect(() => json(`[${unit.repeat(6e6 / unit.length)}0]`)).toThrow(refused);
  expect(() => json(`{${Array.from({ length: 400_000 }, (_, i) => `"${i}":0`).join(',')}}`)).toThrow(refused);
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
    'safetensors: header expected at most 65536 tensors, got 70000 (offset 8)',
  );
  expect(() => readSafetensors(file(`{${empty('a', `${'1,'.repeat(8192)}0`)}}`))).toThrow(
    /^safetensors: tensor 'a' expected at most 8192 axes, got 8193 \(offset \d+\)$/,
  );
});
