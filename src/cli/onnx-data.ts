// The files that the tensors of an ONNX model lie in (external data), found beside it. A model is a stranger's: it gets regular files of its own
// folder, through no links, and nothing else.

import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { malformed } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import { onnxFiles } from '../weights/index.ts';
import { readFileWhole } from './files.ts';

/** By location, each once. Throws ERR_FORMAT for what is not there, and for what is no file of the model's folder. */
export async function dataBeside(
  bytes: Uint8Array,
  path: string,
  always = false,
): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const location of onnxFiles(bytes)) {
    const folder = await realpath(dirname(path));
    const target = join(folder, location);
    const fail = (got: string) =>
      malformed('ONNX', basename(path), `the file ${quote(location)} beside it, which holds its weights`, got, 0);
    const real = await realpath(target).catch((error: { code?: string }) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') throw fail('none');
      throw error;
    });
    if (real !== target) throw fail('a link to another one');
    if (!(await stat(real)).isFile()) throw fail('what is no file');
    files.set(location, await readFileWhole(real, always));
  }
  return files;
}
