// What names and attributes of ONNX nodes mean.

import type { OnnxNode } from '../formats/onnx.ts';

const LEAF =
  /^(.+)[./](?:weight|gamma|scale|w_0|bias|beta|B|b_0|running_mean|moving_mean|mean|running_var|moving_variance|var)$/;

/** `bn1` for `bn1.weight`. */
export function layerName(tensor: string): string | undefined {
  return LEAF.exec(tensor)?.[1];
}

/**
 * The name that most of some tensors carry; among as many the last one's: statistics are nobody
 * else's, ones and zeros are shared.
 */
export function commonName(tensors: readonly string[]): string | undefined {
  const votes = new Map<string, number>();
  for (const tensor of tensors) {
    const name = layerName(tensor);
    if (name !== undefined) votes.set(name, (votes.get(name) ?? 0) + 1);
  }
  let best: string | undefined;
  for (const [name, count] of votes) if (best === undefined || count >= votes.get(best)!) best = name;
  return best;
}

/** What a node is called in messages. */
export function labelOf({ name, outputs, op }: OnnxNode): string {
  return name || outputs[0] || op;
}

/**
 * An attribute as the decimal that was meant: floats of 32 bits make 0.9 into 0.8999999761581421.
 */
export function shortest(value: unknown, standard: number): number {
  if (typeof value !== 'number') return standard;
  for (let digits = 1; digits < 10; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}
