// A program in one file: safetensors, with the steps in its metadata. Any reader of safetensors can open it.

import { malformed, show } from '../errors.ts';
import { type Bytes, bytesFrom } from '../formats/bytes.ts';
import { type Activation, activationCode, NO_ACTIVATION } from '../kernels/activations.ts';
import type { Program, Step } from './program.ts';

export const FORMAT = 'evenkeel-compiled';
/** Files of version 1 have no checksum. */
export const VERSION = '2';
/** Where the checksum stands: behind the length and `{"__metadata__":{"checksum":"`. */
export const CHECKSUM_AT = 37;
/** More steps than any network has; what a stranger's header becomes is many times as large. */
const LONGEST_HEADER = 2 ** 21;
/** What the vectors of all steps may come to, for each byte of the file: the same weights may serve several steps. */
const MOST_EXPANSION = 10;
const HARMLESS = 2 ** 26;

type Json = Readonly<Record<string, unknown>>;

/** What is wrong, and where: most of it stands in the header. */
const wrong = (part: string, expected: string, got: string, at = 8) => malformed(FORMAT, part, expected, got, at);

/** Reads a program, and checks that it is one. Throws ERR_FORMAT. */
export function readProgram(file: Bytes): Program {
  const bytes = bytesFrom(FORMAT, file);
  const known = kindOf(bytes);
  if (known) throw wrong('file', 'what save() writes', known, 0);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  const most = Math.min(LONGEST_HEADER, bytes.length - 8);
  if (length > most) throw wrong('header length', `at most ${most}`, `${length}`, 0);
  const end = 8 + Number(length);
  const header = parse('header', bytes.subarray(8, end));
  const data = bytes.subarray(end);
  const { format, version, program, checksum } = record(header.__metadata__);
  if (format !== FORMAT) throw wrong('format', `'${FORMAT}'`, show(format));
  if (version !== '1' && version !== VERSION) throw wrong('version', `'1' or '${VERSION}'`, show(version));
  const sum = version === VERSION ? checksumOf(bytes) : undefined;
  if (checksum !== sum) throw wrong('checksum', show(sum), show(checksum), CHECKSUM_AT);
  const json = parse('program', new TextEncoder().encode(String(program)));
  let at = 0;
  const tensors = new Map<unknown, Json>();
  for (const name of Object.keys(header)) {
    if (name === '__metadata__') continue;
    const tensor = record(header[name]);
    const [from, to] = list(tensor.data_offsets);
    if (from !== at || !((to as number) >= at && (to as number) <= data.length)) {
      throw wrong(name, `bytes from ${at} on`, show(tensor.data_offsets));
    }
    at = to as number;
    tensors.set(name, tensor);
  }
  if (at !== data.length) throw wrong('data', `${at} bytes`, `${data.length}`);
  let room = Math.max(HARMLESS, bytes.length * MOST_EXPANSION);
  const vector = (name: unknown, shape: readonly number[], part: string): Float32Array => {
    const { dtype, shape: given, data_offsets: offsets } = tensors.get(name) ?? {};
    const [from, to] = list(offsets) as number[];
    const count = shape.reduce((product, length) => product * length, 1);
    if (dtype !== 'F32' || show(given) !== show(shape) || to - from !== count * 4) {
      throw wrong(part, `an F32 tensor of shape ${show(shape)}`, show(given));
    }
    room -= to - from;
    if (room < 0) throw wrong(part, 'less for the size of the file', 'weights named by many steps');
    return new Float32Array(data.slice(from, to).buffer);
  };
  const steps = (given: unknown, label: string): Step[] => {
    if (!Array.isArray(given)) throw wrong(label, 'a list of steps', show(given));
    return given.map((item, i) => stepFrom(item, i, `${label}[${i}]`, vector));
  };
  return {
    flat: steps(json.flat, 'flat'),
    general: json.general === null ? null : steps(json.general, 'general'),
    rowsOnly: json.rowsOnly === true,
  };
}

