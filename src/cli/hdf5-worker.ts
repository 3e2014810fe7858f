// Reads a Keras file on a thread of its own, for whoever ends it when its time is over: the HDF5
// library reads some damaged files for ever.

import { parentPort, workerData } from 'node:worker_threads';
import type { Json } from '../formats/json.ts';
import { readKerasWith } from '../weights/keras-file.ts';
import type { ReadFile, StoredElsewhere } from './read-hdf5.ts';

/** A file, and the config of a network where it has none. */
export interface Task {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly config: Json | undefined;
}

async function read({ bytes, config }: Task): Promise<{ file: ReadFile; values: ArrayBuffer[] }> {
  const { tensors, kinds, ...rest } = await readKerasWith(bytes, config);
  const values: ArrayBuffer[] = [];
  const sent = [...tensors].map(([name, tensor]): StoredElsewhere => {
    const { dtype, shape } = tensor;
    try {
      const { data } = tensor;
      values.push(data.buffer);
      return { name, dtype, shape, data };
    } catch (error) {
      return { name, dtype, shape, complaint: complaintOf(error) };
    }
  });
  return { file: { ...rest, tensors: sent, kinds: [...(kinds ?? [])] }, values };
}

function complaintOf(error: unknown) {
  const { message, code } = error as Error & { code?: string };
  return { message: message ?? `${error}`, code: code ?? 'ERR_FORMAT' };
}

read(workerData)
  .then(({ file, values }) => parentPort!.postMessage({ file }, values))
  .catch((error) => parentPort!.postMessage({ complaint: complaintOf(error) }));
