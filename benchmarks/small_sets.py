"""The six small sets that benchmarks of frozen networks go over, as overrides of `frostline run`."""

SETS = {
    "fashion": ["data=imagefolder", "data.root={data}/images/fashion", "data.size=96"],
    "digits": ["data=digits", "data.size=64"],
    "mnist5k": ["data=mnist5k", "data.size=64", "data.fraction=0.5"],
    "debian_sections": ["data=text_csv", "data.root={data}/text/debian_sections", "backbone=minilm", "epochs=4"],
    "vowels": ["data=audiofolder", "data.root={data}/speech/vowels", "data.seconds=2", "backbone=voice_encoder"],
    "languages": ["data=audiofolder", "data.root={data}/speech/languages", "backbone=voice_encoder"],
}
"""``{data}`` is the folder with images/fashion, text/debian_sections, speech/vowels and speech/languages. Texts are
trained for as long as is usual for networks of BERT's kind (2 to 4 epochs, Devlin et al. 2019)."""
