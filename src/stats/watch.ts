// A network looked at while it runs: what comes into its norms, with nothing moved by it.

import { show, wrongKind } from '../errors.ts';
import type { Seen } from '../layers/channel-norm.ts';
import { Layer } from '../layers/layer.ts';
import { TrackedNorm } from '../layers/tracked-norm.ts';
import { Dropout } from '../nn/dropout.ts';
import { Tensor, type TensorLike } from '../tensors/tensor.ts';

// biome-ignore lint/suspicious/noExplicitAny: whatever its options and ranks
export type AnyNorm = TrackedNorm<any, any>;

/** The norms of a network that may keep running statistics, by name, in the order of their layers. */
export function normsOf(net: Layer): { readonly name: string; readonly norm: AnyNorm }[] {
  return net.named().flatMap(([name, norm]) => (norm instanceof TrackedNorm ? [{ name, norm }] : []));
}

/** Checks that something is a layer. */
export function checkNet(subject: string, net: unknown): void {
  if (!(net instanceof Layer)) throw wrongKind('ERR_TYPE', subject, 'net', 'a Layer', show(net));
}

/** How a network runs while it is watched. */
export interface Watching {
  /** Norms normalise by the batch. */
  readonly training: boolean;
  /** Dropout drops. */
  readonly dropout: boolean;
}

/**
 * Runs `work` while norms are watched; afterwards every layer is in the mode in which it was, whatever happened.
 *
 * @param tell is told of every forward of a norm
 */
export async function watched<T>(
  net: Layer,
  { training, dropout }: Watching,
  tell: (name: string, seen: readonly Seen[]) => void,
  work: () => Promise<T>,
): Promise<T> {
  const leaves = net.named().map(([, layer]) => layer);
  const modes = leaves.map((layer) => ({ layer, was: layer.training }));
  const norms = normsOf(net);
  try {
    for (const layer of leaves) layer.train(layer instanceof Dropout ? dropout : training);
    for (const { name, norm } of norms) norm.watch((seen) => tell(name, seen));
    return await work();
  } finally {
    for (const { norm } of norms) norm.watch(undefined);
    for (const { layer, was } of modes) layer.train(was);
  }
}

/** Runs a batch through a network; a tensor that comes out goes back. */
export async function runBatch<B>(net: Layer, batch: B, forward?: (batch: B) => unknown): Promise<void> {
  const y = await (forward ? forward(batch) : net.forward(batch as TensorLike));
  if (!forward && y instanceof Tensor) y.dispose();
}
