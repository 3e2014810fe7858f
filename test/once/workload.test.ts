// The plain loops that benchmarks compare with are batch norm.

import { test } from 'vitest';
import { EPS, Workload } from '../../bench/workload.ts';
import { normals } from '../support/data.ts';
import { expectClose } from '../support/gradients.ts';
import { channelsOf, gradients, normalized, statisticsOf } from '../support/reference.ts';

const SHAPES = [
  [3, 5, 2, 7],
  [6, 5],
];

test.each(['channels-first', 'channels-last'] as const)('of the formulas, %s', (layout) => {
  for (const dims of SHAPES) {
    const work = new Workload({ name: 'small', dims }, layout);
    const { x, dy, gamma, beta, runningMean: mean, runningVar: variance } = work;
    // means and spreads of channels that are not those of the statistics
    x.set(normals(5, x.length, 3));
    const channelOf = channelsOf(work.stored, layout);
    const affine = { gamma, beta, eps: EPS };
    const values = (statistics: Parameters<typeof normalized>[2]) =>
      Float64Array.from(x, (value, i) => normalized(value, channelOf(i), statistics, affine));

    work.evaluate();
    expectClose(work.y, values({ mean, variance }), 1e-6);
    const batch = statisticsOf(x, dims[1], channelOf);
    work.train();
    expectClose(work.y, values(batch), 1e-6);
    const { dx, dgamma } = gradients(x, dy, channelOf, batch, affine);
    work.backward();
    expectClose(work.y, dx, 1e-6);
    expectClose(work.dgamma, dgamma, 1e-6);
  }
});
