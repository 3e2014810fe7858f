// Lambda's Runtime API, as far as a function sees it: GET /2018-06-01/runtime/invocation/next, POST
// …/{id}/response or …/{id}/error.

import { spawn } from 'node:child_process';
import { createServer, type ServerResponse } from 'node:http';
import { listening } from './host.ts';

/** What the runtime inside Lambda does with a handler, in a few lines. */
const BOOTSTRAP = `const api = 'http://' + process.env.AWS_LAMBDA_RUNTIME_API + '/2018-06-01/runtime/invocation/';
const { handler } = await import(process.env.HANDLER);
for (;;) {
  const next = await fetch(api + 'next');
  const id = next.headers.get('lambda-runtime-aws-request-id');
  const event = await next.json();
  try {
    await fetch(api + id + '/response', { method: 'POST', body: JSON.stringify(await handler(event)) });
  } catch (error) {
    await fetch(api + id + '/error', { method: 'POST', body: JSON.stringify({ errorType: error.name, errorMessage: error.message }) });
  }
}`;

/** Starts a function, gives it the events one by one, and ends it. */
export async function invoke(handler: string, events: readonly object[]): Promise<unknown[]> {
  const answers: unknown[] = [];
  let waiting: ServerResponse | undefined;
  let done = () => {};
  const finished = new Promise<void>((resolve) => {
    done = resolve;
  });
  const give = () => {
    if (!waiting || answers.length === events.length) return;
    waiting.setHeader('lambda-runtime-aws-request-id', `${answers.length}`);
    waiting.end(JSON.stringify(events[answers.length]));
    waiting = undefined;
  };
  const server = createServer((request, response) => {
    if (request.url?.endsWith('/next')) {
      waiting = response;
      give();
      return;
    }
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      answers.push(JSON.parse(text));
      response.statusCode = 202;
      response.end('{}');
      if (answers.length === events.length) done();
    });
  });
  const port = await listening(server);
  const child = spawn(process.execPath, ['--input-type=module', '-e', BOOTSTRAP], {
    env: { ...process.env, AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${port}`, HANDLER: handler },
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const ended = new Promise<never>((_, reject) => {
    child.on('exit', (code) => reject(new Error(`the function ended (${code}): ${said.slice(-600)}`)));
  });
  try {
    await Promise.race([finished, ended]);
  } finally {
    ended.catch(() => {});
    child.kill('SIGKILL');
    server.closeAllConnections();
    server.close();
  }
  return answers;
}
