// The network behind node:http, run by a pool of workers: this thread only talks to clients.
//
//   POST /predict   784 floats (little-endian bytes), or { "pixels": [784 numbers] }
//                   →  { "digit": 7, "logits": [10 numbers] }
//   GET  /health    200 while the process answers
//   GET  /ready     200 where it takes requests; 503 once it was told to stop, or without workers
//   GET  /metrics   what the pool has measured, as Prometheus reads it

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { type Pool, type PoolOptions, pool } from 'evenkeel/pool';
import { metricsOf } from './metrics.ts';
import { PIXELS } from './model.ts';

const MOST_BYTES = 64 << 10;

/** What was wrong with a request, and the status that says so. */
class BadRequest extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Statuses of the pool's errors. */
const STATUSES: Readonly<Record<string, number>> = { ERR_BUSY: 503, ERR_CLOSED: 503, ERR_TIMEOUT: 504 };

/** A server that runs. */
export interface Service {
  readonly port: number;
  readonly pool: Pool;
  /**
   * Stops without losing a request: says that it is not ready, answers what comes for another
   * `drain` milliseconds on connections that it then closes, takes no new connection, waits for the
   * answers, and ends the workers.
   */
  stop(drain?: number): Promise<void>;
}

/**
 * @param network a compiled network, as `save` writes it
 * @param options those of the pool
 */
export async function startServer(port: number, network: Uint8Array, options: PoolOptions = {}): Promise<Service> {
  const workers = await pool(network, { timeout: 5000, ...options });
  let isStopping = false;
  const server = createServer((request, response) => {
    const send = (status: number, body: object | string) => {
      const isText = typeof body === 'string';
      const text = isText ? body : JSON.stringify(body);
      response.writeHead(status, {
        'content-type': isText ? 'text/plain; version=0.0.4' : 'application/json',
        'content-length': Buffer.byteLength(text),
        ...(status === 503 && { 'retry-after': '1' }),
        // what is left of a body that was too large is not read
        ...((isStopping || status === 413) && { connection: 'close' }),
      });
      response.end(text);
    };
    answer(workers, request, response, isStopping)
      .then(([status, body]) => send(status, body))
      .catch((error: Error & { code?: string }) => {
        if (response.destroyed) return; // a client that did not wait
        const status = error instanceof BadRequest ? error.status : (STATUSES[error.code ?? ''] ?? 500);
        send(status, { error: status === 500 ? 'something went wrong' : error.message });
        if (status === 500) console.error(error);
      });
  });
  server.keepAliveTimeout = 60_000;
  server.requestTimeout = 30_000;
  await listening(server, port);
  const address = server.address();
  let stopped: Promise<void> | undefined;
  const stop = async (drain: number) => {
    isStopping = true;
    await pause(drain);
    await new Promise((resolve) => server.close(resolve));
    await workers.close();
  };
  return {
    port: typeof address === 'object' && address ? address.port : port,
    pool: workers,
    stop: (drain = 500) => (stopped ??= stop(drain)),
  };
}

function listening(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
}

async function answer(
  workers: Pool,
  request: IncomingMessage,
  response: ServerResponse,
  isStopping: boolean,
): Promise<[status: number, body: object | string]> {
  const { method, url } = request;
  if (method === 'GET') {
    if (url === '/health') return [200, { status: 'ok' }];
    if (url === '/metrics') return [200, metricsOf(workers.stats())];
    if (url === '/ready') {
      const isAble = !isStopping && workers.stats().workers.some(({ state }) => state !== 'failed');
      return isAble ? [200, { status: 'ready' }] : [503, { error: 'not ready' }];
    }
  }
  if (url !== '/predict') throw new BadRequest(404, 'POST /predict, GET /health, /ready, /metrics');
  if (method !== 'POST') throw new BadRequest(405, 'POST an image');
  const image = imageFrom(request.headers['content-type'], await bodyOf(request));
  // nobody waits for what a client no longer does
  const gone = new AbortController();
  response.once('close', () => gone.abort(new Error('the client is gone')));
  const { data } = await workers.run({ data: image, shape: [1, PIXELS] }, { signal: gone.signal });
  return [200, { digit: data.indexOf(Math.max(...data)), logits: Array.from(data) }];
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers['content-length']) > MOST_BYTES) throw new BadRequest(413, `at most ${MOST_BYTES} bytes`);
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
