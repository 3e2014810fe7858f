// `evenkeel/models`: networks with the names of torchvision's parameters. Behind each name the
// kernels that it runs (provided.ts).

export * from '../generated/models.ts';
