// Pictures as networks take them, and what they say of them. Nothing here knows a host.

/** A picture: RGBA, a byte for each, row by row. */
export interface Picture {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/** What a network takes: channels (1 is grey, 3 are blue, green, red), rows, columns. */
export type Sizes = readonly [channels: number, height: number, width: number];

/** How a picture lies, the likeliest first. */
export type Direction = readonly { readonly degrees: number; readonly probability: number }[];

/** Where a network's input leaves its height and width open: a line of text. */
const LINE: Sizes = [3, 48, 192];

/** The sizes for an input `[N, C, H, W]`, in which null is a length that is not fixed. */
export function sizesOf(shape: readonly (number | null)[]): Sizes {
  const [, channels, height, width] = shape;
  if (shape.length !== 4 || (channels !== 1 && channels !== 3))
    throw new Error('a network of pictures takes [N, 1 or 3, H, W]');
  return [channels, height ?? LINE[1], width ?? LINE[2]];
}

/**
 * A picture as `[1, C, H, W]` from −1 to 1: as high as the network takes it, as wide as its shape
 * says, and black from there on.
 */
export function inputOf({ data, width, height }: Picture, [channels, rows, columns]: Sizes) {
  const filled = Math.max(1, Math.min(columns, Math.round((width * rows) / height)));
  const values = new Float32Array(channels * rows * columns).fill(-1);
  for (let y = 0; y < rows; y++) {
    const [top, below, v] = between(y, rows, height);
    for (let x = 0; x < filled; x++) {
      const [left, right, u] = between(x, filled, width);
      const at = (c: number) => {
        const value = (row: number, column: number) => data[(row * width + column) * 4 + c];
        const upper = value(top, left) + (value(top, right) - value(top, left)) * u;
        return upper + (value(below, left) + (value(below, right) - value(below, left)) * u - upper) * v;
      };
      const [red, green, blue] = [at(0), at(1), at(2)];
      const colours = channels === 3 ? [blue, green, red] : [0.299 * red + 0.587 * green + 0.114 * blue];
      colours.forEach((value, c) => {
        values[(c * rows + y) * columns + x] = value / 127.5 - 1;
      });
    }
  }
  return { data: values, shape: [1, channels, rows, columns] };
}

/** The two places that one lies between, and how far it is from the first: centres on centres. */
function between(place: number, places: number, length: number): [number, number, number] {
  const at = Math.min(Math.max(((place + 0.5) * length) / places - 0.5, 0), length - 1);
  const first = Math.floor(at);
  return [first, Math.min(first + 1, length - 1), at - first];
}

/** What a network gives, by the degrees that its outputs stand for. */
export function directionOf(probabilities: ArrayLike<number>, degrees: readonly number[]): Direction {
  const all = degrees.map((one, i) => ({ degrees: one, probability: probabilities[i] }));
  return all.sort((a, b) => b.probability - a.probability);
}
