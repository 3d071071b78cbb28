"""How well a frozen representation suits data, without training: tensors in, numbers with their intervals out."""
