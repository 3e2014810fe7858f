// Where a pool's network comes from.

import { isList, show, wrongKind, wrongValue } from '../errors.ts';
import type { Bytes } from '../formats/bytes.ts';
import type { Operations } from '../infer/list.ts';
import { bytesOfBuffer, viewOf } from '../typed-arrays.ts';
import { GROUPS, type Source } from './messages.ts';

/** A URL, as far as the library reads one. */
export interface LinkLike {
  /** The whole of it: `'file:///srv/net.safetensors'`. */
  readonly href: string;
}

interface NodeHost {
  getBuiltinModule?(name: string): unknown;
}

interface Files {
  readFile(file: string | URL): Promise<Uint8Array>;
}

interface Urls {
  pathToFileURL(path: string): URL;
}

const builtin = <T>(name: string) =>
  (globalThis as { process?: NodeHost }).process?.getBuiltinModule?.(name) as T | undefined;

const isModule = (path: string) => /\.[cm]?[jt]s$/.test(path);

/** Two letters before `:` at least: `C:\net` is a path. */
const isUrl = (text: string) => /^[a-z][a-z\d+.-]+:/i.test(text);

/** The same bytes in memory that workers share, where the host has it. */
function shared(bytes: Uint8Array): Uint8Array {
  if (typeof SharedArrayBuffer === 'undefined') return bytes.slice();
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length));
  copy.set(bytes);
  return copy;
}

async function read(location: string | URL): Promise<Uint8Array> {
  const files = builtin<Files>('node:fs/promises');
  if (files && (typeof location === 'string' || location.protocol === 'file:')) return files.readFile(location);
  const response = await fetch(location);
  if (!response.ok)
    throw wrongValue('ERR_FORMAT', 'pool', 'source', 'a file', `status ${response.status}`, `${location}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Names of groups, and kinds of operations, as workers take them. */
function namesOf(operations: readonly (Operations | string)[] | undefined): string[] | undefined {
  return operations?.flatMap((group) => (typeof group === 'string' ? [group] : group.map(({ kind }) => kind)));
}

/** Checks the option `operations`. */
export function checkOperations(subject: string, name: string, value: unknown): void {
  const isGroup = (group: unknown) =>
    Array.isArray(group)
      ? group.every((one) => typeof (one as { kind?: unknown } | null)?.kind === 'string')
      : GROUPS.includes(group as (typeof GROUPS)[number]);
  if (!Array.isArray(value) || !value.every(isGroup)) {
    throw wrongKind('ERR_OPTION', subject, name, "groups of 'evenkeel/infer', or their names", show(value));
  }
}

/**
 * @throws ERR_TYPE for anything but bytes, a path or a URL; what reading throws
 */
export async function sourceOf(
  given: Bytes | string | LinkLike,
  operations: readonly (Operations | string)[] | undefined,
): Promise<Source> {
  const fileOf = (bytes: Uint8Array): Source => ({ file: shared(bytes), operations: namesOf(operations) });
  const bytes = isList(given) || typeof given === 'object' ? (viewOf(given) ?? bytesOfBuffer(given)) : undefined;
  if (bytes instanceof Uint8Array) return fileOf(bytes);
  const href = typeof given === 'string' ? given : (given as LinkLike | null)?.href;
  if (typeof href !== 'string' || href === '') {
    throw wrongKind('ERR_TYPE', 'pool', 'source', 'bytes, a path or a URL', show(given));
  }
  const base = (globalThis as { location?: LinkLike }).location?.href;
  const urls = builtin<Urls>('node:url');
  const location = isUrl(href) ? new URL(href) : urls ? urls.pathToFileURL(href) : new URL(href, base);
  if (!isModule(location.pathname)) return fileOf(await read(location));
  if (operations) {
    const expected = 'a compiled file, as operations were named';
    throw wrongValue('ERR_OPTION', 'pool', 'source', expected, 'a module', location.href);
  }
  return { module: location.href };
}
