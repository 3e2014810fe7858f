// The classifier behind node:http.
//
//   POST /classify?width=W&height=H   4·W·H bytes, RGBA, row by row
//                                     →  { "classes": [{ "name", "probability" }, …], "ms": … }
//   GET  /                            a page that asks the server, and classifies by itself: beside
//                                     TF.js, where that is installed

import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { modelFolder, openClassifier } from './model.ts';
import { pageFiles } from './page/files.ts';

const MOST_SIDE = 4096;

class BadRequest extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

interface Answer {
  readonly type: string;
  readonly body: string | Uint8Array;
}

const TYPES: Readonly<Record<string, string>> = {
  js: 'text/javascript',
  html: 'text/html; charset=utf-8',
  wasm: 'application/wasm',
};
const json = (value: unknown): Answer => ({ type: 'application/json', body: JSON.stringify(value) });

export async function startServer(port: number): Promise<Server> {
  const classify = await openClassifier();
  const files = await pageFiles();
  const folder = modelFolder();
  const answer = async (request: IncomingMessage): Promise<Answer> => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    if (pathname === '/classify') {
      if (request.method !== 'POST') throw new BadRequest(405, 'POST a picture');
      const [width, height] = ['width', 'height'].map((name) => sideOf(searchParams.get(name), name));
      const rgba = await bodyOf(request, 4 * width * height);
      const start = performance.now();
      const classes = classify(rgba, width, height);
      return json({ classes, ms: performance.now() - start });
    }
    if (request.method !== 'GET') throw new BadRequest(405, 'GET');
    const name = pathname === '/' ? 'index.html' : pathname.slice(1);
    const type = TYPES[name.split('.').at(-1)!] ?? 'application/octet-stream';
    const own = files.get(name);
    if (own) return { type, body: own };
    const model = /^model\/([\w-]+(?:\.[\w-]+)*)$/.exec(name)?.[1];
    if (model === undefined) throw new BadRequest(404, 'GET /, POST /classify');
    try {
      return { type, body: readFileSync(join(folder, model)) };
    } catch {
      throw new BadRequest(404, `no file ${model}`);
    }
  };
  const server = createServer((request, response) => {
    answer(request)
      .then(({ type, body }) => send(response, 200, type, body))
      .catch((error: Error) => {
        const status = error instanceof BadRequest ? error.status : 500;
        if (status === 500) console.error(error);
        const text = JSON.stringify({ error: status === 500 ? 'something went wrong' : error.message });
        send(response, status, 'application/json', text);
      });
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

function sideOf(given: string | null, name: string): number {
  const side = Number(given);
  if (given && Number.isInteger(side) && side >= 1 && side <= MOST_SIDE) return side;
  throw new BadRequest(400, `${name} expected a whole number from 1 to ${MOST_SIDE}, got ${given ?? 'none'}`);
}

async function bodyOf(request: IncomingMessage, size: number): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > size) throw new BadRequest(413, `a picture expected ${size} bytes, got more`);
    parts.push(part);
  }
  if (length < size) throw new BadRequest(400, `a picture expected ${size} bytes, got ${length}`);
  return Buffer.concat(parts);
}

function send(response: ServerResponse, status: number, type: string, body: string | Uint8Array): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'x-content-type-options': 'nosniff',
  });
  response.end(body);
}
