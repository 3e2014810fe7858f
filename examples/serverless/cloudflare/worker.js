// A Cloudflare Worker. The modules of evenkeel are imported as compiled ones: the condition
// `workerd` of the package sees to it.

import { respond } from '../shared/classify.js';

export default { fetch: respond };
