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

/** Wrappers in wrappers. */
const DEEPEST = 4;

/**
 * What takes from a name what wrappers put into it; names that would be the same stay as they are.
 *
 * @param names all of them, as often as they are asked for
 */
export function bareNames(names: () => Iterable<string>): (name: string) => string {
  let depth = DEEPEST;
  let isInside = false;
  /** Without so many wrappers around it. */
  const within = (name: string, most: number) => {
    let [own, around] = [name, 0];
    while (around < most && own !== BESIDE && own.startsWith(AROUND))
      [own, around] = [own.slice(AROUND.length), around + 1];
    return { own, around };
  };
  for (const name of names()) {
    const inner = name.replace(INSIDE, '');
    if (inner !== name) isInside = true;
    const { own, around } = within(inner, depth);
    if (own !== BESIDE) depth = around;
  }
  if (depth === 0 && !isInside) return (name) => name;
  const bare = (name: string) => within(name.replace(INSIDE, ''), depth).own;
  const counts = new Map<string, number>();
  for (const name of names()) counts.set(bare(name), (counts.get(bare(name)) ?? 0) + 1);
  return (name) => (counts.get(bare(name))! > 1 ? name : bare(name));
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
