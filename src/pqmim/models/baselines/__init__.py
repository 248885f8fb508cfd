"""The rivals of the paper, on the same transforms, in the same trainer, with real files: mean-scale hyperprior, vanilla VQ."""
