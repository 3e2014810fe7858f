// AWS Lambda behind a function URL: the body is the picture, base64 as Lambda passes binary bodies.

import { answer, BadRequest } from './direction.js';

export async function handler({ body = '', isBase64Encoded = false, queryStringParameters = {} }) {
  const say = (statusCode, value) => ({
    statusCode,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(value),
  });
  try {
    const data = isBase64Encoded ? new Uint8Array(Buffer.from(body, 'base64')) : new Uint8Array(0);
    return say(200, answer(new URLSearchParams(queryStringParameters), data));
  } catch (error) {
    if (!(error instanceof BadRequest)) throw error;
    return say(400, { error: error.message });
  }
}
