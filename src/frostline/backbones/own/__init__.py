"""Networks of the user's own as backbones."""
