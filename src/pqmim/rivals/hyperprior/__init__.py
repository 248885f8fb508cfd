"""Mean-scale hyperprior (Minnen, Ballé and Toderici 2018)."""
