// Which kernels run: the relaxed SIMD build, the fixed one, or the plain loops. Decided at first use, and kept.

import { show, showChoices, wrongKind, wrongMoment, wrongValue } from '../errors.ts';
import { checkNames, checkRecord } from '../named-options.ts';
import { LinearMemory } from '../wasm/linear-memory.ts';
import { type Build, sourceOf } from '../wasm/source.ts';
import { type Backend, type BackendName, createBackend } from './create-backend.ts';
import { buildOf, compileGiven } from './given-module.ts';
import { INFERENCE } from './inference/part.ts';

export interface Configuration {
  /** `'auto'` (default): the best this host has. Or one of `'relaxed'`, `'simd'`, `'js'`, for tests and comparisons. */
  backend?: BackendName | 'auto';
  /** `true`: never the relaxed build, whose fused multiply-add rounds as the processor likes. Same bits on every machine. Default `false`. */
  deterministic?: boolean;
}

export interface Initialization extends Configuration {
  /**
   * `evenkeel/simd.wasm` or `evenkeel/relaxed.wasm` of this release, as a `WebAssembly.Module` or as bytes, for hosts that compile nothing themselves.
   * It takes the place of the modules that the library brings along.
   */
  module?: object;
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
/** The module that init was given. */
let given: { readonly build: Build; readonly module: object } | undefined;
/** Modules for inference that init has compiled. */
const compiled: Partial<Record<Build, object>> = {};
let current: Backend | undefined;
let reason = '';

/** The backend in use; chosen at the first call. */
export function backend(): Backend {
  return current ?? choose();
}

/** What is tried, in this order. */
function order(asked: BackendName | 'auto'): readonly BackendName[] {
  if (asked !== 'auto') return [asked];
  if (given) return [given.build, 'js'];
  return BACKENDS.filter((name) => !(wanted.deterministic && name === 'relaxed'));
}

function choose(linear = new LinearMemory()): Backend {
  const asked = askedFor(wanted);
  const refusals: string[] = [];
  for (const name of order(asked)) {
    try {
      current = createBackend(name, {
        linear,
        moduleOf: (part, build) =>
          given?.build === build ? given.module : part === INFERENCE ? compiled[build] : undefined,
      });
      const why = asked !== 'auto' ? 'asked for' : given ? 'the module given to init' : 'the best this host has';
      reason = [why, ...refusals].join('; ');
      return current;
    } catch (error) {
      const { name: kind, message } = error as Error;
      refusals.push(`${name}: ${kind}: ${message}`);
    }
  }
  throw wrongValue('ERR_BACKEND', 'configure', 'backend', 'one that this host has', show(asked), refusals.join('; '));
}

function askedFor({ backend }: Required<Configuration>): BackendName | 'auto' {
  if (backend !== 'auto') return backend;
  const value = (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env
    ?.EVENKEEL_BACKEND;
  return value ? checkBackend('EVENKEEL_BACKEND', value) : 'auto';
}

function checkBackend(subject: string, value: unknown): BackendName | 'auto' {
  const names = ['auto', ...BACKENDS];
  if (names.includes(value as string)) return value as BackendName | 'auto';
  throw wrongValue('ERR_OPTION', subject, 'backend', showChoices(names), show(value));
}

/**
 * Library-wide settings. Call it before the first tensor or layer is used: once linear memory holds something, changing the backend
 * throws ERR_MODE. The environment variable EVENKEEL_BACKEND stands for `backend` where that is `'auto'`.
 */
export function configure(settings: Configuration): void {
  apply('configure', settings, given);
}

/**
 * Makes the library ready: compiles the kernels of the forward map without blocking, where the host can. Nobody has to call it; the first call that
 * needs a kernel compiles it otherwise, synchronously, in about a millisecond. Later calls resolve at once.
 *
 * @param settings those of `configure`, and `module` for hosts that hand over compiled modules
 * @throws (rejects with) ERR_OPTION for settings it does not take; ERR_TYPE for a module that is not this release's; ERR_MODE for a module, or another
 *   backend, once linear memory holds something. Nothing has changed then
 */
export async function init(settings: Initialization = {}): Promise<void> {
  checkRecord('init', settings);
  const { module, ...configuration } = settings;
  if (module === undefined) apply('init', configuration, given);
  else {
    const ready = await compileGiven(module);
    apply('init', configuration, { build: buildOf(ready), module: ready });
  }
  if (current) return;
  const linear = new LinearMemory();
  if (!given) {
    for (const build of order(askedFor(wanted))) {
      if (build === 'js' || compiled[build]) break;
      try {
        compiled[build] = await WebAssembly.compile(sourceOf(INFERENCE.name).bytesOf(build, linear));
        break;
      } catch {
        // choose() asks again, and says why
      }
    }
  }
  if (!current) choose(linear);
}

function apply(subject: string, settings: Configuration, module: typeof given): void {
  checkRecord(subject, settings);
  checkNames(subject, settings, ['backend', 'deterministic']);
  if (settings.backend !== undefined) checkBackend(subject, settings.backend);
  if (settings.deterministic !== undefined && typeof settings.deterministic !== 'boolean') {
    throw wrongKind('ERR_OPTION', subject, 'deterministic', 'true or false', show(settings.deterministic));
  }
  const next = { ...wanted, ...settings };
  if (next.deterministic && (askedFor(next) === 'relaxed' || module?.build === 'relaxed')) {
    throw wrongValue('ERR_OPTION', subject, 'backend', "'auto', 'simd' or 'js' when deterministic", "'relaxed'");
  }
  if (module && next.backend !== 'auto' && next.backend !== 'js' && next.backend !== module.build) {
    throw wrongValue(
      'ERR_OPTION',
      subject,
      'backend',
      `'auto', '${module.build}' or 'js' with ${module.build}.wasm`,
      show(next.backend),
    );
  }
  const changes =
    next.backend !== wanted.backend || next.deterministic !== wanted.deterministic || module?.module !== given?.module;
  if (current && changes) {
    if (current.heap.blocks > 0) {
      throw wrongMoment(
        'ERR_MODE',
        subject,
        'a change',
        'to come before the first tensor',
        `${current.heap.blocks} blocks in use`,
      );
    }
    void current.team?.close();
    current = undefined;
  }
  Object.assign(wanted, next);
  given = module;
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
