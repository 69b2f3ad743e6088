"""Makes the tables of the operators `asr` and `ocr`: speaks and prints texts, recognises them, counts what changed."""
