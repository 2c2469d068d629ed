"""Self-contained HTML pages about a model, for people; matplotlib and jinja2 are imported when one is written."""
