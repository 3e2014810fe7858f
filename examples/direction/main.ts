// npm run direction [-- --port 8082] [-- --small]

import { readArguments } from '../../scripts/arguments.ts';
import { packaged, SMALL } from './model.ts';
import { startServer } from './server.ts';

const { port, small } = readArguments({
  options: { port: { type: 'string', default: '8082' }, small: { type: 'boolean', default: false } },
});

async function main(): Promise<void> {
  const server = await startServer(small ? SMALL : packaged(), Number(port));
  const address = server.address();
  const at = typeof address === 'object' && address ? address.port : port;
  console.log(`http://127.0.0.1:${at}/, a page; POST /direction?width=W&height=H, RGBA`);
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
