"""One readable loop a stage, and what the stages share: recipes, photos, optimizers, checkpoints."""
