// A Cloudflare Worker. The modules of evenkeel are imported as compiled ones, and the network as
// bytes: the condition `workerd` of the package and the rules of wrangler.json see to it.

import { answer, BadRequest } from './direction.js';

export default {
  async fetch(request) {
    if (request.method !== 'POST') return Response.json({ error: 'POST a picture' }, { status: 405 });
    try {
      const { searchParams } = new URL(request.url);
      return Response.json(answer(searchParams, new Uint8Array(await request.arrayBuffer())));
    } catch (error) {
      if (!(error instanceof BadRequest)) throw error;
      return Response.json({ error: error.message }, { status: 400 });
    }
  },
};
