// Which kernels run: the relaxed SIMD build, the fixed one, or the plain loops. Decided at first
// use, and kept.

import { show, showChoices, wrongKind, wrongMoment, wrongValue } from '../errors.ts';
import { checkNames } from '../named-options.ts';
import { LinearMemory } from '../wasm/linear-memory.ts';
import { type Build, sourceOf } from '../wasm/source.ts';
import { type Backend, type BackendName, createBackend, type Supplies } from './create-backend.ts';
import { buildOf, compileGiven } from './given-module.ts';
import { INFERENCE } from './inference/part.ts';

/** Settings of the whole library, for `configure`. */
export interface Configuration {
  /**
   * `'auto'` (default): the best this host has. Or one of `'relaxed'`, `'simd'`, `'js'`, for tests
   * and comparisons.
   */
  backend?: BackendName | 'auto';
  /**
   * `true`: never the relaxed build, whose fused multiply-add rounds as the processor likes. Same
   * bits on every machine. Default `false`.
   */
  deterministic?: boolean;
}

/** What `init` takes: the settings of `configure`, and a compiled module. */
export interface Initialization extends Configuration {
  /**
   * `evenkeel/simd.wasm` or `evenkeel/relaxed.wasm` of this release, as a `WebAssembly.Module` or
   * as bytes, for hosts that compile nothing themselves. It takes the place of the modules that the
   * library brings along.
   */
  module?: object;
}

/** What `info` returns: the backend in use, its memory and its threads. */
export interface Info {
  /** The backend in use. */
  backend: BackendName;
  /** Why this backend: what was asked for, and what refused. */
  reason: string;
  /** Does every host with this backend give the same bits? All but `'relaxed'` do. */
  deterministic: boolean;
  /** Bytes of linear memory. */
  memory: number;
  /** Threads at work, the calling one included (`setThreads`). */
  threads: number;
  /** Why this number of threads. */
  threading: string;
}

const BACKENDS: readonly BackendName[] = ['relaxed', 'simd', 'js'];
const SETTINGS = ['backend', 'deterministic'];

/** Settings as they are; a pool tells its workers. */
export const wanted: Required<Configuration> = { backend: 'auto', deterministic: false };
/** The module that init was given. */
let given: { readonly build: Build; readonly module: object } | undefined;
/** Modules that init has made ready; nothing before it is called. */
let moduleOf: Supplies['moduleOf'];
/** What the backend is where none is asked for by name. */
let best = 'the best this host has';
/** Modules for inference that init has compiled. */
const compiled: Partial<Record<Build, object>> = {};
let current: Backend | undefined;
let reason = '';
/** Why there is one thread, as long as `setThreads` was not called. */
let threading = 'the default';

/** The backend in use; chosen at the first call. */
export function backend(): Backend {
  return current ?? choose();
}

/** What is tried, in this order. */
function order(asked: BackendName | 'auto'): readonly BackendName[] {
  if (asked !== 'auto') return [asked];
  if (given) return [given.build, 'js'];
  return wanted.deterministic ? ['simd', 'js'] : BACKENDS;
}

