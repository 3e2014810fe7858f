// Two runs held against each other: which cases differ by more than noise.

import { type About, nameOf, type Row } from './figures.ts';
import { meanInterval, median, rankTest, shift } from './statistics.ts';

export interface Run {
  about: About;
  rows: Row[];
  /**
   * The program that was measured, which files keep packed; none where rows were taken from another
   * file.
   */
  program?: string;
}

export interface Change {
  name: string;
  /** How many times as long it takes as before: an estimate, and its 95 % interval. */
  times: number;
  low: number;
  high: number;
  /** `same` where a change by a tenth is ruled out, `unclear` where nothing can be said. */
  verdict: 'slower' | 'faster' | 'same' | 'unclear';
}

/** How likely a change may be reported where there is none. */
const SIGNIFICANCE = 0.01;
/** The least change that is reported, as a share. */
const LEAST = 0.05;
/** The change that is ruled out where none is reported. */
const RULED_OUT = 0.1;
/** With fewer processes on either side no difference can be told from chance. */
export const LEAST_PROCESSES = 5;

/**
 * Our time in each process, as a logarithm. The time of the plain loops and that of `memory.copy`
 * in the same process say how fast the machine was at that time: their mean is taken off, since
 * both are the same in the two runs.
 */
function levels({ times }: Row): number[] {
  const controls = [times.plain, times.copy].filter((timing) => timing !== undefined);
  return times.ours.rounds.map((rounds, p) => {
    const speeds = controls.map((timing) => Math.log(median(timing.rounds[p])));
    return Math.log(median(rounds)) - speeds.reduce((sum, level) => sum + level, 0) / speeds.length;
  });
}

/**
 * What changed from `before` to `after`, for each case that both have.
 *
 *   level  = ln(ours) − mean(ln plain, ln copy)    medians of one process
 *   times  = exp(median of all level′ − level)     Hodges and Lehmann
 *
 * A change counts where the ranks of the levels differ by chance with a probability of 0.01 at most
 * (Wilcoxon, exact), the times differ by 5 % or more, and by more than the interval is wide: a
 * machine that is this restless from process to process is another one an hour later, too.
 */
export function changes(before: Run, after: Run): Change[] {
  const known = new Map(before.rows.map((row) => [nameOf(row), row]));
  return after.rows.flatMap((row) => {
    const old = known.get(nameOf(row));
    return old ? [change(nameOf(row), levels(old), levels(row))] : [];
  });
}

function change(name: string, before: readonly number[], after: readonly number[]): Change {
  const found = shift(before, after);
  const isBeyond = Math.abs(found.estimate) > found.high - found.low;
  return judged(name, found, isBeyond && rankTest(before, after) <= SIGNIFICANCE);
}

/**
 * What changed, for each case that took turns with the same case of an earlier program:
 *
 *   level  = median of ln(ours / before) of the rounds of one process
 *   times  = exp(mean of all levels)
 *
 * A change counts where Student's interval of the mean, with a confidence of 0.99, leaves 0 out,
 * and the times differ by 5 % or more.
 */
export function changesInTurns(rows: readonly Row[]): Change[] {
  return rows.flatMap((row) => {
    const { ours, before } = row.times;
    if (!before) return [];
    const levels = ours.rounds.map((rounds, p) =>
      // both have as many rounds: one that is missing makes the level NaN, and an error
      median(before.rounds[p].map((time, round) => Math.log(rounds[round] / time))),
    );
    if (!levels.every(Number.isFinite)) throw new Error(`${nameOf(row)}: rounds of before and ours differ in number`);
    const { low, high } = meanInterval(levels, 1 - SIGNIFICANCE);
    return [judged(nameOf(row), meanInterval(levels), low > 0 || high < 0)];
  });
}

/** `differs` says whether chance can be left out. */
function judged(name: string, { estimate, low, high }: ReturnType<typeof shift>, differs: boolean): Change {
  const isLarge = Math.abs(estimate) >= Math.log(1 + LEAST);
  const mayBeTenth = Math.max(high, -low) > Math.log(1 + RULED_OUT);
  const verdict = differs && isLarge ? (estimate > 0 ? 'slower' : 'faster') : mayBeTenth ? 'unclear' : 'same';
  return { name, times: Math.exp(estimate), low: Math.exp(low), high: Math.exp(high), verdict };
}

