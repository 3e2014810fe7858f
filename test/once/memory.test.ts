// What takes a process of its own: kernels that are loaded late, and what collections leave alone.

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import inferenceText from '../../src/wasm/generated/inference.ts';
import unpackerBytes from '../../src/wasm/generated/unpack.ts';
import { LinearMemory } from '../../src/wasm/linear-memory.ts';
import { packedSource } from '../../src/wasm/packed.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const program = (code: string, ...flags: string[]) =>
  execFileSync(process.execPath, [...flags, '--input-type=module', '-e', code], { cwd: root, encoding: 'utf8' }).trim();

test('kernels that nobody has used before load where memory stands beyond 2 GiB, threads as well', () => {
  const run = `
    const x = { data: Float32Array.from({ length: 12 }, (_, i) => i * i), shape: [2, 6] };
    const results = () => [
      new LayerNorm(6).forward(x),
      new BatchNorm1d(6).forward(x),
      new Linear(6, 2, { seed: 1 }).forward(x),
      new BatchNorm1d(6).forward({ data: x.data, shape: [2, 6, 1] }, { lengths: [1, 1] }),
      (setThreads(2), new GroupNorm(2, 6).forward(x)),
    ].map(({ data }) => [...data]);`;
  const imports = "import { BatchNorm1d, close, GroupNorm, LayerNorm, Linear, setThreads, Tensor } from 'evenkeel';";
  const print = 'console.log(JSON.stringify(results())); await close();';
  const low = program(`${imports}${run}${print}`);
  const high = program(`${imports}${run} new Tensor([537e6]).dispose(); const low = new Tensor([536e6]); ${print}`);
  expect(JSON.parse(high)).toEqual(JSON.parse(low));
});

test('a tensor lives as long as its data are held, and no longer', () => {
  const found = program(
    `import { info, tensor, zeros } from 'evenkeel';
    const pause = () => new Promise((resolve) => setTimeout(resolve, 5));
    const held = Array.from({ length: 50 }, (_, i) => tensor([i, i + 1, i + 2], [3]).data);
    for (let round = 0; round < 20; round++) {
      gc();
      await pause();
      zeros([3]).data.fill(-77);
    }
    const kept = held.every((data, i) => data[0] === i && data[2] === i + 2);
    const before = info().memory;
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 50; i++) zeros([10_000]);
      gc();
      await pause();
    }
    console.log(JSON.stringify([kept, (info().memory - before) / 4e4]));`,
    '--expose-gc',
  );
  const [kept, tensors] = JSON.parse(found);
  expect(kept).toBe(true);
  // 2,000 tensors were made, and forgotten
  expect(tensors).toBeLessThan(400);
});

test('a text of kernels that was damaged on its way is refused, and writes nowhere else', () => {
  const [size, left, text] = inferenceText;
  const memory = new WebAssembly.Memory({ initial: 8, maximum: 65535 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(unpackerBytes, 'hex')), {
    env: { memory },
  });
  const unpack = exports.unpack as (...places: number[]) => number;
  const [scratch, output] = [1 << 16, 1 << 17];
  const packed = output + size;
  const bytes = Buffer.from(memory.buffer);
  const others = () => [bytes.subarray(0, scratch), bytes.subarray(packed + text.length)];
  for (const part of others()) part.fill(7);
  const unpacked = (given: string) => {
    bytes.write(given, packed, 'latin1');
    try {
      return unpack(packed, output, size, scratch);
    } catch {
      return 'a trap';
    }
  };
  expect(unpacked(text)).toBe(left);
  const right = Buffer.from(bytes.subarray(output, packed));
  for (let at = 0; at < text.length; at += 61) {
    const other = text[at] === 'A' ? 'B' : 'A';
    const found = unpacked(text.slice(0, at) + other + text.slice(at + 1));
    if (found === left) expect([at, right.equals(bytes.subarray(output, packed))]).toEqual([at, true]);
    expect(others().every((part) => part.every((byte) => byte === 7))).toBe(true);
  }
  const damaged = packedSource([size, left, `${text.slice(0, 500)}~~${text.slice(502)}`]);
  expect(() => damaged.bytesOf('simd', new LinearMemory())).toThrow(/^(damaged|unreachable)$/);
});
