// NPZ: a ZIP of NPY files, as `numpy.savez` and `numpy.savez_compressed` write it.

import { malformed, wrongValue } from '../errors.ts';
import { checkRecord } from '../named-options.ts';
import { type Bytes, bytesFrom, quote } from './bytes.ts';
import type { StoredTensors } from './dtypes.ts';
import { readArray, type WritableArray, writeNpy } from './npy.ts';
import { recognize } from './recognize.ts';
import { isInside, readZip, writeZip } from './zip.ts';

const FORMAT = 'NPZ';

/**
 * Reads an NPZ file: arrays by name, without the `.npy`.
 *
 *     const arrays = await readNpz(await readFile('weights.npz'));
 *     arrays.get('fc1.weight')?.shape;
 *
 * @param file bytes of the file
 * @throws ERR_FORMAT: which member, which part of it, and at which offset (inside a deflated
 *   member, of its inflated bytes)
 */
export async function readNpz(file: Bytes): Promise<StoredTensors> {
  const tensors = new Map();
  const bytes = bytesFrom(FORMAT, file);
  const known = recognize(bytes);
  if (known && known.kind !== 'NPZ' && known.kind !== 'ZIP')
    throw malformed(FORMAT, 'file', 'an NPZ file', known.text, 0);
  for (const member of readZip(FORMAT, bytes)) {
    if (member.name.endsWith('/')) continue;
    if (!member.name.endsWith('.npy')) {
      throw malformed(FORMAT, `member ${quote(member.name)}`, 'a name in .npy', 'another', member.offset);
    }
    const name = member.name.slice(0, -4);
    tensors.set(name, readArray(FORMAT, name, await member.read(), member.offset));
  }
  return tensors;
}

/**
 * Writes an NPZ file, not compressed.
 *
 *     const bytes = writeNpz({ x: { data: Float32Array.of(1, 2), shape: [2] } });
 *
 * @param arrays by name, without `.npy`
 * @throws as `writeNpy`
 */
export function writeNpz(
  arrays: ReadonlyMap<string, WritableArray> | Readonly<Record<string, WritableArray>>,
): Uint8Array<ArrayBuffer> {
  checkRecord(FORMAT, arrays);
  const entries = arrays instanceof Map ? [...arrays] : Object.entries(arrays as Record<string, WritableArray>);
  const outside = entries.find(([name]) => !isInside(`${name}.npy`));
  if (outside) {
    throw wrongValue('ERR_OPTION', FORMAT, 'a name', 'one inside the archive', quote(outside[0]));
  }
  return writeZip(entries.map(([name, array]) => [`${name}.npy`, writeNpy(array)] as const));
}
