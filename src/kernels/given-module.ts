// Modules that a program hands over: only those of this release will do, since arguments are passed
// by position.

import { show, wrongKind } from '../errors.ts';
import { bytesOfBuffer } from '../typed-arrays.ts';
import label from '../wasm/generated/label.ts';
import type { Build } from '../wasm/source.ts';

/** A module as it is, or compiled from bytes. */
export async function compileGiven(module: unknown): Promise<object> {
  // by what it calls itself: it may come from another realm
  if (Object.prototype.toString.call(module) === '[object WebAssembly.Module]') return module as object;
  const bytes = ArrayBuffer.isView(module)
    ? new Uint8Array(module.buffer, module.byteOffset, module.byteLength)
    : bytesOfBuffer(module);
  if (!bytes) throw notOurs(show(module));
  try {
    // a copy: a view of shared memory, or of no bytes, is not what compilers take
    return await WebAssembly.compile(new Uint8Array(bytes));
  } catch (cause) {
    const error = notOurs(`bytes that this host does not compile: ${(cause as Error).message}`);
    error.cause = cause;
    throw error;
  }
}

/** Which build a module is, by the label that it bears. */
export function buildOf(module: object): Build {
  const [section] = WebAssembly.Module.customSections(module as WebAssembly.Module, 'evenkeel');
  const text = section ? new TextDecoder().decode(section) : '';
  for (const build of ['simd', 'relaxed'] as const) if (text === `${build} ${label}`) return build;
  throw notOurs(text ? `one of another release: ${text}` : 'another module');
}

function notOurs(got: string): Error {
  return wrongKind(
    'ERR_TYPE',
    'init',
    'module',
    'evenkeel/simd.wasm or evenkeel/relaxed.wasm of this release, compiled or as bytes',
    got,
  );
}
