// What shards need of Node, found when it is used: types of programs need none of it.

import { wrongMoment } from '../errors.ts';

interface NodeHost {
  getBuiltinModule?(name: string): unknown;
}

/** A module of Node. @throws ERR_BACKEND where there is none */
export function builtin<T>(name: string): T {
  const found = (globalThis as { process?: NodeHost }).process?.getBuiltinModule?.(name);
  if (!found) throw wrongMoment('ERR_BACKEND', 'shards', 'the host', name, 'none');
  return found as T;
}

/** The URL of a path, or of what is a URL already. */
export function urlOf(location: string): URL {
  // two letters at least: `C:\tasks` is a path
  if (/^[a-z][a-z\d+.-]+:/i.test(location)) return new URL(location);
  return builtin<{ pathToFileURL(path: string): URL }>('node:url').pathToFileURL(location);
}

/** SHA-256 in hexadecimal digits. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
