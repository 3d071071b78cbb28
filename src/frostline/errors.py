"""The one kind of error a user can cause."""


class UserError(ValueError):
    """A user's mistake: one sentence that names the key or file, what was wrong and what would be right.

    Commands print it without a traceback and exit with code 2; everything else that is raised is a
    defect or an accident, and keeps its traceback.
    """


def make_choice_error(what: str, value: object, allowed: object) -> UserError:
    """Return the error for ``value`` of ``what`` that is not among ``allowed`` (any iterable of names)."""
    names = ", ".join(str(name) for name in allowed)  # type: ignore[attr-defined]
    return UserError(f"{what}: {value!r} is not known; choose one of: {names}.")


def read_first_line(error: BaseException) -> str:
    """Return what an error of another library says first, without its full stop; its class where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "See http" not in line]
    said = (lines or [type(error).__name__])[0]
    return (f"{said} {lines[1]}" if said.endswith(":") and len(lines) > 1 else said).rstrip(".:")


def escape_unprintable(text: str) -> str:
    """Return ``text`` with escapes in place of the signs that a terminal would obey, or could not show."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
