"""The node that says what the data set's files hold."""
