"""The manager: the asyncio process that decides. It never runs site code, never forks, is never in a request's way."""