/** Differences that make a comparison doubtful. The runs are compared all the same. */
export function differences(before: About, after: About): string[] {
  const facts: [string, (about: About) => unknown][] = [
    ['machine', ({ machine }) => machine],
    ['caches', ({ caches }) => caches?.join(', ')],
    ['Node', ({ node }) => node],
    ['backend', ({ backend }) => backend],
    ['threads', ({ threads }) => threads],
    ['flags', ({ flags }) => flags?.join(' ')],
    ['--time', ({ options }) => options?.time],
    ['--slower', ({ options }) => options?.slower],
  ];
  return facts
    .filter(([, of]) => of(before) !== of(after))
    .map(([name, of]) => `${name}: ${of(before) ?? 'unknown'} before, ${of(after) ?? 'unknown'} now`);
}

/**
 * The comparison as it is printed.
 *
 * @param inTurns whether the program of the earlier run was measured again, beside this one
 */
export function comparison(before: Run, after: Run, inTurns: boolean): string[] {
  const all = inTurns ? changesInTurns(after.rows) : changes(before, after);
  const percent = (times: number) => `${times >= 1 ? '+' : '−'}${Math.abs((times - 1) * 100).toFixed(1)} %`;
  const of = (verdict: Change['verdict']) => all.filter((one) => one.verdict === verdict);
  const reported = [...of('slower'), ...of('faster')].sort((a, b) => b.times - a.times);
  const [old, now] = [before.about.commit ?? 'unknown', after.about.commit ?? 'unknown'].map(short);
  const measured = new Set(after.rows.map(nameOf));
  const missing = before.rows.filter((row) => !measured.has(nameOf(row))).length;
  const added = after.rows.length - all.length;
  const how = inTurns ? 'whose program took turns with this one' : 'by the times of then';
  return [
    `Compared with ${old} of ${before.about.date}${old === now ? ', the same commit' : ''}, ${how}:`,
    ...(inTurns ? [] : differences(before.about, after.about).map((text) => `  ${text}`)),
    ...reported.map(
      ({ name, times, low, high, verdict }) =>
        `  ${verdict}  ${name.padEnd(66)} ${percent(times).padStart(9)}  (${percent(low)} to ${percent(high)})`,
    ),
    `  ${of('slower').length} slower and ${of('faster').length} faster beyond noise, ${of('same').length} without a change of ${100 * RULED_OUT} %,` +
      ` ${of('unclear').length} too noisy to tell, of ${all.length} cases`,
    ...(missing ? [`  ${missing} of the earlier run not measured now`] : []),
    ...(added ? [`  ${added} not in the earlier run`] : []),
  ];
}

function short(commit: string): string {
  return commit === 'unknown' ? commit : `${commit.slice(0, 8)}${commit.endsWith('+') ? ' with changes' : ''}`;
}

/** What a file must be for a comparison; undefined where it is. */
export function flaw(value: unknown): string | undefined {
  const run = value as Partial<Run> | null;
  if (typeof run !== 'object' || run === null || !Array.isArray(run.rows) || typeof run.about !== 'object')
    return 'no figures of npm run bench';
  if (run.program !== undefined && typeof run.program !== 'string') return 'a program that is no text';
  const isTiming = (timing: unknown) => {
    const rounds = (timing as { rounds?: unknown } | undefined)?.rounds;
    const isPositive = (x: unknown) => typeof x === 'number' && x > 0 && Number.isFinite(x);
    return (
      Array.isArray(rounds) && rounds.every((one) => Array.isArray(one) && one.length > 0 && one.every(isPositive))
    );
  };
  for (const row of run.rows as (Row | null)[]) {
    const { ours, plain, copy } = row?.times ?? {};
    if (!row || !isTiming(ours) || !isTiming(plain) || (copy && !isTiming(copy)))
      return 'a case without times of ours and plain';
    const count = ours!.rounds.length;
    if ([plain!, ...(copy ? [copy] : [])].some(({ rounds }) => rounds.length !== count))
      return `${nameOf(row)} with times of unequally many processes`;
    if (count < LEAST_PROCESSES) return `figures of ${count} process(es): --processes ${LEAST_PROCESSES} or more`;
  }
  return undefined;
}
