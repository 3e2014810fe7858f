// The norms of some weights, and what looks wrong with their statistics.

import type { BatchNormOptions } from '../norms/options.ts';
import { preset } from '../norms/options.ts';
import type { Imported } from '../weights/index.ts';
import { joined, parted } from '../weights/names.ts';

/** A norm in a file. */
export interface NormReport {
  readonly name: string;
  /**
   * Without statistics it may be of any kind: layer, group or instance norm, or a batch norm that
   * tracks none. A vector alone may be an RMSNorm or the slopes of a PReLU.
   */
  readonly kind: 'batch norm' | 'norm without statistics' | 'RMSNorm or PReLU: the file does not say which';
  readonly channels: number;
  readonly options: BatchNormOptions;
  /** Options that the file does not say. */
  readonly assumed: readonly string[];
  /** What looks wrong, in sentences. */
  readonly findings: readonly string[];
}

/**
 * Scales beyond this, by which a channel multiplies what comes in, are nothing that training does
 * on purpose.
 */
const EXPLODING = 1e3;
const DEAD = 1e-8;

/** The norms of some weights, and what looks wrong with their statistics. */
export function normReports({ state, norms, assumed }: Imported): NormReport[] {
  return [...Object.entries(norms), ...otherNorms({ state, norms })].map(([name, options]) => {
    const read = (leaf: string) => state[joined(name, leaf)]?.data;
    const [gamma, mean, variance] = [read('gamma'), read('runningMean'), read('runningVar')];
    const eps = options.eps ?? preset('torch').eps;
    const channels = (gamma ?? variance ?? mean ?? read('beta'))?.length ?? 0;
    const all = Array.from({ length: channels }, (_, c) => c);
    const findings: string[] = [];
    const note = (what: string, found: readonly number[]) => {
      if (found.length)
        findings.push(
          `${what}: ${found.length} of ${channels} channels (${found.slice(0, 8).join(', ')}${found.length > 8 ? ', …' : ''})`,
        );
    };
    for (const leaf of ['gamma', 'beta', 'runningMean', 'runningVar']) {
      const data = read(leaf);
      if (data)
        note(
          `${leaf} is not finite`,
          all.filter((c) => !Number.isFinite(data[c])),
        );
    }
    if (variance) {
      note(
        'variance below 0',
        all.filter((c) => variance[c] < 0),
      );
      note(
        'dead: the variance is 0, nothing comes in',
        all.filter((c) => variance[c] >= 0 && variance[c] < DEAD),
      );
      note(
        'exploding: the channel is multiplied by more than 1,000',
        all.filter(
          (c) => variance[c] >= DEAD && Math.abs(gamma ? gamma[c] : 1) / Math.sqrt(variance[c] + eps) > EXPLODING,
        ),
      );
    }
    if (gamma)
      note(
        'dead: gamma is 0, nothing goes out',
        all.filter((c) => Math.abs(gamma[c]) < DEAD),
      );
    if (variance && mean && all.length && all.every((c) => variance[c] === 1 && mean[c] === 0))
      findings.push('statistics as at the beginning: it was never trained');
    const vector = !Object.hasOwn(norms, name) && !read('beta');
    const still = vector ? 'RMSNorm or PReLU: the file does not say which' : 'norm without statistics';
    const kind = mean || variance ? 'batch norm' : still;
    return { name, kind, channels, options, assumed: assumed[name] ?? [], findings };
  });
}

/** Layers with a gamma or beta that are no batch norms by their file. */
function otherNorms({ state, norms }: Pick<Imported, 'state' | 'norms'>): [string, BatchNormOptions][] {
  const names = Object.keys(state)
    .map(parted)
    .filter(([layer, leaf]) => (leaf === 'gamma' || leaf === 'beta') && !Object.hasOwn(norms, layer));
  return [...new Set(names.map(([layer]) => layer))].map((layer) => [layer, {}]);
}
