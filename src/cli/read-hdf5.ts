// Keras files for the command line, which reads those of strangers: on a thread that is ended when
// it takes too long.

import { basename } from 'node:path';
import { Worker } from 'node:worker_threads';
import { malformed } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import type { Json } from '../formats/json.ts';
import type { KerasFile, StoredTensor, Values } from '../weights/index.ts';
import type { Task } from './hdf5-worker.ts';

interface Complaint {
  readonly message: string;
  readonly code: string;
}

/** A tensor as it comes from the other thread: its values, or why there are none. */
export interface StoredElsewhere {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data?: Values;
  readonly complaint?: Complaint;
}

/** A file as it comes from the other thread. */
export type ReadFile = Omit<KerasFile, 'tensors' | 'kinds'> & {
  readonly tensors: readonly StoredElsewhere[];
  readonly kinds: readonly (readonly [string, string])[];
};

/** Time for a file of 16 MB, and for each 16 MB more. What is whole takes a tenth of it. */
const SECONDS = 4;
const PART = 16 << 20;

/**
 * Reads a Keras file as `readKeras`. Throws ERR_FORMAT as well where it takes longer than any whole
 * file of its size.
 */
export async function readKerasInTime(path: string, bytes: Uint8Array<ArrayBuffer>, config?: Json): Promise<KerasFile> {
  const seconds = SECONDS * Math.ceil(Math.max(bytes.length, 1) / PART);
  const worker = new Worker(new URL('./hdf5-worker.js', import.meta.url), {
    workerData: { bytes, config } satisfies Task,
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    const { file, complaint } = await new Promise<{ file: ReadFile; complaint?: Complaint }>((resolve, reject) => {
      const late = () => {
        const expected = `a file that is read in ${seconds} s, as whole ones are`;
        reject(malformed('Keras', quote(basename(path)), expected, 'no end: it is damaged', 0));
      };
      // the clock starts when the thread runs
      worker.once('online', () => {
        timer = setTimeout(late, 1000 * seconds);
      });
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    if (complaint) throw errorOf(complaint);
    const tensors = file.tensors.map(({ name, ...tensor }) => [name, storedOf(tensor)] as const);
    return { ...file, tensors: new Map(tensors), kinds: new Map(file.kinds) };
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}

function storedOf({ dtype, shape, data, complaint }: Omit<StoredElsewhere, 'name'>): StoredTensor {
  return {
    dtype,
    shape,
    get data() {
      if (complaint) throw errorOf(complaint);
      return data!.slice() as Values;
    },
  };
}

function errorOf({ message, code }: Complaint): Error {
  return Object.assign(new RangeError(message), { code });
}
