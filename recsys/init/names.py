"""What the name of a column says about the part it plays."""

import re

__all__ = ["hint", "looks_like_code", "words"]

# fmt: off
_USER = {
    "user", "uid", "userid", "customer", "client", "member", "buyer", "visitor", "visitorid", "account", "person",
    "reviewer", "reader", "viewer", "listener", "player", "subscriber", "consumer", "household", "profile", "msno",
    "cust", "usr", "kunde", "utilisateur", "usuario", "cookie", "guest", "fullvisitorid", "reviewerid",
    "customerid",
}
_ITEM = {
    "item", "iid", "itemid", "product", "sku", "asin", "movie", "film", "track", "song", "article", "book", "video",
    "ad", "content", "listing", "offer", "news", "pid", "doc", "document", "post", "game", "recipe", "restaurant",
    "business", "isbn", "goods", "creative", "artist", "artikel", "produit", "producto", "show", "hotel", "job",
    "pin", "app", "course", "merchandise", "stock", "stockcode", "movieid", "productid", "isrc", "upc", "ean",
    "photo", "poi", "venue", "banner", "campaign",
}
_TIME = {
    "timestamp", "time", "ts", "date", "datetime", "at", "when", "created", "day", "unixreviewtime", "epoch",
    "event_time", "occurred", "zeit", "datum", "fecha", "moment", "clock", "invoicedate",
}
_REQUEST = {
    "request", "impression", "impressions", "query", "search", "srch", "slate", "page_view", "pageview", "listid",
    "req", "qid", "session",
}
_SESSION = {"session", "sessionid", "sess", "visit", "visitid"}
_OFFSET = {
    "timeframe", "elapsed", "ms", "msec", "millis", "milliseconds", "timeofday", "tod", "time", "clock",
    "hourminute", "zeit", "hora", "heure", "uhrzeit",
}
_CLICK = {
    "click", "clicked", "clicks", "purchase", "purchased", "bought", "buy", "conversion", "converted", "like",
    "liked", "label", "target", "positive", "watched", "booked", "booking", "favourite", "favorite", "response",
    "feedback", "cart", "added", "followed", "follow", "shared", "share", "saved", "save", "y", "reordered",
    "is_attributed",
}
_RATING = {"rating", "ratings", "stars", "star", "score", "grade", "overall", "rate", "mark", "vote", "preference"}
_AMOUNT = {
    "watch", "duration", "dwell", "seconds", "minutes", "playtime", "hours", "amount", "revenue", "value", "spend",
    "spent", "total", "quantity", "qty", "plays", "playcount", "count", "listens", "weight", "gmv", "paid",
    "progress", "percent", "views", "sales",
}
_CONTEXT = {
    "hour", "device", "os", "browser", "country", "city", "region", "platform", "channel", "weekday", "place",
    "location", "locale", "language", "lang", "page", "surface", "slot", "referrer", "referer", "source", "medium",
    "month", "weather", "season", "network", "carrier", "app_version", "version", "dayofweek", "dow", "connection",
    "agent", "screen", "tab", "daytime", "weekend", "holiday", "store", "shop", "state", "zone", "placement",
}
_OUTCOME = {"event", "action", "behavior", "behaviour", "interaction", "activity", "type"}
_TITLE = {"title", "name", "headline", "titel", "label"}
_EXPOSED = {"exposed", "shown", "displayed", "exposure", "impressed", "viewable", "served"}
_POSITION = {"position", "pos", "rank", "slot"}
_PROPENSITY = {"propensity", "propensities", "ips", "examination"}
# fmt: on
_HINTS: dict[str, set[str]] = {
    "user": _USER,
    "item": _ITEM,
    "time": _TIME,
    "request": _REQUEST,
    "session": _SESSION,
    "offset": _OFFSET,
    "click": _CLICK,
    "rating": _RATING,
    "amount": _AMOUNT,
    "context": _CONTEXT,
    "outcome": _OUTCOME,
    "title": _TITLE,
    "exposed": _EXPOSED,
    "position": _POSITION,
    "propensity": _PROPENSITY,
}
_ID = {"id", "ids", "key", "code", "no", "nr", "number", "uuid", "guid", "hash"}
_CODES = _ID | {"type", "zip", "zipcode", "postcode", "plz", "category", "class", "group"}


def words(name: str) -> tuple[str, ...]:
    """The words of a name, lower case.

    Example:
        >>> words("customerID"), words("Item No."), words("ReviewerName")
        (('customer', 'id'), ('item', 'no'), ('reviewer', 'name'))
    """
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return tuple(word.lower() for word in re.findall(r"[^\W_]+", parted))


def hint(name: str, part: str) -> float:
    """How much a name speaks for a part, 0 to 3: with an id word 3, the whole name 2.5, one word among others 1 to 2.

    Example:
        >>> hint("user_id", "user"), hint("user", "user"), hint("user_age", "user"), hint("price", "user")
        (3.0, 2.5, 1.0, 0.0)
    """
    found = words(name)
    known = _HINTS[part]
    rest = [word for word in found if word not in known]
    if len(rest) < len(found) and rest and all(word in _ID for word in rest):
        return 3.0
    if "".join(found) in known or "_".join(found) in known or (found and not rest):
        return 2.5
    if len(rest) == len(found):
        return 0.0
    # The last word names the thing: an "event time" is a time, a "user age" no user.
    return 2.0 if found[-1] in known else 1.0


def looks_like_code(name: str) -> bool:
    """Whether the numbers of a column of this name are names rather than amounts."""
    return any(word in _CODES for word in words(name))
