// Digits as a loop meets them: some that come one after the other, as from a server, and some held
// out.

import { loadDigits } from '../digits/data.ts';
import { type Digits, PIXELS } from '../digits/digits.ts';

const { train, test: others } = loadDigits();

const some = ({ images, labels }: Digits, from: number, to: number) => ({
  x: { data: images.subarray(from * PIXELS, to * PIXELS), shape: [to - from, 1, 28, 28] },
  labels: labels.subarray(from, to),
});

/** 7,000 digits, one by one. */
export const source = {
  async *[Symbol.asyncIterator]() {
    for (let i = 0; i < 7000; i++) {
      const { x, labels } = some(train, i, i + 1);
      yield { x: { data: x.data, shape: [1, 28, 28] }, label: labels[0] };
    }
  },
};

/** 1,000 to choose the best weights by. */
export const held = some(train, 7000, 8000);

/** 2,000 that nothing was chosen by. */
export const test = some(others, 0, 2000);
