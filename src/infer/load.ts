import { show, wrongKind } from '../errors.ts';
import type { Bytes } from '../formats/bytes.ts';
import type { Runner } from '../graph/operation.ts';
import { runAffine } from '../graph/operations/affine.ts';
import { runElementwise } from '../graph/operations/elementwise.ts';
import { runLinear } from '../graph/operations/linear.ts';
import { checkNames } from '../named-options.ts';
import { readProgram } from './file.ts';
import { type Compiled, instantiate, type RunOptions } from './run.ts';

/** What runs the operations of one kind. Users pass it on, and make none of their own. */
export interface OperationKind {
  /** The operation's name in files: `'conv'`. */
  readonly kind: string;
}

/** Operations that come together: `norms` and others of `evenkeel/infer`. */
export type Operations = readonly OperationKind[];

/** What `load` takes besides a file: memory planned ahead, and groups of operations. */
export interface LoadCompiledOptions extends RunOptions {
  /**
   * Groups of operations that the file needs beyond those of every network (fully connected layers,
   * batch norm in evaluation, activations, residuals). Default: none. An error names those that are
   * missing.
   */
  operations?: readonly Operations[];
}

/** What every network may have. */
const ALWAYS: readonly Runner[] = [runLinear, runAffine, runElementwise];

/**
 * A compiled network from the file that its `save()` made. It needs none of the layers it was made
 * from.
 *
 *     const run = load(await readFile('net.safetensors'), { operations: [convolutions, pooling] });
 *     const y = run({ data, shape: [1, 3, 224, 224] });
 *
 * @param file bytes of the file
 * @param options groups of operations, and memory planned ahead
 * @throws ERR_FORMAT for any other file, for one in which a bit has changed, and for one with
 *   operations that are not there; ERR_OPTION, ERR_MEMORY
 */
export function load(file: Bytes, options: LoadCompiledOptions = {}): Compiled {
  checkNames('load', options, ['maxBatch', 'inputShape', 'operations']);
  const { operations = [] } = options;
  if (!Array.isArray(operations) || !operations.every(Array.isArray)) {
    throw wrongKind('ERR_OPTION', 'load', 'operations', "groups of 'evenkeel/infer'", show(operations));
  }
  return instantiate(readProgram(file, [ALWAYS, ...operations].flat()), options);
}
