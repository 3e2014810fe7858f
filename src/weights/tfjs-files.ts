// A TF.js model with the files beside it: shards as they are, or as base64 in scripts.

import { malformed } from '../errors.ts';
import { type Bytes, bytesFrom, quote } from '../formats/bytes.ts';
import { bytesInScript } from '../formats/script.ts';
import { openTfjs, type TfjsModel } from '../formats/tfjs.ts';
import { isInside } from '../formats/zip.ts';
import type { NetworkFiles } from './network-source.ts';

/** What packages call the scripts that stand for shards, behind the shard's name. */
export const SCRIPTS = ['.js', '.min.js', '.cjs', '.mjs'];

/**
 * Reads a model.json, or a script with one, and the shards that it names.
 *
 * @throws ERR_FORMAT
 */
export async function readTfjsFiles({
  bytes: model,
  name: own,
  path,
  given,
  beside,
}: NetworkFiles): Promise<TfjsModel> {
  // what comes from the disk nobody else has: it may be written to, and weights read from it later
  const isOwn = path !== undefined && given === undefined;
  const { paths, read } = openTfjs(model);
  const shards = new Map<string, Uint8Array>();
  for (let at = 0; at < paths.length; at += AT_ONCE) {
    const some = paths.slice(at, at + AT_ONCE);
    for (const path of some) {
      if (isInside(path)) continue;
      throw malformed('TF.js', `shard ${quote(path)}`, 'a file beside the model', 'a path out of its folder', 0);
    }
    const found = await Promise.all(some.map((path) => fileFor(path, own, beside)));
    some.forEach((path, i) => {
      if (!found[i]) return;
      const { name, bytes } = found[i];
      const isScript = /\.[cm]?js$/.test(name);
      shards.set(path, isScript ? bytesInScript('TF.js', name, bytes, isOwn) : isOwn ? bytes : bytes.slice());
    });
  }
  return read(shards);
}

/** Shards that are read at the same time. */
const AT_ONCE = 16;

/**
 * A shard, or the script that stands for it; undefined where there is neither. The first name to be
 * looked for ends as the model's does.
 */
async function fileFor(
  path: string,
  model: string | undefined,
  beside: (name: string) => Promise<Bytes | undefined>,
): Promise<{ name: string; bytes: Uint8Array } | undefined> {
  const alike = SCRIPTS.filter((ending) => model?.endsWith(ending)).reverse();
  let refused: unknown;
  for (const ending of new Set([...alike, '', ...SCRIPTS])) {
    const name = `${path}${ending}`;
    try {
      const found = await beside(name);
      if (found) return { name, bytes: bytesFrom('TF.js', found) };
    } catch (error) {
      // servers refuse what they have not: there may be a file of another name
      if (!alike.includes(ending)) throw error;
      refused ??= error;
    }
  }
  if (refused !== undefined) throw refused;
  return undefined;
}
