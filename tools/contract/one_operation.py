"""One built operation against the same operation of the contract: parameters, body, answers, authentication."""

from collections.abc import Iterator, Mapping

from backend_crew.tools.contract.matching import Difference, Kind, Matching, Way
from backend_crew.tools.contract.operations import Operation, Parameter

# How FastAPI names the answer that it describes for every operation with input, whatever handler is there.
_AUTOMATIC = "HTTPValidationError"


def compare_operation(
    matching: Matching, promised: Operation, found: Operation, *, describes_auth: bool
) -> Iterator[Difference]:
    """What differs; with `describes_auth` the built document has authentication at other operations."""
    yield from _security(promised, found, describes_auth)
    yield from _parameters(matching, promised, found)
    yield from _body(matching, promised, found)
    yield from _answers(matching, promised, found)


def _security(promised: Operation, found: Operation, describes_auth: bool) -> Iterator[Difference]:
    wanted, there = promised.protected, found.protected
    if wanted is None:
        return
    if wanted and not there:
        kind: Kind = "contradicts" if describes_auth or there is False else "silent"
        yield Difference(kind, "auth", "auth", "the contract wants credentials, the built API describes none")
    elif there and not wanted:
        yield Difference("contradicts", "auth", "auth", "the built API wants credentials, the contract does not")
    elif wanted and promised.security and found.security and not set(promised.security) & set(found.security):
        said = " or ".join(sorted({" and ".join(sorted(one)) for one in found.security}))
        meant = " or ".join(sorted({" and ".join(sorted(one)) for one in promised.security}))
        yield Difference("contradicts", "auth", "auth", f"{meant} in the contract, {said} in the built API")


def _parameters(matching: Matching, promised: Operation, found: Operation) -> Iterator[Difference]:
    there = {_key(one): one for one in found.parameters}
    for one in promised.parameters:
        match = there.pop(_key(one), None)
        at = f"{one.place} parameter {one.name}"
        if match is None:
            if one.place == "path":
                continue  # the path has it: the description lacks its type alone
            moved = next((other for other in there.values() if other.name == one.name), None)
            hint = f"; it is in the {moved.place}" if moved else ""
            # A header can be read from the request by hand, which no generator sees.
            kind: Kind = "silent" if one.place in ("header", "cookie") else "contradicts"
            yield Difference(kind, "parameter-missing", at, "the contract has it, the built API has not" + hint)
            continue
        if one.required != match.required:
            words = ("required", "optional") if one.required else ("optional", "required")
            text = f"{words[0]} in the contract, {words[1]} in the built API"
            yield Difference("contradicts", "parameter-required", at, text)
        for difference in matching.differences(one.raw, match.raw, "request", at, optional=True):
            if difference.rule != "null":  # a parameter is given or left out; it is never null
                yield difference
    for one in there.values():
        at = f"{one.place} parameter {one.name}"
        if one.place != "path":
            kind = "contradicts" if one.required else "more"
            needed = "required by" if one.required else "accepted by"
            yield Difference(kind, "parameter-extra", at, f"{needed} the built API, not in the contract")


def _key(parameter: Parameter) -> tuple[str, str]:
    name = parameter.name.lower().replace("_", "-") if parameter.place == "header" else parameter.name
    return parameter.place, name


def _body(matching: Matching, promised: Operation, found: Operation) -> Iterator[Difference]:
    if not promised.body:
        if found.body:
            kind: Kind = "contradicts" if found.body_required else "more"
            yield Difference(kind, "body-extra", "body", "the built API takes a body, the contract has none")
        return
    if not found.body:
        yield Difference("contradicts", "body-missing", "body", "the contract has a body, the built API takes none")
        return
    if promised.body_required and not found.body_required:
        yield Difference("silent", "body-required", "body", "required in the contract, optional in the built API")
    elif found.body_required and not promised.body_required and not _needs(matching, promised):
        yield Difference("contradicts", "body-required", "body", "optional in the contract, required by the built API")
    yield from _content(matching, promised.body, found.body, "request", "body")


