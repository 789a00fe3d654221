"""Raises an exception when it is imported, with a message that would like to be a page, a log line and a terminal command."""

SECRET = "s3cret"
raise RuntimeError("<script>alert(1)</script>\nsite=other gen=1 cold -> serving\x1b[31m\u202e & more")
