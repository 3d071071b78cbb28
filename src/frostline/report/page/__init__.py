"""The page that shows it: sections, charts, templates, and the same as Markdown and as tables."""
