// The other half of file.ts, apart from it: who only serves does not carry it.

import { type Writable, writeSafetensors } from '../formats/safetensors.ts';
import { activationOf } from '../kernels/activations.ts';
import { CHECKSUM_AT, checksumOf, FORMAT, VERSION } from './file.ts';
import type { Program, Step } from './program.ts';

/** A program as one file, for `load`. */
export function writeProgram({ flat, general, rowsOnly = false }: Program): Uint8Array<ArrayBuffer> {
  const tensors = new Map<string, Writable>();
  const store = (data: Float32Array | null, shape: readonly number[], name: string): string | null => {
    if (!data) return null;
    const known = [...tensors].find(
      ([, tensor]) => 'data' in tensor && tensor.shape.join() === shape.join() && sameValues(tensor.data, data),
    )?.[0];
    if (!known) tensors.set(name, { data, shape });
    return known ?? name;
  };
  const describe = ({ operation, x, add, activation }: Step, name: string) => {
    const common = { kind: operation.kind, x, add, activation: activationOf(activation) ?? null };
    if (operation.kind === 'elementwise') return common;
    if (operation.kind === 'linear') {
      const { inFeatures, outFeatures, weight, bias } = operation;
      return {
        ...common,
        in: inFeatures,
        out: outFeatures,
        weight: store(weight, [outFeatures, inFeatures], `${name}.weight`),
        bias: store(bias, [outFeatures], `${name}.bias`),
      };
    }
    const { center, scale, shift, layout, ranks } = operation;
    return {
      ...common,
      channels: scale.length,
      layout,
      ranks: [ranks[0], Number.isFinite(ranks[1]) ? ranks[1] : null],
      scale: store(scale, [scale.length], `${name}.scale`),
      shift: store(shift, [shift.length], `${name}.shift`),
      ...(center && { center: store(center, [center.length], `${name}.center`) }),
    };
  };
  const program = JSON.stringify({
    flat: flat.map((step, i) => describe(step, `flat.${i}`)),
    general: general?.map((step, i) => describe(step, `general.${i}`)) ?? null,
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
