// npm run classify [-- --port 8081] [-- --compare]

import { readArguments } from '../../scripts/arguments.ts';
import { compared } from './compare.ts';
import { startServer } from './server.ts';

const { port, compare } = readArguments({
  options: { port: { type: 'string', default: '8081' }, compare: { type: 'boolean', default: false } },
});

async function main(): Promise<void> {
  if (compare) {
    console.log(await compared());
    return;
  }
  const server = await startServer(Number(port));
  const address = server.address();
  const at = typeof address === 'object' && address ? address.port : port;
  console.log(`http://127.0.0.1:${at}/, a page; POST /classify?width=W&height=H, RGBA`);
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
