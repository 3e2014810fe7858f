// Reader of the reference data in test/fixtures/golden; see the README there for the format and
// what the tolerances mean.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

type Data = Float32Array | Float64Array | Int32Array | Uint8Array;

export interface GoldenTensor {
  data: Data;
  shape: number[];
  role: 'input' | 'truth' | 'expected';
  tol?: { inner: number; groups: number; atol: number[]; strict: number[]; affine?: number[] };
}

export interface GoldenCase {
  id: string;
  group: string;
  op: string;
  tier: 'core' | 'hard' | 'extreme';
  // biome-ignore lint/suspicious/noExplicitAny: differs from case to case
  attributes: any;
  // biome-ignore lint/suspicious/noExplicitAny: differs from case to case
  expect?: any;
  tensors: Record<string, GoldenTensor>;
  files?: Record<string, string>;
}

const ARRAYS = { f32: Float32Array, f64: Float64Array, i32: Int32Array, u8: Uint8Array };
const LARGEST = 3.4028234663852886e38;
const folderOf = (set: string) => fileURLToPath(new URL(`../fixtures/${set}/`, import.meta.url));
const folder = folderOf('golden');

interface Entry {
  id: string;
  group: string;
  op: string;
  json: string;
  bin?: string;
}

const entriesOf = (folder: string): Entry[] => JSON.parse(readFileSync(`${folder}INDEX.json`, 'utf8')).cases;
const index = entriesOf(folder);

/** The cases of some operations. */
export function goldenCases(...ops: string[]): GoldenCase[] {
  return index.filter((entry) => ops.includes(entry.op)).map((entry) => loadCase(entry, folder));
}

/** The same of the data for convolutional networks, test/fixtures/golden-conv. */
export function convolutionalCases(...ops: string[]): GoldenCase[] {
  const from = folderOf('golden-conv');
  return entriesOf(from)
    .filter((entry) => ops.includes(entry.op))
    .map((entry) => loadCase(entry, from));
}

function loadCase(entry: Entry, folder: string): GoldenCase {
  const meta = JSON.parse(readFileSync(folder + entry.json, 'utf8'));
  const tensors: Record<string, GoldenTensor> = {};
  if (entry.bin) {
    const bytes = new Uint8Array(readFileSync(folder + entry.bin)).buffer;
    for (const [name, t] of Object.entries<Record<string, never>>(meta.tensors)) {
      const Type = ARRAYS[t.dtype as keyof typeof ARRAYS];
      const shape = t.shape as number[];
      tensors[name] = {
        ...(t as object),
        data: new Type(
          bytes,
          t.offset,
          shape.reduce((a, b) => a * b, 1),
        ),
      } as GoldenTensor;
    }
  }
  return { ...meta, tensors };
}

export type Mode = 'tol' | 'strict' | 'affine';

/**
 * The largest error divided by what is allowed: passes up to 1. NaN and Inf must be where the truth
 * has them.
 */
export function errorRatio(truth: GoldenTensor, actual: ArrayLike<number>, mode: Mode): number {
  const { data } = truth;
  if (actual.length !== data.length) return Number.POSITIVE_INFINITY;
  const { inner, groups, atol, strict, affine } = truth.tol!;
  const limits = mode === 'tol' ? atol : mode === 'affine' && affine ? affine : strict;
  let worst = 0;
  for (let i = 0; i < data.length; i++) {
    const want = data[i];
    const got = actual[i];
    let ratio: number;
    if (Number.isNaN(want)) ratio = Number.isNaN(got) ? 0 : Number.POSITIVE_INFINITY;
    else if (Math.abs(want) > LARGEST)
      ratio = got === Math.sign(want) * Number.POSITIVE_INFINITY ? 0 : Number.POSITIVE_INFINITY;
    else if (!Number.isFinite(got)) ratio = Number.POSITIVE_INFINITY;
    else ratio = got === want ? 0 : Math.abs(got - want) / limits[Math.floor(i / inner) % groups];
    if (!(ratio <= worst)) worst = ratio;
  }
  return worst;
}

/** A file that a case names: a model. */
export function goldenFile({ files }: GoldenCase, key: string, set = 'golden'): Uint8Array {
  return Uint8Array.from(readFileSync(folderOf(set) + files![key]));
}

/** An input as a plain array. */
export function plain({ data, shape }: GoldenTensor): { data: Float32Array; shape: number[] } {
  return { data: Float32Array.from(data as Float32Array), shape };
}
