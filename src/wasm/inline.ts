// The source everywhere else: inside the JavaScript.

import inferenceText from './generated/inference.ts';
import linearText from './generated/linear.ts';
import trainingText from './generated/training.ts';
import { packedSource } from './packed.ts';

export const inference = /* @__PURE__ */ packedSource(inferenceText);
export const linear = /* @__PURE__ */ packedSource(linearText);
export const training = /* @__PURE__ */ packedSource(trainingText);
