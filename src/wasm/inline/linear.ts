import packed from '../generated/linear.ts';
import { packedSource } from '../packed.ts';

export default /* @__PURE__ */ packedSource(packed);
