from collections.abc import Callable

def actualActorClass(
    actorClass: type | str, sourceHashLoader: Callable[[str, str], type] | None = None
) -> type: ...
