// Brings the kernels along, for tests that begin below the public list.
import '../../src/index.ts';
