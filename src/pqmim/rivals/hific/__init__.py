"""HiFiC (Mentzer et al. 2020): a hyperprior trained to look real at a target rate."""
