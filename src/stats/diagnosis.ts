/** Where a gap between training and evaluation comes from. */
export type Cause = 'mean drift' | 'variance drift' | 'estimator' | 'batch size';

/** Root mean squares over the values of the batch, in units of the output before the activation. */
export interface ChannelGap {
  /** The channel, counted from 0. */
  readonly channel: number;
  /** Between the output by the batch's statistics and that by the running ones. */
  readonly gap: number;
  /** The part of the gap that the mean makes. */
  readonly meanDrift: number;
  /** The part of the gap that the variance makes, apart from the estimator. */
  readonly varianceDrift: number;
  /**
   * The part of the gap that the estimator makes: m/(m − 1) where unbiased variances are tracked.
   */
  readonly estimator: number;
  /** The gap that a batch of this many independent values shows by chance. */
  readonly batchSize: number;
  /** Where most of it comes from; `null`: there is none. */
  readonly cause: Cause | null;
}

/** The gap between training and evaluation of one norm. */
export interface NormDiagnosis {
  /** Its name in the network, as in state dicts. */
  readonly name: string;
  /** What errors call it: `BatchNorm1d(100)`. */
  readonly subject: string;
  /** The time step, where each has statistics of its own; else `null`. */
  readonly step: number | null;
  /** Values behind each statistic of the batch. */
  readonly values: number;
  /** Root mean square over the channels. */
  readonly gap: number;
  /** Where most of the gap comes from; `null`: there is none. */
  readonly cause: Cause | null;
  /** The gap of each channel. */
  readonly channels: readonly ChannelGap[];
}

/** Dropout before a norm. */
export interface DropoutDiagnosis {
  /** Name of the dropout layer in the network. */
  readonly dropout: string;
  /** Name of the norm in the network. */
  readonly norm: string;
  /** 1 − p. */
  readonly keep: number;
  /** Is there no other norm between them? */
  readonly direct: boolean;
  /** Variance of the norm's input with dropout over that without, measured. */
  readonly ratio: number;
  /** 1/keep: what it is where the mean is 0. */
  readonly expected: number;
  /** The variance that evaluation uses over that which it sees. NaN without running statistics. */
  readonly running: number;
  /** What to do about it; `null`: nothing. */
  readonly remedy: string | null;
}

/** The outputs of a layer in evaluation: channels by number. */
export interface UnitDiagnosis {
  /** Its name in the network, as in state dicts. */
  readonly name: string;
  /** What errors call it: `ReLU`. */
  readonly subject: string;
  /** How many channels its output has. */
  readonly channels: number;
  /** The share of saturated values, of activations that saturate; else `null`. */
  readonly saturation: number | null;
  /**
   * Channels of which more than half of the values lie beyond ±0.97 (of a sigmoid, scaled to ±1).
   */
  readonly saturated: readonly number[];
  /** Channels that give the same output whatever comes in. */
  readonly dead: readonly number[];
  /** Channels with values that are not finite, or beyond ±10,000. */
  readonly exploding: readonly number[];
}

/**
 * What `diagnose` has found: as data, as JSON, and as a table.
 *
 *     const { norms, dropout, units } = diagnose(net, batch);
 *     norms.filter(({ gap }) => gap > 0.1).map(({ name, cause }) => [name, cause]);
 */
export class Diagnosis {
  /** The class's name, also where the library was minified. */
  static readonly name: string = 'Diagnosis';
  /** Gaps between training and evaluation, of each norm with running statistics. */
  readonly norms: readonly NormDiagnosis[];
  /** Norms that have dropout before them. */
  readonly dropout: readonly DropoutDiagnosis[];
  /** The outputs of every layer. */
  readonly units: readonly UnitDiagnosis[];

  /** @internal */
  constructor(norms: readonly NormDiagnosis[], dropout: readonly DropoutDiagnosis[], units: readonly UnitDiagnosis[]) {
    this.norms = norms;
    this.dropout = dropout;
    this.units = units;
  }

  /** For `JSON.stringify`, in which NaN and infinities become `null`. */
  toJSON(): {
    /** As `norms` of the diagnosis. */
    norms: readonly NormDiagnosis[];
    /** As `dropout` of the diagnosis. */
    dropout: readonly DropoutDiagnosis[];
    /** As `units` of the diagnosis. */
    units: readonly UnitDiagnosis[];
  } {
    const { norms, dropout, units } = this;
    return { norms, dropout, units };
  }

  /**
   * A table of the norms, the worst channel of each; and a line for each thing that is wrong
   * besides.
   */
  toString(): string {
    const head = ['norm', 'values', 'gap', 'mean', 'variance', 'estimator', 'by chance', 'worst', 'cause'];
    const rows = this.norms.map(({ name, subject, step, values, gap, cause, channels }) => {
      const over = (of: (one: ChannelGap) => number) => rms(channels.map(of));
      const worst = channels.reduce((a, b) => (b.gap > a.gap ? b : a));
      return [
        label(name, subject) + (step === null ? '' : ` step ${step}`),
        String(Math.round(values)),
        number(gap),
        number(over(({ meanDrift }) => meanDrift)),
        number(over(({ varianceDrift }) => varianceDrift)),
        number(over(({ estimator }) => estimator)),
        number(over(({ batchSize }) => batchSize)),
        `channel ${worst.channel}: ${number(worst.gap)}`,
        cause ?? 'none',
      ];
    });
    const lines = rows.length ? [...table([head, ...rows])] : [];
    for (const { dropout, norm, ratio, expected, direct, remedy } of this.dropout) {
      const measured = `variance in training is ${number(ratio)} times that without dropout${direct ? ` (1/keep = ${number(expected)})` : ''}`;
      lines.push(`dropout ${dropout} before norm ${norm}: ${measured}${remedy ? `; ${remedy}` : ''}`);
    }
    for (const unit of this.units) {
      for (const kind of ['saturated', 'dead', 'exploding'] as const) {
        const found = unit[kind];
        if (!found.length) continue;
        const listed = `${found.slice(0, 12).join(', ')}${found.length > 12 ? ', …' : ''}`;
        lines.push(
          `${label(unit.name, unit.subject)}: ${found.length} of ${unit.channels} channels ${kind} (${listed})`,
        );
      }
    }
    return lines.join('\n');
  }
}

/** A layer by its name and what it is. */
export const label = (name: string, subject: string) => (name === '' ? subject : `${name} ${subject}`);

export const rms = (values: readonly number[]) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);

function number(value: number): string {
  return Number.isFinite(value) ? String(Number(value.toPrecision(3))) : String(value);
}

/** Columns side by side, words to the left and numbers to the right. */
function* table(rows: readonly (readonly string[])[]): Iterable<string> {
  const widths = rows[0].map((_, c) => Math.max(...rows.map((row) => row[c].length)));
  for (const row of rows) {
    const cells = row.map((cell, c) => (c === 0 || c >= 7 ? cell.padEnd(widths[c]) : cell.padStart(widths[c])));
    yield cells.join('  ').trimEnd();
  }
}
