// Channels along any axis behind that of the samples.

import { showShape, wrongValue } from '../errors.ts';
import { countOf, differs } from '../tensors/shape.ts';
import type { Layout } from '../types.ts';
import { anyRank, type Plan, planOf, type Ranks, wrongRank } from './plan.ts';

/**
 * Where the channels lie: as a layout says, or along an axis, which counts the batch, and from the
 * end where it is negative.
 */
export type ChannelPlace = Layout | number;

/** The axis of the channels in a shape of this rank. */
export function channelAxisOf(place: ChannelPlace, rank: number): number {
  if (typeof place === 'string') return place === 'channels-first' ? 1 : rank - 1;
  return place < 0 ? place + rank : place;
}

/**
 * Reads a shape: kernels take what lies before the channels for samples, whatever it is.
 *
 * @throws ERR_SHAPE for a rank outside `ranks`, one without such an axis, or another channel count
 */
export function planAt(
  subject: string,
  shape: readonly number[],
  channels: number,
  place: ChannelPlace,
  ranks: Ranks,
): Plan {
  if (typeof place === 'string') return planOf(subject, shape, channels, place, ranks);
  const rank = shape.length;
  if (rank < ranks[0] || rank > ranks[1]) throw wrongRank(subject, shape, ranks);
  const axis = channelAxisOf(place, rank);
  const context = `shape ${showShape(shape)}`;
  if (axis < 1 || axis >= rank) {
    throw wrongValue('ERR_SHAPE', subject, 'x', `an axis ${place} behind that of the samples`, `rank ${rank}`, context);
  }
  if (differs(shape[axis], channels)) {
    throw wrongValue('ERR_SHAPE', subject, 'x', `${channels} channels on axis ${axis}`, `${shape[axis]}`, context);
  }
  // axes before and behind the channels are one each
  const read = [countOf(shape.slice(0, axis)), channels, countOf(shape.slice(axis + 1))];
  return { ...planOf(subject, read, channels, 'channels-first', anyRank()), shape };
}
