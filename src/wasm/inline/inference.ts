import packed from '../generated/inference.ts';
import { packedSource } from '../packed.ts';

export default /* @__PURE__ */ packedSource(packed);
