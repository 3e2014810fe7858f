// npm run bench:cold [-- --runs N]
//
// Import to first normalised batch, as a function feels it that was not running: whole processes,
// one of each in turn, so that what else the machine does falls on all of them. Medians, and what
// lies above an empty script.

import { execFileSync, spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { readArguments } from '../../scripts/arguments.ts';
import { writePrograms } from './programs.ts';

const options = readArguments({ options: { runs: { type: 'string', default: '31' } } });
const runs = Number(options.runs);
if (!(Number.isInteger(runs) && runs >= 3)) {
  console.error(`--runs expected an integer of 3 or more, got '${options.runs}'`);
  process.exit(2);
}

execFileSync(process.execPath, [fileURLToPath(new URL('../peers/install.mjs', import.meta.url))], { stdio: 'inherit' });
const programs = await writePrograms(fileURLToPath(new URL('../results/cold/', import.meta.url)));
const times = programs.map(() => [] as number[]);
for (let run = -1; run < runs; run++) {
  programs.forEach(({ name, file }, i) => {
    const env = { ...process.env, CHECK: run < 0 ? '1' : '' };
    const start = performance.now();
    const { status, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8', env });
    const took = performance.now() - start;
    if (status !== 0) throw new Error(`${name}: ${stderr.slice(-1000)}`);
    if (run >= 0) times[i].push(took); // the first is checked, and warms the disk
  });
}

const median = (values: readonly number[]) => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1];
};
const [empty, ours] = times.map(median);
const kB = (bytes: number) => (bytes > 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e3).toFixed(1)} kB`);
console.log(
  `Import and a first batch of 1x1024, whole processes; medians of ${runs}, in turns. Node ${process.versions.node}, ${cpus()[0].model}.\n`,
);
console.log(`${''.padEnd(24)}${'ms'.padStart(8)}${'above empty'.padStart(14)}${'over ours'.padStart(12)}   to deploy`);
programs.forEach(({ name, bytes }, i) => {
  const above = median(times[i]) - empty;
  const size = bytes
    ? `${kB(bytes.raw)}${bytes.gzip ? ` (JavaScript ${kB(bytes.gzip)} gzipped)` : ''}: ${bytes.with}`
    : '';
  const ratio = i > 1 ? (above / (ours - empty)).toFixed(1) : '';
  console.log(
    `${name.padEnd(24)}${median(times[i]).toFixed(1).padStart(8)}${above.toFixed(1).padStart(14)}${ratio.padStart(12)}   ${size}`,
  );
});
console.log(`
This is one machine that starts processes again and again, with files in its cache. It is not AWS: no image is fetched, no microVM started, no CPU share
rationed by memory size; there what has to be deployed counts for more than here.`);
