// npm start [-- --quick] [--steps N] [--report FOLDER]
//
// Trains the network of the batch norm paper on real digits, with batch norm and without; compiles
// the best net, checks it and runs it; shows where batch norm breaks and what helps; writes
// report/index.html.

import { cpus } from 'node:os';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { info, tensor } from 'evenkeel';
import { readArguments } from '../../scripts/arguments.ts';
import { dropout } from '../lab/dropout.ts';
import { poison } from '../lab/poison.ts';
import { sequences } from '../lab/sequences.ts';
import { smallBatches } from '../lab/small-batches.ts';
import { say, spoken, type Value } from '../lab/words.ts';
import { convnet } from './convnet.ts';
import { loadDigits } from './data.ts';
import { type Digits, PIXELS } from './digits.ts';
import { SETTINGS } from './network.ts';
import { Progress } from './progress.ts';
import { type Finding, percent, writeReport } from './report.ts';
import { answerOf, compare, type Summary, WHY_SATURATED } from './summary.ts';
import { accuracyOf, type Run, train } from './train.ts';

const options = readArguments({
  options: {
    quick: { type: 'boolean', default: false },
    steps: { type: 'string' },
    report: { type: 'string', default: fileURLToPath(new URL('../../report/', import.meta.url)) },
  },
});
const seeds = options.quick ? [1] : [1, 2, 3];
const steps = Number(options.steps ?? (options.quick ? 1000 : 4000));
if (!Number.isInteger(steps) || steps < 1) {
  console.error(`--steps expected an integer of 1 or more, got ${options.steps}`);
  process.exit(2);
}
const every = Math.max(1, Math.round(steps / (options.quick ? 50 : 100)));

const digits = loadDigits();
const { backend } = info();
console.log(
  `${digits.train.count} digits to train on, ${digits.test.count} held out; backend ${backend}; ${steps} steps of 60, seeds ${seeds.join(', ')}\n`,
);

const plans = SETTINGS.flatMap((setting) =>
  seeds.flatMap((seed) => [true, false].map((batchNorm) => ({ setting, seed, batchNorm }))),
);
const progress = new Progress();
const runs: Run[] = [];
for (const { setting, seed, batchNorm } of plans) {
  const name = `${setting.activation} ${batchNorm ? 'with batch norm' : 'without'}, seed ${seed}`;
  const run = train(setting, batchNorm, seed, steps, every, digits, ({ step, loss, accuracy, imagesPerSecond }) => {
    const done = (runs.length + step / steps) / plans.length;
    progress.show(
      `${name}: step ${step}, loss ${loss.toFixed(3)}, accuracy ${percent(accuracy)}, ${Math.round(imagesPerSecond)} images/s`,
      done,
    );
  });
  progress.clear();
  console.log(
    `${name.padEnd(34)} accuracy ${percent(run.accuracy.at(-1)!)}   loss ${run.loss.at(-1)!.toFixed(3)}   ${run.millisecondsPerStep.toFixed(2)} ms per step`,
  );
  runs.push(run);
}

const comparisons = SETTINGS.map(({ activation }) => compare(activation, runs));
const answer = answerOf(comparisons);
console.log(`\n${answer}\n`);
for (const { activation, sentence, saturation } of comparisons) {
  console.log(`${activation}: ${sentence}${saturation ? `\n${saturation}` : ''}`);
}
if (comparisons.some(({ saturation }) => saturation)) console.log(WHY_SATURATED);

const best = runs.reduce((a, b) => (b.accuracy.at(-1)! > a.accuracy.at(-1)! ? b : a));
const compiled = checkAndRun(best, digits.test);
const name = `${best.setting.activation}${best.batchNorm ? ' and batch norm' : ''}, seed ${best.seed}`;
console.log(`
best net (${name}), compiled: ${compiled.steps.join('; ')}
largest difference from evaluation mode ${compiled.difference.toExponential(1)}
test accuracy ${percent(compiled.accuracy)}, ${Math.round(compiled.imagesPerSecond).toLocaleString('en')} images/s compiled, ${Math.round(compiled.evalImagesPerSecond).toLocaleString('en')} images/s in evaluation mode`);

const images = Math.max(
  50,
  Math.round((options.quick ? 6000 : 16_000) * Math.min(1, steps / (options.quick ? 1000 : 4000))),
);
progress.show('a small convnet, with batch norm and without', 1);
const convolutional = convnet(digits, images);
progress.clear();
console.log(`
${convolutional.sentence}
compiled: ${convolutional.steps.join('; ')}
largest difference from evaluation mode ${convolutional.difference.toExponential(1)}, ${Math.round(convolutional.imagesPerSecond).toLocaleString('en')} images/s compiled, ${Math.round(convolutional.evalImagesPerSecond).toLocaleString('en')} images/s in evaluation mode`);

const summary: Summary = {
  answer,
  about: `evenkeel, backend ${backend}, Node ${process.version}, ${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${new Date().toISOString().slice(0, 10)}; ${seeds.length} ${seeds.length === 1 ? 'seed' : 'seeds'}, ${steps} steps`,
  held: digits.test.count,
  comparisons,
  best: { name, ...compiled },
  convnet: convolutional,
};

const findings: Finding[] = [];
const experiments = [smallBatches, dropout, sequences, poison];
const scale = {
  digits,
  seeds,
  controls: {},
  share: Math.min(1, (options.quick ? 0.25 : 1) * (steps / (options.quick ? 1000 : 4000))),
};
console.log('');
for (const experiment of experiments) {
  const show = async (text: Value) => progress.show(say(text), findings.length / experiments.length);
  const result = spoken(await experiment.run({ ...scale, show }));
  progress.clear();
  console.log(`${say(experiment.title)}: ${result.verdict}`);
  findings.push(result);
}
console.log(`\n${relative(process.cwd(), writeReport(options.report, runs, summary, findings))}`);

/**
 * Compiles a net, holds it against evaluation mode on all held-out digits, and measures both in
 * batches of 64, by turns; medians.
 */
function checkAndRun({ net }: Run, test: Digits) {
  net.eval();
  const run = net.compile();
  const all = tensor(test.images, [test.count, PIXELS]);
  const expected = net.forward(all).data.slice();
  const logits = run(all).data.slice();
  const difference = expected.reduce((worst, value, i) => Math.max(worst, Math.abs(value - logits[i])), 0);
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (!(difference <= 1e-4 * scale))
    throw new Error(`the compiled net differs from evaluation mode by ${difference} of ${scale}`);

  const batch = tensor(test.images.subarray(0, 64 * PIXELS), [64, PIXELS]);
  const out = tensor(new Float32Array(640), [64, 10]);
  const works = [() => net.forward(batch), () => run(batch, { out })];
  const rates: number[][] = [[], []];
  for (let round = 0; round < 31; round++) {
    works.forEach((work, i) => {
      const start = performance.now();
      for (let k = 0; k < 40; k++) work();
      rates[i].push((40 * 64 * 1000) / (performance.now() - start));
    });
  }
  const [evalImagesPerSecond, imagesPerSecond] = rates.map((all) => all.sort((a, b) => a - b)[15]);
  const result = {
    accuracy: accuracyOf(logits, test),
    difference,
    steps: run.steps,
    evalImagesPerSecond,
    imagesPerSecond,
  };
  for (const t of [all, batch, out]) t.dispose();
  run.dispose();
  return result;
}
