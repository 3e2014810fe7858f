// npm run serve [-- --port 8080] [--batch 32]

import { readArguments } from '../../scripts/arguments.ts';
import { loadCompiled } from './model.ts';
import { startServer } from './server.ts';

const { port, batch } = readArguments({
  options: { port: { type: 'string', default: '8080' }, batch: { type: 'string', default: '32' } },
});
const mostRows = Number(batch);
if (!Number.isInteger(mostRows) || mostRows < 1) {
  console.error(`--batch expected an integer of 1 or more, got ${batch}`);
  process.exit(2);
}
const plan = loadCompiled(1);
console.log(plan.explain());
plan.dispose();
startServer(Number(port), mostRows)
  .then((server) => {
    const address = server.address();
    const at = typeof address === 'object' && address ? address.port : port;
    console.log(`http://127.0.0.1:${at}/predict, batches of up to ${mostRows}`);
    process.send?.({ port: at });
    const stop = () => {
      server.close();
      server.closeAllConnections();
    };
    process.once('SIGTERM', stop);
    process.once('SIGINT', stop);
  })
  .catch((error: Error) => {
    console.error(error.message);
    process.exit(1);
  });
