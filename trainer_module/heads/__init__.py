"""Classification heads that train an embedding; none of them is exported."""
