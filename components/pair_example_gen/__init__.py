"""PairExampleGen: `.bin` verification sets to Examples, one split a set."""
