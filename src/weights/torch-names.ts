// PyTorch's names of tensors, and those of frameworks that follow them.

import { parted } from './names.ts';

/** A norm's tensors and ours. Gluon and Burn have PyTorch's names but for gamma and beta. */
export const TORCH_NORM: Readonly<Record<string, string>> = {
  weight: 'gamma',
  gamma: 'gamma',
  bias: 'beta',
  beta: 'beta',
  running_mean: 'runningMean',
  running_var: 'runningVar',
  num_batches_tracked: 'batchesTracked',
};

/** What DataParallel and AveragedModel put before every name. */
const AROUND = 'module.';
/** What AveragedModel keeps beside its module. */
const BESIDE = 'n_averaged';
/** What torch.compile, FSDP and activation checkpointing put anywhere into names. */
const INSIDE = /(?<=^|\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\./g;

/** Each name without what wrappers put into it; names that would be the same stay as they are. */
export function bareNames(names: Iterable<string>): Map<string, string> {
  const bare = new Map(Array.from(names, (name) => [name, name.replace(INSIDE, '')]));
  for (let depth = 0; depth < 4; depth++) {
    const inside = [...bare].filter(([, name]) => name !== BESIDE);
    if (!inside.length || !inside.every(([, name]) => name.startsWith(AROUND))) break;
    for (const [full, name] of inside) bare.set(full, name.slice(AROUND.length));
  }
  const counts = new Map<string, number>();
  for (const name of bare.values()) counts.set(name, (counts.get(name) ?? 0) + 1);
  for (const [full, name] of bare) if (counts.get(name)! > 1) bare.set(full, full);
  return bare;
}

/**
 * What a vector that stands alone as `weight` is: a norm's gamma, an activation's slope, or one of
 * both.
 */
export type Vector = 'norm' | 'activation' | 'unknown';

export function vectorOf(layer: string, length: number): Vector {
  const own = parted(layer)[1];
  if (/norm|rms|(?:^|_)(?:ln|bn)/i.test(own)) return 'norm';
  // PReLU has one slope, or one for each channel
  return length === 1 || /relu|act/i.test(own) ? 'activation' : 'unknown';
}
