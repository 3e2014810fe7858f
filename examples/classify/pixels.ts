// Pictures as the network takes them, and what it says of them. Nothing here knows a host.

/** Pixels of a side. */
export const SIDE = 224;
export const CLASSES = ['drawing', 'hentai', 'neutral', 'porn', 'sexy'] as const;

/** What a picture is, the likeliest first. */
export type Classified = readonly { readonly name: (typeof CLASSES)[number]; readonly probability: number }[];

/** The classes by what the network gives for each. */
export function classified(probabilities: ArrayLike<number>): Classified {
  const all = CLASSES.map((name, i) => ({ name, probability: probabilities[i] }));
  return all.sort((a, b) => b.probability - a.probability);
}

/**
 * A picture of any size as `[SIDE, SIDE, 3]`, from 0 to 1: bilinear, with its corners on the
 * corners, as the network was trained.
 */
export function imageOf(rgba: Uint8Array | Uint8ClampedArray, width: number, height: number): Float32Array {
  const image = new Float32Array(SIDE * SIDE * 3);
  const [across, down] = [(width - 1) / (SIDE - 1), (height - 1) / (SIDE - 1)];
  for (let y = 0, at = 0; y < SIDE; y++) {
    const top = Math.floor(y * down);
    const below = Math.min(top + 1, height - 1);
    const v = y * down - top;
    for (let x = 0; x < SIDE; x++) {
      const left = Math.floor(x * across);
      const right = Math.min(left + 1, width - 1);
      const u = x * across - left;
      for (let c = 0; c < 3; c++, at++) {
        const value = (row: number, column: number) => rgba[(row * width + column) * 4 + c];
        const upper = value(top, left) + (value(top, right) - value(top, left)) * u;
        const lower = value(below, left) + (value(below, right) - value(below, left)) * u;
        image[at] = (upper + (lower - upper) * v) / 255;
      }
    }
  }
  return image;
}