/** What other files begin with. */
const KINDS = {
  PK: 'a ZIP archive',
  '\x89HDF': 'an HDF5 file',
  '\b': 'an ONNX model',
  '{': 'JSON',
  '[': 'JSON',
  '<': 'a web page',
  'version ': 'a Git LFS pointer',
};

/** What bytes are that `save` did not write; undefined where it may have. */
function kindOf(bytes: Uint8Array): string | undefined {
  const head = String.fromCharCode(...bytes.subarray(0, 99));
  if (head[8] === '{') return head.includes('evenkeel-c') ? undefined : 'a safetensors file of something else';
  return Object.entries(KINDS).find(([start]) => head.startsWith(start))?.[1] ?? 'other bytes';
}

/** Two sums over all bytes but its own: one of the bytes, which every changed bit changes, and one of that sum, which places change. */
export function checksumOf(bytes: Uint8Array): string {
  let [sum, sums] = [1, 0];
  for (let i = 0; i < bytes.length; i++) {
    if (i === CHECKSUM_AT) i += 16;
    sum = (sum + bytes[i]) | 0;
    sums = (sums + sum) | 0;
  }
  return [sum, sums].map((value) => (value >>> 0).toString(16).padStart(8, '0')).join('');
}

/** An object in JSON as `save` writes it, to the letter: that leaves no room for a key that comes twice. */
function parse(part: string, bytes: Uint8Array): Json {
  const text = new TextDecoder().decode(bytes).trimEnd();
  try {
    const json = record(JSON.parse(text));
    if (JSON.stringify(json) === text) return json;
  } catch {}
  throw wrong(part, 'what save() writes', 'other bytes');
}

function record(value: unknown): Json {
  return typeof value === 'object' && value ? (value as Json) : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function stepFrom(
  json: unknown,
  index: number,
  part: string,
  vector: (name: unknown, shape: readonly number[], part: string) => Float32Array,
): Step {
  const step = record(json);
  const fail = (expected: string, got: unknown) => wrong(part, expected, show(got));
  const { kind, x, add } = step;
  const whole = (value: unknown, least: number, most: number) => {
    if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
      throw fail(`a number from ${least} to ${most}`, value);
    }
    return value as number;
  };
  const common = {
    x: whole(x, 0, index),
    add: whole(add, -1, index),
    activation: activationFrom(step.activation, fail),
  };
  if (kind === 'elementwise') return { ...common, operation: { kind } };
  if (kind === 'linear') {
    const inFeatures = whole(step.in, 1, 2 ** 24);
    const outFeatures = whole(step.out, 1, 2 ** 24);
    const weight = vector(step.weight, [outFeatures, inFeatures], `${part} weight`);
    const bias = step.bias === null ? null : vector(step.bias, [outFeatures], `${part} bias`);
    return { ...common, operation: { kind, inFeatures, outFeatures, weight, bias } };
  }
  if (kind !== 'affine') throw fail("'linear', 'affine' or 'elementwise'", kind);
  const channels = whole(step.channels, 1, 2 ** 24);
  const { layout, ranks } = step;
  if (layout !== 'channels-first' && layout !== 'channels-last') throw fail('a layout', layout);
  if (!Array.isArray(ranks) || ranks.length !== 2) throw fail('two ranks', ranks);
  const least = whole(ranks[0], 0, 64);
  const most = ranks[1] === null ? Number.POSITIVE_INFINITY : whole(ranks[1], least, 64);
  return {
    ...common,
    operation: {
      kind,
      scale: vector(step.scale, [channels], `${part} scale`),
      shift: vector(step.shift, [channels], `${part} shift`),
      center: step.center === undefined ? null : vector(step.center, [channels], `${part} center`),
      layout,
      ranks: [least, most],
    },
  };
}

function activationFrom(json: unknown, fail: (expected: string, got: unknown) => Error) {
  if (json === null) return NO_ACTIVATION;
  try {
    return activationCode(FORMAT, json as Activation);
  } catch {
    throw fail('an activation', json);
  }
}
