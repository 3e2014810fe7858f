// A client that costs as little as it can: a connection that is kept open, one request after the
// other, written and read as bytes.

import { connect, type Socket } from 'node:net';

/** Requests as fast as they are answered, on one connection. */
export class Connection {
  readonly #socket: Socket;
  #waiting: ((body: string) => void) | undefined;
  #failed: ((error: Error) => void) | undefined;
  #received: Buffer = Buffer.alloc(0);
  /** The server has said that it closes the connection behind this answer. */
  closed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('error', (error) => this.#failed?.(error));
    socket.on('close', () => this.#failed?.(new Error('the connection was closed')));
  }

  static open(port: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1' }, () => resolve(new Connection(socket)));
      socket.once('error', reject);
    });
  }

  /** Sends a whole request; the body of the answer. */
  ask(request: Uint8Array): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#waiting = resolve;
      this.#failed = reject;
      this.#socket.write(request);
    });
  }

  close(): void {
    this.#failed = undefined;
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#received = this.#received.length ? Buffer.concat([this.#received, chunk]) : chunk;
    const end = this.#received.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = this.#received.toString('latin1', 0, end);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1]);
    if (this.#received.length < end + 4 + length) return;
    const body = this.#received.toString('utf8', end + 4, end + 4 + length);
    this.#received = this.#received.subarray(end + 4 + length);
    if (/\r\nconnection: close/i.test(head)) this.closed = true;
    if (head.startsWith('HTTP/1.1 200')) this.#waiting?.(body);
    else this.#failed?.(new Error(`${head.split('\r\n')[0]}: ${body}`));
  }
}

/** A request with an image in it. */
export function requestFor(image: Float32Array): Uint8Array {
  const head = `POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\nContent-Length: ${image.byteLength}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), new Uint8Array(image.buffer, image.byteOffset, image.byteLength)]);
}
