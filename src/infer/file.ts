// A program in one file: safetensors, with the steps in its metadata. Any reader of safetensors can
// open it.

import { malformed, show, showChoices } from '../errors.ts';
import { type Bytes, bytesFrom, quote } from '../formats/bytes.ts';
import { halfToNumber } from '../formats/dtypes.ts';
import type { Json as FileJson } from '../formats/json.ts';
import { showJson } from '../formats/show-json.ts';
import { type Fields, MANY, type Runner } from '../graph/operation.ts';
import { type Activation, activationCode, NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { byteSums } from '../kernels/linear/calls.ts';
import type { Ranks } from '../passes/plan.ts';
import { Call } from '../tensors/call.ts';
import { doubles } from '../wasm/views.ts';
import { type Port, type Program, portsOf, type Step, type Steps } from './program.ts';

export const FORMAT = 'evenkeel-compiled';
/**
 * Files of version 1 have no checksum; those of versions 1 and 2 have one input, one output, and in
 * each step one input `x` and a residual `add`.
 */
export const VERSION = '3';
/** Where the checksum stands: behind the length and `{"__metadata__":{"checksum":"`. */
export const CHECKSUM_AT = 37;
/** More steps than any network has; what a stranger's header becomes is many times as large. */
const LONGEST_HEADER = 1 << 21;
/**
 * What the vectors of all steps may come to, for each byte of the file: the same weights may serve
 * several steps.
 */
const MOST_EXPANSION = 10;
const HARMLESS = 1 << 26;
/** More groups of operations there are none. */
const MOST_GROUPS = 16;
/** More inputs or outputs are nothing that anybody runs. */
const MOST_PORTS = 4096;

type Json = Readonly<Record<string, unknown>>;

/** What is wrong, and where: most of it stands in the header. */
const wrong = (part: string, expected: string, got: string, at = 8) => malformed(FORMAT, part, expected, got, at);

/**
 * Reads a program, and checks that it is one.
 *
 * @param runners the operations that it may have
 * @throws ERR_FORMAT
 */
export function readProgram(file: Bytes, runners: readonly Runner[]): Program {
  const given = bytesFrom(FORMAT, file);
  // what lies in linear memory would be gone as soon as that grows
  const bytes = backend().heap.holds(given) ? given.slice() : given;
  const known = kindOf(bytes);
  if (known) throw wrong('file', 'what save() or evenkeel compile writes', known, 0);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  const most = Math.min(LONGEST_HEADER, bytes.length - 8);
  if (length > most) throw wrong('header length', `at most ${most}`, `${length}`, 0);
  const end = 8 + Number(length);
  const header = parse('header', bytes.subarray(8, end));
  const data = bytes.subarray(end);
  const { format, version, program, checksum } = record(header.__metadata__);
  if (format !== FORMAT) throw wrong('format', `'${FORMAT}'`, shown(format));
  if (!['1', '2', VERSION].includes(version as string)) throw wrong('version', `'1' to '${VERSION}'`, shown(version));
  const sum = version === '1' ? undefined : checksumOf(bytes);
  if (checksum !== sum) throw wrong('checksum', show(sum), shown(checksum), CHECKSUM_AT);
  const json = parse('program', new TextEncoder().encode(typeof program === 'string' ? program : ''));
  // all groups that the file needs; what it says goes into a message only where it may be a name
  const groupsOf = () => {
    const named = Array.from(`${program}`.matchAll(/"group":"(\w{1,20})"/g), ([, name]) => name);
    return [...new Set(named)].slice(0, MOST_GROUPS).join(', ');
  };
  let at = 0;
  const tensors = new Map<unknown, Json>();
  for (const name of Object.keys(header)) {
    if (name === '__metadata__') continue;
    const tensor = record(header[name]);
    const [from, to] = list(tensor.data_offsets);
    if (from !== at || !((to as number) >= at && (to as number) <= data.length)) {
      throw wrong(name, `bytes from ${at} on`, shown(tensor.data_offsets));
    }
    at = to as number;
    tensors.set(name, tensor);
  }
  if (at !== data.length) throw wrong('data', `${at} bytes`, `${data.length}`);
  let room = Math.max(HARMLESS, bytes.length * MOST_EXPANSION);
  let packed = room;
  const vector: Vector = (name, shape, part, isView) => {
    const { dtype, shape: given, data_offsets: offsets } = tensors.get(name) ?? {};
    const [from, to] = list(offsets) as number[];
    const count = shape.reduce((product, length) => product * length, 1);
    const isHalf = dtype === 'F16';
    if (!(isHalf || dtype === 'F32') || show(given) !== show(shape) || to - from !== count * (isHalf ? 2 : 4)) {
      throw wrong(part, `an F32 or F16 tensor of shape ${show(shape)}`, shown(given));
    }
    room -= count * 4;
    if (room < 0) throw wrong(part, 'less for the size of the file', 'weights named by many steps');
    if (isView && !isHalf && (data.byteOffset + from) % 4 === 0) {
      return new Float32Array(data.buffer, data.byteOffset + from, count);
    }
    const { buffer } = data.slice(from, to);
    return isHalf ? new Float32Array(new Uint16Array(buffer)).map(halfToNumber) : new Float32Array(buffer);
  };
  const ports = (given: unknown, label: string): Port[] | undefined =>
    version === VERSION ? portsFrom(given, label) : undefined;
  const inputs = ports(json.inputs, 'inputs');
  const count = inputs?.length ?? 1;
  const steps = (given: unknown, label: string): Step[] => {
    if (!Array.isArray(given)) throw wrong(label, 'a list of steps', shown(given));
    return given.map((item, i) => {
      // weights of the general program are packed when it is first needed: other bytes may lie
      // there by then
      const step = stepFrom(record(item), i + count, `${label}[${i}]`, vector, label === 'flat', runners, groupsOf);
      // weights that the file does not have stand in memory as well: the ones and zeros of a norm
      // without gamma
      packed -= step.runner.bytes?.(step.operation, step.inputs.length) ?? 0;
      if (!(packed >= 0))
        throw wrong(`${label}[${i}]`, 'less for the size of the file', step.runner.name(step.operation));
      return step;
    });
  };
  const outputs = ports(json.outputs, 'outputs');
  const stepsOf = (given: unknown, label: string): Steps => {
    if (!outputs) {
      const all = steps(given, label);
      return { steps: all, outputs: [all.length] };
    }
    const { steps: some, outputs: values } = record(given);
    const all = steps(some, label);
    const most = all.length + count - 1;
    const isValue = (value: unknown) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
    if (list(values).length !== outputs.length || !list(values).every(isValue)) {
      throw wrong(`${label} outputs`, `${outputs.length} values from 0 to ${most}`, shown(values));
    }
    return { steps: all, outputs: values as number[] };
  };
  const flat = stepsOf(json.flat, 'flat');
  return {
    ...(inputs && outputs ? { inputs, outputs, ranks: ranksFrom(json.ranks) } : { ...portsOf(flat), ranks: undefined }),
    flat,
    general: json.general === null ? null : stepsOf(json.general, 'general'),
    rowsOnly: json.rowsOnly === true,
  };
}

/**
 * Ranks of the input; null where inputs have the shapes of their ports, and undefined where the
 * file says nothing.
 */
function ranksFrom(given: unknown): Ranks | null | undefined {
  if (given === null || given === undefined) return given;
  const [least, most] = list(given);
  if (typeof least !== 'number' || (most !== null && typeof most !== 'number'))
    throw wrong('ranks', 'two', show(given));
  return [least, most ?? Number.POSITIVE_INFINITY];
}

/** Names and shapes of what goes in or comes out. */
function portsFrom(given: unknown, label: string): Port[] {
  const names = new Set<unknown>();
  if (list(given).length > MOST_PORTS) throw wrong(label, `at most ${MOST_PORTS}`, `${list(given).length}`);
  for (const port of list(given)) {
    const { name, shape } = record(port);
    const isShape = list(shape).every((n) => n === null || (Number.isInteger(n) && (n as number) >= 0));
    if (typeof name === 'string' && (shape === null || (Array.isArray(shape) && isShape))) names.add(name);
  }
  if (!names.size || names.size < list(given).length) throw wrong(label, 'names and shapes', shown(given));
  return given as Port[];
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

/** Bytes that are summed at once: as many as a core's own cache holds. */
const PIECE = 1 << 16;

/**
 * Two sums over all bytes but its own, modulo 2³²: one of the bytes and 1, which every changed bit
 * changes, and one of that sum behind each byte, which places change.
 */
export function checksumOf(bytes: Uint8Array): string {
  const current = backend();
  const call = new Call(current);
  let [sum, weighted] = [1, 0];
  try {
    const totals = call.scratch(16);
    const at = call.scratch(PIECE);
    const { heap } = current;
    for (const part of [bytes.subarray(0, CHECKSUM_AT), bytes.subarray(CHECKSUM_AT + 16)]) {
      for (let from = 0; from < part.length; from += PIECE) {
        const piece = part.subarray(from, from + PIECE);
        const { length } = piece;
        const whole = new Uint8Array(heap.buffer, at, (length + 3) & ~3);
        whole.fill(0, length & ~3);
        whole.set(piece);
        byteSums(current, at, totals, whole.length / 4);
        const [own, places] = doubles(heap, totals, 2);
        // each zero at the end has counted all bytes before it once more
        weighted = (weighted + places + Math.imul(sum, length) - Math.imul(own, whole.length - length)) | 0;
        sum = (sum + own) | 0;
      }
    }
  } finally {
    call.end();
  }
  return [sum, weighted].map((value) => (value >>> 0).toString(16).padStart(8, '0')).join('');
}

/**
 * An object in JSON as `save` writes it, to the letter: that leaves no room for a key that comes
 * twice.
 */
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

/** What stands in the file, which may be anything: in few words. */
function shown(value: unknown): string {
  return typeof value === 'string' ? quote(value) : showJson(value as FileJson);
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A tensor of the file in f32: a view of the file where that may be, and can be. */
type Vector = (name: unknown, shape: readonly number[], part: string, isView: boolean) => Float32Array;

function stepFrom(
  step: Json,
  values: number,
  part: string,
  vector: Vector,
  views: boolean,
  runners: readonly Runner[],
  groupsOf: () => string,
): Step {
  const fail = (expected: string, got: unknown) => wrong(part, expected, shown(got));
  const whole = (value: unknown, least: number, most: number) => {
    if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
      throw fail(`a number from ${least} to ${most}`, value);
    }
    return value as number;
  };
  const fields: Fields = {
    json: step,
    fail,
    whole,
    weight: (name, shape) => vector(step[name], shape, `${part} ${name}`, views),
    vector: (name, shape) => vector(step[name], shape, `${part} ${name}`, false),
    optional: (name, shape) => (step[name] == null ? null : vector(step[name], shape, `${part} ${name}`, false)),
  };
  const { kind, group } = step;
  const runner = runners.find((one) => one.kind === kind);
  if (!runner) {
    throw group
      ? fail(`an operation of load's options (operations: [${groupsOf()}], of evenkeel/infer)`, kind)
      : fail(showChoices(runners.map((one) => one.kind)), kind);
  }
  const { x, add, inputs = add === -1 ? [x] : [x, add] } = step;
  const from = list(inputs).map((value) => whole(value, 0, values - 1));
  const { arity, fuses } = runner;
  const isMany = arity === MANY;
  if (isMany ? !from.length : from.length !== arity && !(fuses && from.length === arity + 1)) {
    throw fail(isMany ? 'inputs' : `${arity}${fuses ? ` or ${arity + 1}` : ''} inputs`, inputs);
  }
  const activation = activationFrom(step.activation, fail);
  if (activation.kind && !fuses) throw fail('no activation', step.activation);
  return { runner, operation: runner.read(fields), inputs: from, activation };
}

function activationFrom(json: unknown, fail: (expected: string, got: unknown) => Error) {
  if (json === null) return NO_ACTIVATION;
  try {
    return activationCode(FORMAT, json as Activation);
  } catch {
    throw fail('an activation', json);
  }
}
