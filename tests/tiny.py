"""The run that tests give to launchers: a tiny network on a few digits, as overrides."""

NETWORK = ["backbone=timm", "backbone.name=test_resnet", "backbone.weights=none"]
RUN = [
    *NETWORK,
    "data.size=32",
    "data.num_per_class=5",
    "data.batch_size=16",
    "epochs=2",
    "trainer.accelerator=cpu",
    "launcher.threads=1",
]
