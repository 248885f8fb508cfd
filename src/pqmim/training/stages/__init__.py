"""The stages of a run of ours, in order: transforms, quantizer, prior, joint; and looks, apart."""
