// The network behind node:http.
//
//   POST /direction?width=W&height=H   4·W·H bytes, RGBA, row by row
//                                      →  { "direction": [{ "degrees", "probability" }], "ms" }
//   GET  /                             a page that asks the same network in a worker of its own

import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type Model, openDirection } from './model.ts';
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

const TYPES: Readonly<Record<string, string>> = { js: 'text/javascript', html: 'text/html; charset=utf-8' };
const json = (value: unknown): Answer => ({ type: 'application/json', body: JSON.stringify(value) });

export async function startServer(model: Model, port: number): Promise<Server> {
  const { direction } = await openDirection(model);
  const files = new Map<string, Uint8Array | string>(await pageFiles());
  files.set('model.onnx', readFileSync(model.path));
  files.set('degrees.json', JSON.stringify(model.degrees));
  const answer = async (request: IncomingMessage): Promise<Answer> => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    if (pathname === '/direction') {
      if (request.method !== 'POST') throw new BadRequest(405, 'POST a picture');
      const [width, height] = ['width', 'height'].map((name) => sideOf(searchParams.get(name), name));
      const data = await bodyOf(request, 4 * width * height);
      const start = performance.now();
      const found = direction({ data, width, height });
      return json({ direction: found, ms: performance.now() - start });
    }
    if (request.method !== 'GET') throw new BadRequest(405, 'GET');
    const name = pathname === '/' ? 'index.html' : pathname.slice(1);
    const body = files.get(name);
    if (body === undefined) throw new BadRequest(404, 'GET /, POST /direction');
    return { type: TYPES[name.split('.').at(-1)!] ?? 'application/octet-stream', body };
  };
  const server = createServer((request, response) => {
    const send = (status: number, { type, body }: Answer) => {
      response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
      response.end(body);
    };
    answer(request)
      .then((found) => send(200, found))
      .catch((error: Error) => {
        if (error instanceof BadRequest) return send(error.status, json({ error: error.message }));
        console.error(error);
        send(500, json({ error: 'something went wrong' }));
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