def _needs(matching: Matching, promised: Operation) -> bool:
    """Whether a body has fields that cannot be left out: `required: true` is easily forgotten beside them."""
    return all(matching.needs_fields(raw) for raw in promised.body.values())


def _answers(matching: Matching, promised: Operation, found: Operation) -> Iterator[Difference]:
    wanted = {status: content for status, content in promised.answers.items() if not _is_error(status)}
    there = {status: content for status, content in found.answers.items() if not _is_error(status)}
    if wanted and there and not any(_named(status, there) for status in wanted):
        text = f"{', '.join(sorted(wanted))} in the contract, {', '.join(sorted(there))} in the built API"
        yield Difference("contradicts", "status", "answer", text)
        # Under another number it is the same answer.
        if len(wanted) == len(there) == 1:
            [(status, one)], [(_, other)] = wanted.items(), there.items()
            yield from _content(matching, one, other, "response", f"answer {status}")
    elif wanted:
        for status in there:
            if _named(status, wanted) is None:
                yield Difference("contradicts", "status", f"answer {status}", "not in the contract")
        missing = [status for status in wanted if there and _named(status, there) is None]
        if missing:
            yield Difference("silent", "status", "answer", f"the built API does not describe {', '.join(missing)}")
    yield from _errors(promised, found)
    for status, content in promised.answers.items():
        match = _named(status, found.answers)
        if match is None or _is_automatic(found.answers[match]):
            continue
        yield from _content(matching, content, found.answers[match], "response", f"answer {status}")


def _errors(promised: Operation, found: Operation) -> Iterator[Difference]:
    wanted = [status for status in promised.answers if _is_error(status)]
    unsaid = [one for one in wanted if one != "DEFAULT" and _named(one, found.answers) is None]
    if unsaid:
        text = f"the built API does not describe {', '.join(sorted(unsaid))}"
        yield Difference("silent", "error-status", "answer", text)
    extra = [
        status
        for status, content in found.answers.items()
        if _is_error(status) and status != "DEFAULT" and _named(status, promised.answers) is None
        if not _is_automatic(content)
    ]
    if extra:
        yield Difference("more", "error-status", "answer", f"{', '.join(sorted(extra))} is described")


def _is_error(status: str) -> bool:
    return status[:1] in ("4", "5") or status == "DEFAULT"


def _named(status: str, answers: Mapping[str, object]) -> str | None:
    """Under which key a status is described: itself, its class, or the default where it is an error."""
    keys = [status, f"{status[:1]}XX", *(["DEFAULT"] if _is_error(status) else [])]
    for key in keys:
        if key in answers:
            return key
    of_class = [key for key in answers if key[:1] == status[:1]] if status.endswith("XX") else []
    return of_class[0] if of_class else None


def _is_automatic(content: Mapping[str, object]) -> bool:
    return any(
        isinstance(raw, Mapping) and str(raw.get("$ref", "")).endswith("/" + _AUTOMATIC) for raw in content.values()
    )


def _content(
    matching: Matching, promised: Mapping[str, object], found: Mapping[str, object], way: Way, place: str
) -> Iterator[Difference]:
    if not promised:
        if way == "response" and any(matching.says_something(raw) for raw in found.values()):
            yield Difference("more", "body-extra", place, "the contract has no content here")
        return
    if not found:
        kind: Kind = "silent" if place.startswith(("answer 4", "answer 5", "answer DEFAULT")) else "contradicts"
        yield Difference(kind, "body-missing", place, "the contract has content, the built API has none")
        return
    for media, raw in promised.items():
        match = _media(media, found)
        if match is None:
            text = f"{media} in the contract, {', '.join(sorted(found))} in the built API"
            yield Difference("contradicts", "media-type", place, text)
        else:
            yield from matching.differences(raw, found[match], way, place)


def _media(media: str, found: Mapping[str, object]) -> str | None:
    if media in found or "*/*" in found:
        return media if media in found else "*/*"
    if media == "*/*":
        return next(iter(found), None)
    json = [one for one in found if one == "application/json" or one.endswith("+json")]
    forms = [one for one in found if one in _FORMS]
    same = json if media == "application/json" or media.endswith("+json") else forms if media in _FORMS else []
    return same[0] if same else None


_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
