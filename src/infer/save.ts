// The other half of file.ts, apart from it: who only serves does not carry it.

import { wrongValue } from '../errors.ts';
import { type Writable, writeSafetensors } from '../formats/safetensors.ts';
import { type Description, jsonRanks } from '../graph/operation.ts';
import { activationOf } from '../kernels/activations.ts';
import { CHECKSUM_AT, checksumOf, FORMAT, VERSION } from './file.ts';
import type { Program, Step, Steps } from './program.ts';

/** A program as one file, for `load`; `descriptions` are those of its operations. */
export function writeProgram(
  given: Program,
  descriptions: Iterable<Description>,
  f16 = false,
): Uint8Array<ArrayBuffer> {
  const described = new Map(Array.from(descriptions, (description) => [description.runner, description]));
  const { inputs, outputs, ranks = [0, Number.POSITIVE_INFINITY], flat, general, rowsOnly = false } = given;
  const tensors = new Map<string, Writable>();
  const store = (data: Float32Array | null, shape: readonly number[], name: string): string | null => {
    if (!data) return null;
    const known = [...tensors].find(
      ([, tensor]) => 'data' in tensor && tensor.shape.join() === shape.join() && sameValues(tensor.data, data),
    )?.[0];
    const isHalf = f16 && shape.length > 1;
    if (isHalf && !known && data.some((value) => Math.abs(value) >= 65520 && Number.isFinite(value))) {
      const way = 'save() keeps float32';
      throw wrongValue(
        'ERR_OPTION',
        'save',
        'f16',
        'weights that half precision holds',
        'one above 65504',
        `${name}; ${way}`,
      );
    }
    if (!known) tensors.set(name, { data, shape, ...(isHalf && { dtype: 'F16' }) });
    return known ?? name;
  };
  const describe = ({ runner, operation, inputs, activation }: Step, name: string) => {
    const { group, json } = described.get(runner)!;
    return {
      kind: runner.kind,
      ...(group && { group }),
      inputs,
      activation: activationOf(activation) ?? null,
      ...json(operation, (data, shape, leaf) => store(data, shape, `${name}.${leaf}`)),
    };
  };
  const write = ({ steps, outputs: values }: Steps, name: string) => ({
    outputs: values,
    steps: steps.map((step, i) => describe(step, `${name}.${i}`)),
  });
  const program = JSON.stringify({
    inputs,
    outputs,
    ranks: ranks && jsonRanks(ranks),
    flat: write(flat, 'flat'),
    general: general && write(general, 'general'),
    rowsOnly,
  });
  const metadata = { checksum: '0'.repeat(16), format: FORMAT, version: VERSION, program };
  const file = writeSafetensors(tensors, metadata);
  file.set(new TextEncoder().encode(checksumOf(file)), CHECKSUM_AT);
  return file;
}

/** Two vectors of the same values: the two programs of a network share most weights. */
function sameValues(a: ArrayLike<number>, b: Float32Array): boolean {
  return a.length === b.length && b.every((value, i) => Object.is(value, a[i]));
}
