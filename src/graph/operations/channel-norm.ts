// Batch norm without running statistics, instance norm and group norm: channels, or groups of
// channels, by statistics of the batch or of each sample.

import { showShape } from '../../errors.ts';
import { setTraining, trainingAt, trainingBytes } from '../../passes/coefficients.ts';
import { poolGroups } from '../../passes/groups.ts';
import { statistics, trainForward } from '../../passes/passes.ts';
import { planOf, type Ranks } from '../../passes/plan.ts';
import { runsOf, singleValue } from '../../passes/runs.ts';
import type { Layout } from '../../types.ts';
import type { Valued } from '../error-analysis.ts';
import { axisOf, type Description, jsonRanks, type Operation, type Runner } from '../operation.ts';
import { normTakes, readAxes } from './affine.ts';
import { normalized, readEps, withScaling } from './norms.ts';

export interface ChannelNormOperation<V extends ArrayLike<number> = ArrayLike<number>> extends Operation {
  readonly kind: 'channel-norm';
  readonly channels: number;
  /**
   * Groups of consecutive channels that share statistics: as many as channels where each has its
   * own.
   */
  readonly groups: number;
  /** Whose statistics: those of all samples, or of each. */
  readonly over: 'batch' | 'sample';
  /** One value behind a statistic: beta, or an error. */
  readonly onSingleValue: 'skip-update' | 'throw';
  readonly eps: number;
  readonly layout: Layout;
  readonly ranks: Ranks;
  /** By channel; null: 1 and 0. */
  readonly gamma: V | null;
  readonly beta: V | null;
}

/** Whose statistics a norm without running ones uses in evaluation. */
export type OwnStatistics = Pick<ChannelNormOperation, 'groups' | 'over' | 'onSingleValue'>;

type Rounded = ChannelNormOperation<Float32Array>;
type Exact = ChannelNormOperation;

const name = ({ groups, channels, over }: Exact) =>
  over === 'batch'
    ? `batch norm ${channels} by the batch`
    : groups === channels
      ? `instance norm ${channels}`
      : `group norm ${groups} of ${channels}`;

const planFor = (subject: string, { channels, layout, ranks }: Exact, shape: readonly number[]) =>
  planOf(subject, shape, channels, layout, ranks);

export const runChannelNorm: Runner<Rounded> = {
  kind: 'channel-norm',
  arity: 1,
  fuses: true,
  overwrites: [0],
  name,
  shape(subject, operation, [x]) {
    planFor(subject, operation, x);
    return x;
  },
  takes: ({ channels, layout, ranks }, rank) => normTakes(channels, layout, ranks, rank),
  scratch: ({ channels }) => trainingBytes(channels),
  call({ backend, operation, shapes, inputs: [from], residual, output, scratch, activation }) {
    const { channels, groups, over, onSingleValue, eps, gamma, beta } = operation;
    const plan = planFor(name(operation), operation, shapes[0]);
    const runs = runsOf(plan, undefined, over === 'batch' ? plan.shape[0] : 1);
    if (onSingleValue === 'throw' && plan.size > 0 && runs.some(({ count }) => (count * channels) / groups === 1)) {
      const per = groups === channels ? 'channel' : 'group';
      throw singleValue(`compiled network: ${name(operation)}`, 'x', per, `shape ${showShape(shapes[0])}`);
    }
    const v = trainingAt(backend.heap, scratch(), channels);
    const derive = (first: number, last: number) => {
      setTraining(v, first, last, eps, gamma ?? undefined, beta ?? undefined);
    };
    const isPooled = groups < channels;
    return () => {
      const [x, added, y] = [from(), residual(), output()];
      for (const run of runs) {
        if (run.plan.size === 0) continue;
        const bytes = run.from * 4;
        if (isPooled) {
          statistics(backend, run.plan, x + bytes, v);
          poolGroups(v, channels, groups);
        }
        const part = added && added + bytes;
        trainForward(backend, run.plan, x + bytes, part, y + bytes, activation, v, derive, isPooled);
      }
    };
  },
  read(fields) {
    const { json, whole, fail, optional } = fields;
    const channels = whole(json.channels, 1, 2 ** 24);
    const { over, onSingleValue } = json;
    if (over !== 'batch' && over !== 'sample') throw fail("over 'batch' or 'sample'", over);
    if (onSingleValue !== 'skip-update' && onSingleValue !== 'throw') throw fail('onSingleValue', onSingleValue);
    const groups = whole(json.groups, 1, channels);
    if (channels % groups) throw fail('groups that divide the channels', groups);
    return {
      kind: 'channel-norm',
      channels,
      groups,
      over,
      onSingleValue,
      eps: readEps(fields),
      ...readAxes(fields),
      gamma: optional('gamma', [channels]),
      beta: optional('beta', [channels]),
    };
  },
};

export const describeChannelNorm: Description<Exact, Rounded> = {
  runner: runChannelNorm,
  group: 'norms',
  noun: 'a norm by statistics of its input',
  exact: (given) => withScaling(given, Float64Array),
  rounded: (exact) => withScaling(exact, Float32Array),
  rounding: () => null,
  json: ({ kind: _, gamma, beta, ranks, ...fields }, store) => ({
    ...fields,
    ranks: jsonRanks(ranks),
    gamma: store(gamma, [fields.channels], 'gamma'),
    beta: store(beta, [fields.channels], 'beta'),
  }),
  bytes: ({ gamma, beta }) => 4 * ((gamma?.length ?? 0) + (beta?.length ?? 0)),
  work: () => null,
  output: ({ layout, channels }) => ({ axis: axisOf(layout), count: channels }),
  analyse([x], exact, used) {
    const { channels, groups, over, eps } = exact;
    const out: Valued = {
      shape: x.shape,
      value: new Float64Array(x.value.length),
      error: new Float64Array(x.value.length),
    };
    const samples = over === 'batch' ? 1 : x.shape[0];
    const places = x.value.length / channels / x.shape[0];
    // a sample is one plane of each channel, or a row of all channels for each place
    const isFirst = exact.layout === 'channels-first';
    const inner = isFirst ? places : 1;
    const planes = (x.shape[0] / samples) * (isFirst ? 1 : places);
    const size = channels / groups;
    for (let n = 0; n < samples; n++) {
      for (let g = 0; g < groups; g++) {
        const channelOf = (i: number) => g * size + (Math.floor(i / inner) % size);
        const at = (i: number) => {
          const plane = n * planes + Math.floor(i / (inner * size));
          return (plane * channels + channelOf(i)) * inner + (i % inner);
        };
        normalized(x, out, eps, true, planes * size * inner, at, (i) => {
          const c = channelOf(i);
          return {
            gamma: [exact.gamma?.[c] ?? 1, used.gamma?.[c] ?? 1],
            beta: [exact.beta?.[c] ?? 0, used.beta?.[c] ?? 0],
          };
        });
      }
    }
    return out;
  },
};
