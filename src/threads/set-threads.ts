import { show, wrongValue } from '../errors.ts';
import { backend } from '../kernels/backend.ts';
import { withAll } from '../kernels/table.ts';
import { shareMemory } from './shared-memory.ts';
import { allEnded, oneThread, WorkerTeam } from './team.ts';
import { processors } from './worker.ts';

/** More threads than this only wait for memory. */
const MOST_THREADS = 64;
/** `'auto'` takes no more than this: memory is shared, and is what most layers wait for. */
const MOST_AUTOMATIC = 8;

/**
 * Sets the number of threads on which large calls run, the calling one included. Small calls, and
 * those that one thread finishes as fast as memory allows, stay on the calling thread. The fixed
 * build gives the same bits on any number of threads.
 *
 *     setThreads('auto');
 *     info().threading;   // why so many
 *
 * May be called at any time. Tensors keep their addresses; views of `data` that were taken earlier
 * must be taken again. Switching the backend (`configure`, `init`) ends the threads. Where the host
 * has no shared memory or refuses workers, one thread remains, and `info().threading` says why.
 * Workers do not keep the process alive.
 *
 * @param threads 1 (the default without a call) to 64, or `'auto'`: one for each processor, at most
 *   8. More threads than processors are slower than fewer
 * @returns the number of threads from now on
 * @throws ERR_OPTION for anything else
 */
export function setThreads(threads: number | 'auto'): number {
  if (threads !== 'auto' && !(Number.isInteger(threads) && threads >= 1 && threads <= MOST_THREADS)) {
    throw wrongValue(
      'ERR_OPTION',
      'setThreads',
      'threads',
      `an integer from 1 to ${MOST_THREADS}, or 'auto'`,
      show(threads),
    );
  }
  const current = withAll(backend()); // workers have all kernels from the start
  const asked = threads === 'auto' ? Math.min(processors(), MOST_AUTOMATIC) : threads;
  const why = threads === 'auto' ? `${processors()} processors` : 'asked for';
  if (current.team instanceof WorkerTeam && current.team.count === asked && current.team.whole) {
    current.team.reason = why;
    return asked;
  }
  void close();
  if (asked === 1) current.team = oneThread(current, why);
  else if (current.name === 'js') current.team = oneThread(current, 'the plain loops run on one thread');
  else {
    try {
      current.team = new WorkerTeam(current, shareMemory(current), asked, why);
    } catch (error) {
      const { name, message } = error as Error;
      current.team = oneThread(current, `refused: ${name}: ${message}`);
    }
  }
  return current.team.count;
}

/**
 * Ends all worker threads; calls run on the calling thread from then on. Resolves when the last
 * worker has ended. Without workers it does nothing.
 *
 *     await close();
 */
export async function close(): Promise<void> {
  void backend().team?.close();
  await allEnded();
}
