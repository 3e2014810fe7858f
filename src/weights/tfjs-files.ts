// A TF.js model with the files beside it: shards as they are, or as base64 in scripts.

import { malformed } from '../errors.ts';
import { type Bytes, bytesFrom, quote } from '../formats/bytes.ts';
import { bytesInScript } from '../formats/script.ts';
import { openTfjs, type TfjsModel } from '../formats/tfjs.ts';
import { isInside } from '../formats/zip.ts';

/** What packages call the scripts that stand for shards, behind the shard's name. */
export const SCRIPTS = ['.js', '.min.js', '.cjs', '.mjs'];

/**
 * Reads a model.json, or a script with one, and the shards that it names.
 *
 * @param beside finds a file by the name that the model gives it; undefined where there is none
 * @throws ERR_FORMAT
 */
export async function readTfjsFiles(
  model: Bytes,
  beside: (name: string) => Promise<Bytes | undefined>,
): Promise<TfjsModel> {
  const { paths, read } = openTfjs(model);
  const shards = new Map<string, Uint8Array>();
  for (const path of paths) {
    if (!isInside(path))
      throw malformed('TF.js', `shard ${quote(path)}`, 'a file beside the model', 'a path out of its folder', 0);
    for (const ending of ['', ...SCRIPTS]) {
      const found = await beside(`${path}${ending}`);
      if (!found) continue;
      const bytes = bytesFrom('TF.js', found);
      const name = `${path}${ending}`;
      shards.set(path, /\.[cm]?js$/.test(name) ? bytesInScript('TF.js', name, bytes) : bytes);
      break;
    }
  }
  return read(shards);
}
