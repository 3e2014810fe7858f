// Which kernels run: the relaxed SIMD build, the fixed one, or the plain loops. Decided at first use, and kept.

import { show, showChoices, wrongKind, wrongMoment, wrongValue } from '../errors.ts';
import { instantiate, reserveMemory, storeIn } from '../wasm/instance.ts';
import { Heap } from '../wasm/memory.ts';
import { INFERENCE, type InferenceKernels } from './inference/table.ts';
import { isVector, type Kernel, type Part, type Row } from './row.ts';

export type BackendName = 'relaxed' | 'simd' | 'js';

export interface Backend {
  readonly name: BackendName;
  readonly heap: Heap;
  /** The kernels, on this thread. Those of training join at first use (training/table.ts). */
  kernels: InferenceKernels;
  /** The same, for calls that may be large: spread over threads once there are any (src/threads/). */
  parallel: InferenceKernels;
  /** The parts whose kernels are there. */
  readonly parts: Part[];
  /** A part's kernels over this backend's memory. Throws what the host throws where it cannot. */
  bind: (part: Part) => Record<string, Kernel>;
  /** The threads beside this one. */
  team?: Team;
}

/** What a backend knows of its threads. */
export interface Team {
  /** Threads at work, this one included. */
  readonly count: number;
  /** Why so many. */
  readonly reason: string;
  close(): Promise<void>;
}

export interface Configuration {
  /** `'auto'` (default): the best this host has. Or one of `'relaxed'`, `'simd'`, `'js'`, for tests and comparisons. */
  backend?: BackendName | 'auto';
  /** `true`: never the relaxed build, whose fused multiply-add rounds as the processor likes. Same bits on every machine. Default `false`. */
  deterministic?: boolean;
}

export interface Info {
  /** The backend in use. */
  backend: BackendName;
  /** Why: what was asked for, and what refused. */
  reason: string;
  deterministic: boolean;
  /** Bytes of linear memory. */
  memory: number;
  /** Threads at work, the calling one included (`setThreads`). */
  threads: number;
  /** Why so many. */
  threading: string;
}

const BACKENDS: readonly BackendName[] = ['relaxed', 'simd', 'js'];

const wanted: Required<Configuration> = { backend: 'auto', deterministic: false };
let current: Backend | undefined;
let reason = '';

/** Makes a backend with a memory of its own, for inference at first. Throws what the host throws where it cannot. */
export function createBackend(name: BackendName): Backend {
  const { heap, bind } = name === 'js' ? plain() : compiled(name);
  const kernels = bind(INFERENCE) as InferenceKernels;
  return { name, heap, kernels, parallel: kernels, parts: [INFERENCE], bind };
}

/** Adds the kernels of another part. */
export function loadPart(backend: Backend, part: Part): void {
  backend.kernels = backend.parallel = { ...backend.kernels, ...backend.bind(part) };
  backend.parts.push(part);
}

function compiled(name: 'relaxed' | 'simd'): Pick<Backend, 'heap' | 'bind'> {
  let memory: WebAssembly.Memory | undefined;
  const bind = ({ source }: Part) => {
    const module = source.compile(name) as WebAssembly.Module; // before memory is taken: a host that refuses one should not be left with the other
    memory ??= reserveMemory(1);
    return instantiate(module, memory);
  };
  const first = bind(INFERENCE);
  return { heap: new Heap(storeIn(memory!)), bind: (part) => (part === INFERENCE ? first : bind(part)) };
}

/** The plain loops over an ordinary buffer, called as kernels are. */
function plain(): Pick<Backend, 'heap' | 'bind'> {
  let buffer = new ArrayBuffer(1 << 16);
  const heap = new Heap({
    buffer,
    grow(bytes) {
      const larger = new ArrayBuffer(Math.ceil((buffer.byteLength + bytes) / 8) * 8);
      new Uint8Array(larger).set(new Uint8Array(buffer));
      // views of the old memory must die here as they do in WebAssembly: a write to one would be lost in silence
      if (typeof structuredClone === 'function') structuredClone(buffer, { transfer: [buffer] });
      buffer = larger;
      return buffer;
    },
    limit: 65535 * 65536,
  });
  const kernel = ({ args, twin }: Row): Kernel => {
    const types = args.map((arg) => (isVector(arg) ? arg.type : undefined));
    return (...values) => {
      const views = values.map((value, i) => {
        if (types[i] === undefined) return value;
        if (value === 0) return null;
        return types[i] === 'f32' ? new Float32Array(buffer, value) : new Float64Array(buffer, value);
      });
      twin(...views);
    };
  };
  const bind = ({ rows }: Part) => Object.fromEntries(Object.entries(rows).map(([name, row]) => [name, kernel(row)]));
  return { heap, bind };
}

