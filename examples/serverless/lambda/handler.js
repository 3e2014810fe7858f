// AWS Lambda behind a function URL (or an HTTP API): the body is the image, base64 as Lambda passes
// binary bodies.

import { BadRequest, classify } from '../shared/classify.js';

export async function handler({ body = '', isBase64Encoded = false }) {
  try {
    return answer(200, classify(isBase64Encoded ? bytesOf(body) : new Uint8Array(0)));
  } catch (error) {
    if (!(error instanceof BadRequest)) throw error;
    return answer(400, { error: error.message });
  }
}

function bytesOf(base64) {
  try {
    return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  } catch {
    throw new BadRequest('the body is not base64');
  }
}

const answer = (statusCode, value) => ({
  statusCode,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(value),
});
