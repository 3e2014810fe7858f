// A program in one file: safetensors, with the steps in its metadata. Any reader of safetensors can open it.

import { malformed, show } from '../errors.ts';
import { ByteReader, type Bytes, bytesFrom } from '../formats/bytes.ts';
import { type Activation, activationCode, NO_ACTIVATION } from '../kernels/activations.ts';
import type { Program, Step } from './program.ts';

export const FORMAT = 'evenkeel-compiled';
export const VERSION = '1';

type Json = Readonly<Record<string, unknown>>;

/** Reads a program, and checks that it is one. Throws ERR_FORMAT. */
export function readProgram(file: Bytes): Program {
  const reader = new ByteReader(FORMAT, bytesFrom(FORMAT, file));
  const header = parse('header', reader.take(reader.u64('header length'), 'header'));
  const data = reader.take(reader.left, 'data');
  const { format, version, program } = record(header.__metadata__);
  if (format !== FORMAT) throw malformed(FORMAT, 'format', `'${FORMAT}'`, show(format), 8);
  if (version !== VERSION) throw malformed(FORMAT, 'version', `'${VERSION}'`, show(version), 8);
  const json = parse('program', new TextEncoder().encode(String(program)));
  let end = 0;
  const tensors = new Map<unknown, Json>();
  for (const name of Object.keys(header)) {
    if (name === '__metadata__') continue;
    const tensor = record(header[name]);
    const [from, to] = list(tensor.data_offsets);
    if (from !== end || !((to as number) >= end && (to as number) <= data.length)) {
      throw malformed(FORMAT, name, `bytes from ${end} on`, show(tensor.data_offsets), 8);
    }
    end = to as number;
    tensors.set(name, tensor);
  }
  if (end !== data.length) throw malformed(FORMAT, 'data', `${end} bytes`, `${data.length}`, 8);
  const vector = (name: unknown, shape: readonly number[], part: string): Float32Array => {
    const { dtype, shape: given, data_offsets: offsets } = tensors.get(name) ?? {};
    const [from, to] = list(offsets) as number[];
    const count = shape.reduce((product, length) => product * length, 1);
    if (dtype !== 'F32' || show(given) !== show(shape) || to - from !== count * 4) {
      throw malformed(FORMAT, part, `an F32 tensor of shape ${show(shape)}`, show(given), 8);
    }
    return new Float32Array(data.slice(from, to).buffer);
  };
  const steps = (given: unknown, label: string): Step[] => {
    if (!Array.isArray(given)) throw malformed(FORMAT, label, 'a list of steps', show(given), 8);
    return given.map((item, i) => stepFrom(item, i, `${label}[${i}]`, vector));
  };
  return {
    flat: steps(json.flat, 'flat'),
    general: json.general === null ? null : steps(json.general, 'general'),
    rowsOnly: json.rowsOnly === true,
  };
}

/** An object in JSON as `save` writes it, to the letter: that leaves no room for a key that comes twice. */
function parse(part: string, bytes: Uint8Array): Json {
  const text = new TextDecoder().decode(bytes).trimEnd();
  try {
    const json = record(JSON.parse(text));
    if (JSON.stringify(json) === text) return json;
  } catch {}
  throw malformed(FORMAT, part, 'what save() writes', 'other bytes', 8);
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
  const fail = (expected: string, got: unknown) => malformed(FORMAT, part, expected, show(got), 8);
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
