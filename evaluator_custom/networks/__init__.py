"""Networks of ours and of others, behind one interface."""
