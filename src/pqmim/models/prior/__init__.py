"""The masked prior: what is normative of it, its forms in integers, and the float form that learns."""
