"""Networks of images, cut by tracing their code."""
