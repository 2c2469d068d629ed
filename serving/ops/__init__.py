"""What the oldest supported TF Serving can run: a table of ops, the script that makes it, and the check at export."""
