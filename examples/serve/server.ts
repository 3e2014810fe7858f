// The network behind node:http.
//
//   POST /predict   784 floats (little-endian bytes), or { "pixels": [784 numbers] }
//                   →  { "digit": 7, "logits": [10 numbers] }
//   GET  /health    { "images": …, "batches": … }

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Batcher, Overloaded } from './batcher.ts';
import { loadCompiled, PIXELS } from './model.ts';

const MOST_BYTES = 64 << 10;

/** What was wrong with a request, and the status that says so. */
class BadRequest extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** @param mostRows images in a batch at the most; 1: no batching */
export function startServer(port: number, mostRows: number): Promise<Server> {
  const batcher = new Batcher(loadCompiled(mostRows), mostRows);
  const server = createServer((request, response) => {
    answer(batcher, request)
      .then((body) => send(response, 200, body))
      .catch((error: Error) => {
        const status = error instanceof BadRequest ? error.status : error instanceof Overloaded ? 503 : 500;
        send(response, status, { error: status === 500 ? 'something went wrong' : error.message });
        if (status === 500) console.error(error);
      });
  });
  server.keepAliveTimeout = 60_000;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

async function answer(batcher: Batcher, request: IncomingMessage): Promise<object> {
  const { method, url } = request;
  if (method === 'GET' && url === '/health') return { images: batcher.images, batches: batcher.batches };
  if (url !== '/predict') throw new BadRequest(404, 'POST /predict, GET /health');
  if (method !== 'POST') throw new BadRequest(405, 'POST an image');
  const image = imageFrom(request.headers['content-type'], await bodyOf(request));
  const logits = await batcher.predict(image);
  return { digit: logits.indexOf(Math.max(...logits)), logits: Array.from(logits) };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > MOST_BYTES) throw new BadRequest(413, `at most ${MOST_BYTES} bytes`);
    parts.push(part);
  }
  return parts.length === 1 ? parts[0] : Buffer.concat(parts);
}

function imageFrom(type: string | undefined, body: Buffer): Float32Array {
  let image: Float32Array;
  if (type?.startsWith('application/json')) {
    let pixels: unknown;
    try {
      pixels = JSON.parse(body.toString()).pixels;
    } catch {
      throw new BadRequest(400, 'JSON expected');
    }
    if (!Array.isArray(pixels) || pixels.length !== PIXELS || !pixels.every((pixel) => typeof pixel === 'number'))
      throw new BadRequest(400, `${PIXELS} pixels expected`);
    image = Float32Array.from(pixels);
  } else {
    if (body.length !== PIXELS * 4) throw new BadRequest(400, `${PIXELS * 4} bytes expected, got ${body.length}`);
    image = new Float32Array(Uint8Array.from(body).buffer);
  }
  if (!image.every(Number.isFinite)) throw new BadRequest(400, 'finite numbers expected');
  return image;
}

function send(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
