"""Has something called application, which is not one."""

application = {"not": "an application"}
