// npm run bench:shards: what the merge of many shards costs, and what a part of a network does.

import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { BatchNorm1d, Random } from 'evenkeel';
import { resnet } from 'evenkeel/models';
import { directoryStore, Moments, mergeShards, runShard, runShards, statisticsTask } from 'evenkeel/shards';

/** Moments of one batch of two random rows. */
function momentsOf(channels: number): Moments {
  const random = new Random(channels);
  return new Moments(channels).add({
    data: Float32Array.from({ length: 2 * channels }, () => 3 + random.normal()),
    shape: [2, channels],
  });
}

const task = statisticsTask({ version: '1', net: () => new BatchNorm1d(1), batches: () => [] });
const manifest = (count: number) => ({
  shards: Array.from({ length: count }, (_, i) => ({ key: `s-${i}`, input: i })),
});
const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** Merges parts that are all there; seconds, and resident memory that came with it. */
async function merged(count: number, layers: Record<string, Moments>): Promise<void> {
  const bytes = task.encode({ layers, batches: 1, skipped: 0 });
  const before = process.memoryUsage.rss();
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 5);
  const started = performance.now();
  await runShards(
    manifest(count),
    { ...task, shard: () => bytes },
    {
      progress: ({ done }) => {
        if (done % 100 === 0) most = Math.max(most, process.memoryUsage.rss());
      },
    },
  );
  const time = performance.now() - started;
  clearInterval(watch);
  const channels = Object.values(layers).reduce((sum, one) => sum + one.channels, 0);
  console.log(
    `${count.toLocaleString('en')} shards × ${channels.toLocaleString('en')} channels (${bytes.length.toLocaleString('en')} bytes each): ${(time / 1000).toFixed(2)} s, ${((time * 1000) / count).toFixed(0)} µs a shard, ${megabytes(most - before)} more memory`,
  );
}

console.log(`${cpus()[0]?.model.trim()}, Node ${process.versions.node}\n`);
await merged(10_000, { bn: momentsOf(64) });
const norms = Object.entries(resnet(50).stateDict()).filter(([name]) => name.endsWith('.runningMean'));
const layers = Object.fromEntries(
  norms.map(([name, { shape }]) => [name.slice(0, -'.runningMean'.length), momentsOf(shape[0])]),
);
console.log(`\nResNet-50: ${norms.length} norms`);
await merged(1000, layers);
const folder = mkdtempSync(join(tmpdir(), 'evenkeel-bench-'));
try {
  const store = directoryStore(folder);
  const bytes = task.encode({ layers, batches: 1, skipped: 0 });
  const some = manifest(50);
  const one = { ...task, shard: () => bytes };
  let started = performance.now();
  for (let i = 0; i < 50; i++) await runShard(some, i, one, store);
  console.log(`a part written to a folder, synchronised: ${((performance.now() - started) / 50).toFixed(1)} ms`);
  started = performance.now();
  await mergeShards(some, one, store);
  console.log(`a part read, checked and merged: ${((performance.now() - started) / 50).toFixed(1)} ms`);
} finally {
  rmSync(folder, { recursive: true });
}
