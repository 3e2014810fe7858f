// A network looked at while it runs: what comes into its norms, with nothing moved by it.

import { show, wrongKind, wrongMoment } from '../errors.ts';
import type { Seen } from '../layers/channel-norm.ts';
import { Layer } from '../layers/layer.ts';
import { TrackedNorm } from '../layers/tracked-norm.ts';
import { Dropout } from '../nn/dropout.ts';
import { type TensorLike, tidy } from '../tensors/tensor.ts';

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
 * Watches a network from now on, in the mode that `watching` says.
 *
 * @param tell is told of every forward of a norm
 * @returns ends it: every layer is in the mode in which it was, dropout goes on with the masks it would have drawn, cells with their states
 */
export function watch(
  net: Layer,
  { training, dropout }: Watching,
  tell: (name: string, seen: readonly Seen[]) => void,
): () => void {
  const norms = normsOf(net);
  const busy = norms.find(({ norm }) => norm.isWatched);
  if (busy) {
    throw wrongMoment(
      'ERR_MODE',
      busy.norm.subject,
      'statistics',
      'one at a time',
      'a network that is being watched already',
    );
  }
  const leaves = net.named().map(([, layer]) => layer);
  const modes = leaves.map((layer) => ({ layer, was: layer.training }));
  for (const layer of leaves) layer.train(layer instanceof Dropout ? dropout : training);
  const drawn = leaves.map((layer) => (layer instanceof TrackedNorm ? undefined : layer.checkpoint()));
  for (const { name, norm } of norms) norm.watch((seen) => tell(name, seen));
  return () => {
    for (const { norm } of norms) norm.watch(undefined);
    for (const restore of drawn) restore?.();
    for (const { layer, was } of modes) layer.train(was);
  };
}

/** Runs a batch through a network; tensors that are made for it go back. */
export function runBatch<B>(net: Layer, batch: B, forward?: (batch: B) => unknown): unknown {
  if (forward) return forward(batch);
  return tidy(() => {
    net.forward(batch as TensorLike);
  });
}
