// The files that the tensors of an ONNX model lie in (external data), found beside it. A model may
// be a stranger's: it gets regular files of its own folder, through no links, and nothing else.

import { malformed } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import { onnxFiles } from '../formats/onnx.ts';
import type { FileUrl } from './network-source.ts';

interface Host {
  getBuiltinModule?(name: string): unknown;
}
interface FileSystem {
  readFile(path: string): Promise<Uint8Array<ArrayBuffer>>;
  realpath(path: string): Promise<string>;
  stat(path: string): Promise<{ isFile(): boolean }>;
}
interface Paths {
  join(...parts: string[]): string;
  dirname(path: string): string;
  basename(path: string): string;
}

/**
 * By location, each once; none on a host without files. Throws ERR_FORMAT for what is not there,
 * and for what is no file of the model's folder.
 */
export async function dataBeside(
  model: string | FileUrl,
  bytes: Uint8Array,
): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const locations = onnxFiles(bytes);
  const host = (globalThis as { process?: Host }).process;
  const fs = host?.getBuiltinModule?.('node:fs/promises') as FileSystem | undefined;
  if (!fs || locations.length === 0) return files;
  const paths = host!.getBuiltinModule!('node:path') as Paths;
  const { fileURLToPath } = host!.getBuiltinModule!('node:url') as { fileURLToPath(url: FileUrl): string };
  const path = typeof model === 'string' ? model : fileURLToPath(model);
  const folder = await fs.realpath(paths.dirname(path));
  for (const location of locations) {
    const target = paths.join(folder, location);
    const expected = `the file ${quote(location)} beside it, which holds its weights`;
    const fail = (got: string) => malformed('ONNX', paths.basename(path), expected, got, 0);
    const real = await fs.realpath(target).catch((error: { code?: string }) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') throw fail('none');
      throw error;
    });
    if (real !== target) throw fail('a link to another one');
    if (!(await fs.stat(real)).isFile()) throw fail('what is no file');
    files.set(location, await fs.readFile(real));
  }
  return files;
}
