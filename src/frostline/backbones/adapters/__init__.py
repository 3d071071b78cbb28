"""Input adapters: data of one modality in, what a network of another one works on out."""
