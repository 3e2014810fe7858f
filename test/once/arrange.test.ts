import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { arrange } from '../../src/infer/load-steps.ts';

const piece = fc.record({ bytes: fc.nat(1_000_000), from: fc.nat(40), length: fc.nat(6) });

/** The most that is in use at one step. */
function mostAlive(pieces: readonly { bytes: number; from: number; to: number }[]): number {
  const steps = Math.max(0, ...pieces.map(({ to }) => to)) + 1;
  const sums = Array.from({ length: steps }, (_, step) =>
    pieces.reduce((sum, { bytes, from, to }) => (from <= step && step <= to ? sum + bytes : sum), 0),
  );
  return Math.max(...sums);
}

describe('memory of a compiled network', () => {
  it('keeps apart what is in use at the same time', () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (given) => {
        const pieces = given.map(({ bytes, from, length }) => ({ bytes, from, to: from + length }));
        const { offsets, bytes } = arrange(pieces);
        pieces.forEach((one, i) => {
          expect(offsets[i] % 64).toBe(0);
          expect(offsets[i] + one.bytes).toBeLessThanOrEqual(bytes);
          pieces.forEach((other, k) => {
            if (k <= i || !one.bytes || !other.bytes || other.to < one.from || one.to < other.from) return;
            const isApart = offsets[i] + one.bytes <= offsets[k] || offsets[k] + other.bytes <= offsets[i];
            expect(isApart, `${i} and ${k}`).toBe(true);
          });
        });
      }),
    );
  });

  it('takes no more than 1.3 times what is alive at once, in blocks with a residual', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1000, max: 1_000_000 }), { minLength: 1, maxLength: 20 }), (sizes) => {
        // two values a block, each with memory to work in; the sum is written over the residual
        const pieces = sizes.flatMap((bytes, block) => [
          { bytes, from: 2 * block, to: 2 * block + 2 },
          { bytes: bytes >> 1, from: 2 * block, to: 2 * block + 1 },
          { bytes: bytes >> 2, from: 2 * block, to: 2 * block },
          { bytes: bytes >> 2, from: 2 * block + 1, to: 2 * block + 1 },
        ]);
        expect(arrange(pieces).bytes).toBeLessThanOrEqual(1.3 * mostAlive(pieces) + 1024);
      }),
    );
  });

  it('takes nothing for nothing', () => {
    expect(arrange([])).toEqual({ offsets: [], bytes: 0 });
  });
});
