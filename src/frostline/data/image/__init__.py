"""Images: files, pixels, augmentation, and the sets that are made of them."""
