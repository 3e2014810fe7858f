// AWS Lambda behind a function URL (or an HTTP API): the body is the image, base64 as Lambda passes
// binary bodies.

import { BadRequest, classify } from '../shared/classify.js';

export async function handler({ body = '', isBase64Encoded = false }) {
  try {
    const grey = isBase64Encoded ? Uint8Array.from(atob(body), (c) => c.charCodeAt(0)) : new Uint8Array(0);
    return answer(200, classify(grey));
  } catch (error) {
    if (!(error instanceof BadRequest)) throw error;
    return answer(400, { error: error.message });
  }
}

const answer = (statusCode, value) => ({
  statusCode,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(value),
});
