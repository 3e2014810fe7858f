// npm run serve:load [-- --seconds 4] [--connections 64]
//
// Starts the server in a process of its own, with batching and without, by turns; sends held-out
// digits over loopback from many connections at once; checks the answers; prints requests per
// second and latencies.

import { type ChildProcess, fork } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { readArguments } from '../../scripts/arguments.ts';
import { Connection, requestFor } from './client.ts';
import { heldOut } from './data.ts';

const options = readArguments({
  options: {
    seconds: { type: 'string', default: '4' },
    connections: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '3' },
  },
});
const [seconds, connections, rounds] = [Number(options.seconds), Number(options.connections), Number(options.rounds)];
const BATCHES = [1, 32];

interface Result {
  readonly perSecond: number;
  readonly latencies: Float64Array;
  readonly accuracy: number;
  /** Images in a batch, on average. */
  readonly rows: number;
}

function start(batch: number): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(fileURLToPath(new URL('./main.ts', import.meta.url)), ['--port', '0', '--batch', `${batch}`], {
    silent: true,
  });
  return new Promise((resolve, reject) => {
    child.once('message', ({ port }: { port: number }) => resolve({ child, port }));
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
  });
}

async function measure(batch: number): Promise<Result> {
  const { child, port } = await start(batch);
  try {
    const { images, labels, count } = heldOut();
    const requests = Array.from({ length: count }, (_, i) => requestFor(images.subarray(i * 784, (i + 1) * 784)));
    const clients = await Promise.all(Array.from({ length: connections }, () => Connection.open(port)));
    const latencies: number[] = [];
    let right = 0;
    let next = 0;
    let from = Number.POSITIVE_INFINITY;
    let until = 0;
    const one = async (client: Connection) => {
      while (performance.now() < until) {
        const i = next++ % count;
        const sent = performance.now();
        const { digit } = JSON.parse(await client.ask(requests[i]));
        if (sent < from) continue; // warming up
        latencies.push(performance.now() - sent);
        if (digit === labels[i]) right++;
      }
    };
    from = performance.now() + 1000;
    until = from + seconds * 1000;
    await Promise.all(clients.map(one));
    for (const client of clients) client.close();
    const metrics = await Connection.open(port);
    const text = await metrics.ask(Buffer.from('GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'));
    metrics.close();
    const numberOf = (name: string) =>
      Number(
        text
          .split('\n')
          .find((line) => line.startsWith(`${name} `))
          ?.split(' ')[1],
      );
    return {
      perSecond: latencies.length / seconds,
      latencies: Float64Array.from(latencies).sort(),
      accuracy: right / latencies.length,
      rows: numberOf('evenkeel_pool_requests_total{outcome="completed"}') / numberOf('evenkeel_pool_batches_total'),
    };
  } finally {
    child.removeAllListeners('exit');
    child.kill();
  }
}

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1];

async function main(): Promise<void> {
  console.log(
    `${connections} connections, ${seconds} s each, ${rounds} rounds by turns; ${cpus()[0]?.model.trim()}, ${cpus().length} cores, Node ${process.versions.node}\n`,
  );
  const results = new Map<number, Result[]>(BATCHES.map((batch) => [batch, []]));
  for (let round = 0; round < rounds; round++)
    for (const batch of BATCHES) results.get(batch)!.push(await measure(batch));
  console.log('batches of up to   images in one   requests/s      p50 ms   p90 ms   p99 ms   accuracy');
  const rates = BATCHES.map((batch) => {
    const all = results.get(batch)!;
    const rate = median(all.map(({ perSecond }) => perSecond));
    const shown = all.find(({ perSecond }) => perSecond === rate)!;
    const at = (share: number) =>
      shown.latencies[Math.floor(share * (shown.latencies.length - 1))].toFixed(1).padStart(9);
    console.log(
      `${`${batch}`.padStart(16)}${shown.rows.toFixed(1).padStart(16)}${Math.round(rate).toLocaleString('en').padStart(13)}   ${at(0.5)}${at(0.9)}${at(0.99)}${(100 * shown.accuracy).toFixed(2).padStart(10)} %`,
    );
    return rate;
  });
  console.log(`\nwith batching ${(rates[1] / rates[0]).toFixed(1)} times as many requests a second`);
}

main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
