import type { Bytes } from '../formats/bytes.ts';
import { checkNames } from '../named-options.ts';
import { readProgram } from './file.ts';
import { type Compiled, instantiate, type RunOptions } from './run.ts';

/**
 * A compiled network from the file that its `save()` made. It needs none of the layers it was made from.
 *
 * @throws ERR_FORMAT for any other file, and one in which a bit has changed; ERR_OPTION, ERR_MEMORY
 */
export function load(file: Bytes, options: RunOptions = {}): Compiled {
  checkNames('load', options, ['maxBatch', 'inputShape']);
  return instantiate(readProgram(file), options);
}
