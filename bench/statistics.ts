// What can be said about times that scatter: medians and their intervals, and whether two runs
// differ. Times have long tails: of them nothing assumes a distribution, but of the mean over
// processes.

/** The value below which a share of the values lies, between neighbours in proportion. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Of fewer values no interval holds the median with a probability of 0.95. */
export const LEAST_VALUES = 6;

/**
 * A confidence interval of the median by order statistics: the k-th smallest and the k-th largest
 * value, with the largest k for which the interval holds the median with a probability of at least
 * `confidence`. Of n values,
 *
 *   P = 1 − 2·Σ_{i<k} (n choose i) / 2ⁿ
 *
 * With fewer than LEAST_VALUES values and 0.95 no such k exists: the interval is the range, and its
 * own confidence is less. Source: H. A. David, H. N. Nagaraja, Order Statistics, 7.1.
 */
export function medianInterval(values: readonly number[], confidence = 0.95): [low: number, high: number] {
  const sorted = values.toSorted((a, b) => a - b);
  const n = sorted.length;
  let k = 0;
  let below = 0;
  let term = 0.5 ** n;
  for (let i = 0; i < n / 2; i++) {
    below += term; // P(fewer than i + 1 values below the median)
    if (1 - 2 * below < confidence) break;
    k = i;
    term *= (n - i) / (i + 1);
  }
  return [sorted[k], sorted[n - 1 - k]];
}

/**
 * The chance that, of two samples from one distribution, the ranks lie as far apart as those of a
 * and b, in either direction: Wilcoxon's rank sum test, exact, ties by mid-ranks. Five against five
 * values give 2/252 = 0.008 where all of one exceed all of the other.
 */
export function rankTest(a: readonly number[], b: readonly number[]): number {
  const all = [...a, ...b];
  const sorted = all.toSorted((x, y) => x - y);
  // twice the mid-rank of each value: an integer
  const ranks = all.map((value) => sorted.indexOf(value) + sorted.lastIndexOf(value) + 2);
  const observed = ranks.slice(0, a.length).reduce((sum, rank) => sum + rank, 0);
  // ways to choose a.length of all, by the sum of their ranks
  const ways = Array.from({ length: a.length + 1 }, () => new Map<number, number>());
  ways[0].set(0, 1);
  for (const rank of ranks) {
    for (let count = a.length - 1; count >= 0; count--) {
      for (const [sum, number] of ways[count])
        ways[count + 1].set(sum + rank, (ways[count + 1].get(sum + rank) ?? 0) + number);
    }
  }
  const mean = (a.length * ranks.reduce((sum, rank) => sum + rank, 0)) / all.length;
  let [far, total] = [0, 0];
  for (const [sum, number] of ways[a.length]) {
    total += number;
    if (Math.abs(sum - mean) >= Math.abs(observed - mean) - 1e-9) far += number;
  }
  return far / total;
}

/**
 * By how much b exceeds a: the median of all differences b − a (Hodges and Lehmann), and an
 * interval from the range of differences that `rankTest` does not rule out, for samples without
 * ties: the k-th smallest and k-th largest difference.
 */
export function shift(a: readonly number[], b: readonly number[], confidence = 0.95) {
  const differences = b.flatMap((y) => a.map((x) => y - x)).sort((x, y) => x - y);
  const ways = subsetsBySum(a.length, b.length);
  const total = ways.reduce((sum, number) => sum + number, 0);
  let k = 0;
  let below = 0;
  for (; k < differences.length / 2; k++) {
    below += ways[k] / total; // P(U ≤ k)
    if (1 - 2 * below < confidence) break;
  }
  // where even the range falls short, it is the range
  const place = Math.max(0, k - 1);
  return { estimate: median(differences), low: differences[place], high: differences[differences.length - 1 - place] };
}

/**
 * The mean of a few values, and Student's interval for it: mean ± t·s/√n, where |T| of n − 1
 * degrees of freedom is below t with a probability of `confidence`.
 */
export function meanInterval(values: readonly number[], confidence = 0.95) {
  const n = values.length;
  const estimate = values.reduce((sum, value) => sum + value, 0) / n;
  const variance = values.reduce((sum, value) => sum + (value - estimate) ** 2, 0) / (n - 1);
  const half = studentQuantile(n - 1, confidence) * Math.sqrt(variance / n);
  return { estimate, low: estimate - half, high: estimate + half };
}

/**
 * The t below which |T| lies with a probability of p. With t = √ν·tan θ
 *
 *   P(|T| < t) = A(ν − 1, θ) / A(ν − 1, π/2)      A(n, θ) = ∫₀^θ cosⁿ
 *   A(n, θ) = (cosⁿ⁻¹θ·sin θ + (n − 1)·A(n − 2, θ)) / n
 *
 * Source: M. Abramowitz, I. A. Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
 */
export function studentQuantile(freedom: number, p: number): number {
  const area = (n: number, angle: number): number =>
    n === 0
      ? angle
      : n === 1
        ? Math.sin(angle)
        : (Math.cos(angle) ** (n - 1) * Math.sin(angle) + (n - 1) * area(n - 2, angle)) / n;
  const wanted = p * area(freedom - 1, Math.PI / 2);
  let [low, high] = [0, Math.PI / 2];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (area(freedom - 1, middle) < wanted) low = middle;
    else high = middle;
  }
  return Math.sqrt(freedom) * Math.tan(low);
}

/** Orders of n and m values with so many pairs the wrong way round: Mann and Whitney's counts. */
function subsetsBySum(n: number, m: number): number[] {
  // partitions into at most n parts, each at most m
  let counts = [1, ...new Array<number>(n * m).fill(0)];
  for (let i = 1; i <= n; i++) {
    // multiply by (1 − q^(m+i)), divide by (1 − q^i)
    const next = counts.map((count, q) => count - (q >= m + i ? counts[q - m - i] : 0));
    for (let q = i; q < next.length; q++) next[q] += next[q - i];
    counts = next;
  }
  return counts;
}
