"""`roundhouse batch`: a file of requests in, a file of answers out. Any end can be gone on from."""
