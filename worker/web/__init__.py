"""What Troth answers over HTTP: the API, the pages and the health of a process; it runs no job."""
