// Reads a Keras file on a thread of its own, for whoever ends it when its time is over: the HDF5
// library reads some damaged files for ever.

import { parentPort, workerData } from 'node:worker_threads';
import { readKeras } from '../weights/index.ts';
import type { ReadFile, StoredElsewhere } from './read-hdf5.ts';

async function read(bytes: Uint8Array<ArrayBuffer>): Promise<{ file: ReadFile; values: ArrayBuffer[] }> {
  const { tensors, kinds, ...rest } = await readKeras(bytes);
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