/** The backend in use; chosen at the first call. */
export function backend(): Backend {
  return current ?? choose();
}

function choose(): Backend {
  const asked = wanted.backend === 'auto' ? fromEnvironment() : wanted.backend;
  if (wanted.deterministic && asked === 'relaxed') throw relaxedIsNotDeterministic();
  const order = asked === 'auto' ? BACKENDS.filter((name) => !(wanted.deterministic && name === 'relaxed')) : [asked];
  const refusals: string[] = [];
  for (const name of order) {
    try {
      current = createBackend(name);
      const why = asked === 'auto' ? 'the best this host has' : 'asked for';
      reason = [why, ...refusals].join('; ');
      return current;
    } catch (error) {
      const { name: kind, message } = error as Error;
      refusals.push(`${name}: ${kind}: ${message}`);
    }
  }
  throw wrongValue('ERR_BACKEND', {
    subject: 'configure',
    argument: 'backend',
    expected: 'one that this host has',
    got: show(asked),
    context: refusals.join('; '),
  });
}

function fromEnvironment(): BackendName | 'auto' {
  const value = (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env
    ?.EVENKEEL_BACKEND;
  return value ? checkBackend('EVENKEEL_BACKEND', value) : 'auto';
}

function checkBackend(subject: string, value: unknown): BackendName | 'auto' {
  const names = ['auto', ...BACKENDS];
  if (names.includes(value as string)) return value as BackendName | 'auto';
  throw wrongValue('ERR_OPTION', { subject, argument: 'backend', expected: showChoices(names), got: show(value) });
}

/**
 * Library-wide settings. Call it before the first tensor or layer is used: once linear memory holds something, changing the backend
 * throws ERR_MODE. The environment variable EVENKEEL_BACKEND stands for `backend` where that is `'auto'`.
 */
export function configure(settings: Configuration): void {
  if (typeof settings !== 'object' || settings === null) {
    throw wrongKind('ERR_OPTION', {
      subject: 'configure',
      argument: 'settings',
      expected: 'an object',
      got: show(settings),
    });
  }
  for (const [key, value] of Object.entries(settings)) {
    if (key === 'backend') checkBackend('configure', value);
    else if (key !== 'deterministic') {
      throw wrongKind('ERR_OPTION', {
        subject: 'configure',
        argument: 'a setting',
        expected: "'backend' or 'deterministic'",
        got: show(key),
      });
    } else if (typeof value !== 'boolean') {
      throw wrongKind('ERR_OPTION', {
        subject: 'configure',
        argument: 'deterministic',
        expected: 'true or false',
        got: show(value),
      });
    }
  }
  const next = { ...wanted, ...settings };
  if (next.deterministic && next.backend === 'relaxed') throw relaxedIsNotDeterministic();
  if (current && (next.backend !== wanted.backend || next.deterministic !== wanted.deterministic)) {
    if (current.heap.blocks > 0) {
      throw wrongMoment('ERR_MODE', {
        subject: 'configure',
        argument: 'a change',
        expected: 'to come before the first tensor',
        got: `${current.heap.blocks} blocks in use`,
      });
    }
    void current.team?.close();
    current = undefined;
  }
  Object.assign(wanted, next);
}

function relaxedIsNotDeterministic(): Error {
  return wrongValue('ERR_OPTION', {
    subject: 'configure',
    argument: 'backend',
    expected: "'auto', 'simd' or 'js' when deterministic",
    got: "'relaxed'",
  });
}

/** What runs, and why. Chooses the backend if nothing has been used yet. */
export function info(): Info {
  const { name, heap, team } = backend();
  return {
    backend: name,
    reason,
    deterministic: name !== 'relaxed',
    memory: heap.size,
    threads: team?.count ?? 1,
    threading: team?.reason ?? 'the default',
  };
}
