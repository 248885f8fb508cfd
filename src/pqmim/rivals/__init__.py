"""The rivals of the paper, mean-scale hyperprior and vanilla VQ: same transforms, same trainer, real files."""
