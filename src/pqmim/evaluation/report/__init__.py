"""Results to read: a page, its plots, crops and contact sheets."""
