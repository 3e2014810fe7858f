// Windows of pooling along the axes of an image, as kernels read them (assembly/windows.ts).

/** One spatial axis of a pooling. */
export interface WindowAxis {
  readonly input: number;
  readonly output: number;
  /**
   * Values of a window; 0: adaptive, output i covers floor(i·input/output) up to ceil((i +
   * 1)·input/output).
   */
  readonly kernel: number;
  readonly stride: number;
  /** Places before the input, and behind it. */
  readonly padding: number;
  /** Places behind the input, where they are not as many. */
  readonly behind?: number;
  readonly dilation: number;
}

/** Values of one window in the table. */
export const WINDOW = 4;

/**
 * The first place of a window inside the input, how many of its places lie there, and how many in
 * the input and its padding.
 */
function windowOf({ input, output, kernel, stride, padding, behind = padding, dilation }: WindowAxis, i: number) {
  if (kernel === 0) {
    const first = Math.floor((i * input) / output);
    const count = Math.ceil(((i + 1) * input) / output) - first;
    return { first, count, full: count };
  }
  const start = i * stride - padding;
  const before = start < 0 ? Math.ceil(-start / dilation) : 0;
  const until = Math.min(kernel, Math.ceil((input - start) / dilation));
  const count = Math.max(until - before, 0);
  // without places inside there is nothing to read: no address beyond the input either
  const first = count ? start + before * dilation : 0;
  return { first, count, full: Math.min(start + kernel, input + behind) - start };
}

/**
 * The table: for each output of each axis the first place inside, the count of places inside, the
 * divisor of an average, and 1 or 2 where this window and the next three are alike and so many
 * places apart.
 *
 * @param countsPadding do averages divide by places of the padding as well?
 */
export function windowsOf(axes: readonly WindowAxis[], countsPadding = false): Float32Array {
  const table = new Float32Array(WINDOW * axes.reduce((sum, { output }) => sum + output, 0));
  let at = 0;
  for (const axis of axes) {
    const { output, input, dilation } = axis;
    const start = at;
    for (let i = 0; i < output; i++, at += WINDOW) {
      const { first, count, full } = windowOf(axis, i);
      table.set([first, count, countsPadding ? full : count], at);
    }
    for (let i = 0; i + 4 <= output; i++) {
      const one = start + i * WINDOW;
      const pace = table[one + WINDOW] - table[one];
      const isAlike = (k: number) =>
        table[one + k * WINDOW] === table[one] + k * pace &&
        table[one + k * WINDOW + 1] === table[one + 1] &&
        table[one + k * WINDOW + 2] === table[one + 2];
      if ((pace !== 1 && pace !== 2) || !isAlike(1) || !isAlike(2) || !isAlike(3)) continue;
      // vectors of every other place reach one place beyond the last
      const last = table[one] + (table[one + 1] - 1) * dilation + 3 * pace + (pace - 1);
      if (last < input) table[one + 3] = pace;
    }
  }
  return table;
}
