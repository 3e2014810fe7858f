// npm run serve [-- --port 8080] [--batch 32] [--workers auto] [--drain 500]

import { readArguments } from '../../scripts/arguments.ts';
import { loadCompiled } from './model.ts';
import { startServer } from './server.ts';

const { port, batch, workers, drain } = readArguments({
  options: {
    port: { type: 'string', default: '8080' },
    batch: { type: 'string', default: '32' },
    workers: { type: 'string', default: 'auto' },
    drain: { type: 'string', default: '500' },
  },
});
const maxBatch = Number(batch);
if (!Number.isInteger(maxBatch) || maxBatch < 1) {
  console.error(`--batch expected an integer of 1 or more, got ${batch}`);
  process.exit(2);
}
const compiled = loadCompiled(1);
console.log(compiled.explain());
const network = compiled.save();
compiled.dispose();
startServer(Number(port), network, { maxBatch, workers: workers === 'auto' ? workers : Number(workers) })
  .then(({ port: at, stop }) => {
    console.log(`http://127.0.0.1:${at}/predict, batches of up to ${maxBatch}`);
    process.send?.({ port: at });
    const end = () => {
      stop(Number(drain)).then(
        () => process.exit(0),
        (error: Error) => {
          console.error(error.message);
          process.exit(1);
        },
      );
    };
    process.once('SIGTERM', end);
    process.once('SIGINT', end);
  })
  .catch((error: Error) => {
    console.error(error.message);
    process.exit(1);
  });