function choose(linear = new LinearMemory(), subject = 'configure'): Backend {
  const asked = askedFor(wanted);
  const refusals: string[] = [];
  for (const name of order(asked)) {
    try {
      current = createBackend(name, { linear, moduleOf });
      reason = [asked === 'auto' ? best : 'asked for', ...refusals].join('; ');
      return current;
    } catch (error) {
      const { name: kind, message } = error as Error;
      refusals.push(`${name}: ${kind}: ${message}`);
    }
  }
  const why = refusals.join('; ');
  throw wrongValue('ERR_BACKEND', subject, 'backend', 'one that this host has', show(asked), why);
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
 * Library-wide settings. Call it before the first tensor or layer is used: once linear memory holds
 * something, another backend is refused. The environment variable EVENKEEL_BACKEND stands for
 * `backend` where that is `'auto'`. Threads end with the backend they ran on.
 *
 *     configure({ deterministic: true });   // the same bits on every machine
 *
 * @param settings see `Configuration`; settings left out stay as they are
 * @throws ERR_OPTION for settings it does not take; ERR_BACKEND for a backend that this host does
 *   not have; ERR_MODE for another backend than the one in use, once linear memory holds something.
 *   Nothing has changed then
 */
export function configure(settings: Configuration): void {
  checkNames('configure', settings, SETTINGS);
  apply('configure', settings, given);
}

/** The last `init`: those that overlap take effect in the order in which they were called. */
let last: Promise<unknown> = /* @__PURE__ */ Promise.resolve();

/**
 * Makes the library ready: compiles the kernels of the forward map without blocking, where the host
 * can. Nobody has to call it: without it the first call that needs a kernel compiles it,
 * synchronously, in about a millisecond. Later calls resolve at once.
 *
 *     await init();
 *
 * @param settings those of `configure`, and `module` for hosts that hand over compiled modules
 * @throws (rejects with) what `configure` throws; ERR_TYPE for a module that is not this release's.
 *   Nothing has changed then
 */
export function init(settings: Initialization = {}): Promise<void> {
  const mine = last.then(() => prepare(settings));
  last = mine.catch(() => {});
  return mine;
}

async function prepare(settings: Initialization): Promise<void> {
  checkNames('init', settings, [...SETTINGS, 'module']);
  const { module, ...configuration } = settings;
  moduleOf = (part, build) =>
    given?.build === build ? given.module : part === INFERENCE ? compiled[build] : undefined;
  if (module === undefined) apply('init', configuration, given);
  else {
    const ready = await compileGiven(module);
    apply('init', configuration, { build: buildOf(ready), module: ready });
    best = 'the module given to init';
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
  if (!current) choose(linear, 'init');
}

/**
 * Takes settings over, all or none of them. A backend that is asked for by name is made at once:
 * whether the host has it should not be found out later.
 */
function apply(subject: string, settings: Configuration, module: typeof given): void {
  const { backend = wanted.backend, deterministic = wanted.deterministic } = settings;
  checkBackend(subject, backend);
  if (typeof deterministic !== 'boolean')
    throw wrongKind('ERR_OPTION', subject, 'deterministic', 'true or false', show(deterministic));
  const next = { backend, deterministic };
  if (deterministic && (askedFor(next) === 'relaxed' || module?.build === 'relaxed')) {
    throw wrongValue('ERR_OPTION', subject, 'backend', "'auto', 'simd' or 'js' when deterministic", "'relaxed'");
  }
  if (module && backend !== 'auto' && backend !== 'js' && backend !== module.build) {
    const expected = `'auto', '${module.build}' or 'js' with ${module.build}.wasm`;
    throw wrongValue('ERR_OPTION', subject, 'backend', expected, show(backend));
  }
  const before = { settings: { ...wanted }, given, current, reason };
  if (current && (module?.module !== given?.module || !fits(current, next))) {
    const { blocks } = current.heap;
    if (blocks > 0) {
      const got = `${blocks} ${blocks === 1 ? 'block' : 'blocks'} of memory in use`;
      throw wrongMoment('ERR_MODE', subject, 'another backend', 'to be asked for before the first tensor', got);
    }
    current = undefined;
  }
  Object.assign(wanted, next);
  given = module;
  try {
    if (!current && backend !== 'auto') choose(undefined, subject);
  } catch (error) {
    Object.assign(wanted, before.settings);
    ({ given, current, reason } = before);
    throw error;
  }
  endThreads(before.current);
}

/** Is the backend in use what these settings ask for? */
function fits({ name }: Backend, { backend, deterministic }: Required<Configuration>): boolean {
  if (backend !== 'auto') return backend === name;
  return wanted.backend === 'auto' && (deterministic ? name !== 'relaxed' : !wanted.deterministic);
}

/** Ends the threads of a backend that was left for another. */
function endThreads(left: Backend | undefined): void {
  if (!left?.team || left === current) return;
  if (left.team.count > 1) threading = 'the backend has changed since setThreads';
  void left.team.close();
}

/**
 * What runs, and why. Chooses the backend if nothing has been used yet.
 *
 *     const { backend, reason } = info();   // 'relaxed', and why
 */
export function info(): Info {
  const { name, heap, team } = backend();
  return {
    backend: name,
    reason,
    deterministic: name !== 'relaxed',
    memory: heap.size,
    threads: team?.count ?? 1,
    threading: team?.reason ?? threading,
  };
}
