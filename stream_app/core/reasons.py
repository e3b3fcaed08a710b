"""Reasons in words: what a theme's contribution to a score means to the person who reads it, in English and Chinese.

A sentence states a fact about the customer, told from the features themselves; whether it speaks for or against staying
is the sign of the contribution beside it.
"""

from collections.abc import Callable
from math import exp, expm1
from typing import Protocol


class Facts(Protocol):
    """Feature values by name."""

    def __getitem__(self, name: str, /) -> float: ...


LANGUAGES = ("en", "zh")

_EVEN = 0.1
"""ln ratio below which two gaps count as alike."""


def sentence(theme: str, facts: Facts, language: str = "en") -> str:
    """Return the sentence for a theme; a language other than Chinese gets English.

    Raises KeyError for an unknown theme.
    """
    return _SENTENCES[theme](facts, "zh" if language.lower().startswith("zh") else "en")


def _days(value: float) -> str:
    rounded = max(round(value), 0)
    return f"{rounded} day" if rounded == 1 else f"{rounded} days"


def _times(value: float) -> str:
    rounded = max(round(value), 0)
    return "once" if rounded == 1 else f"{rounded} times"


def _silence(f: Facts, language: str) -> str:
    recency, gap = expm1(f["log_rec"]), exp(f["lg_mu"])
    if recency < 1:
        if language == "zh":
            return f"刚刚下过单;通常约每 {max(round(gap), 1)} 天下单一次。"
        return f"Has just ordered; an order is usual about every {_days(max(gap, 1))}."
    if language == "zh":
        return f"上次下单在 {round(recency)} 天前;通常约每 {max(round(gap), 1)} 天下单一次。"
    return f"Last order {_days(recency)} ago; an order is usual about every {_days(max(gap, 1))}."


def _frequency(f: Facts, language: str) -> str:
    orders, tenure = max(expm1(f["log_norders"]), 0.0), expm1(f["log_tenure"])
    if language == "zh":
        return f"{max(round(tenure), 1)} 天内共下单 {round(orders)} 次。"
    return f"Has ordered {_times(orders)} within {_days(max(tenure, 1))}."


def _rhythm(f: Facts, language: str) -> str:
    gap = max(round(exp(f["log_ewma_gap"])), 1)
    if language == "zh":
        return f"近期的下单间隔约为 {gap} 天。"
    return f"Recent orders came about {_days(gap)} apart."


def _trend(f: Facts, language: str) -> str:
    trend = f["gap_trend"]
    if trend > _EVEN:
        return "下单间隔正在变长。" if language == "zh" else "The gaps between orders are getting longer."
    if trend < -_EVEN:
        return "下单间隔正在变短。" if language == "zh" else "The gaps between orders are getting shorter."
    return "下单间隔保持平稳。" if language == "zh" else "The gaps between orders are steady."


def _value(f: Facts, language: str) -> str:
    usual, lines = expm1(f["log_mean_amt"]), max(round(expm1(f["log_mean_lines"])), 1)
    if language == "zh":
        return f"每单金额通常约 {usual:.0f},约 {lines} 件商品。"
    return f"An order is usually worth about {usual:.0f}, with {lines} line{'s' if lines != 1 else ''}."


def _trouble(f: Facts, language: str) -> str:
    cancelled, returned, complaints = round(expm1(f["cancels"])), round(expm1(f["returns"])), f["complaints_60"]
    if language == "zh":
        parts = [f"取消 {cancelled} 单"] * (cancelled > 0) + [f"退货 {returned} 次"] * (returned > 0)
        parts += ["近期有投诉"] * (complaints > _EVEN)
        return ",".join(parts) + "。" if parts else "没有取消、退货或投诉。"
    parts = [f"{cancelled} cancelled order{'s' if cancelled != 1 else ''}"] * (cancelled > 0)
    parts += [f"{returned} return{'s' if returned != 1 else ''}"] * (returned > 0)
    parts += ["a recent complaint"] * (complaints > _EVEN)
    return (
        ", ".join(parts)[:1].upper() + ", ".join(parts)[1:] + "."
        if parts
        else "No cancellations, returns or complaints."
    )


def _discount(f: Facts, language: str) -> str:
    share = round(100 * min(f["discount_share"], 1.0))
    return f"约 {share}% 的订单使用了折扣。" if language == "zh" else f"About {share} % of orders came with a discount."


def _visits(f: Facts, language: str) -> str:
    visits = expm1(f["sessions_30"])
    if not f["clicks_known"]:
        return "没有访问记录。" if language == "zh" else "No visits are known."
    if visits < 1:
        return "近期几乎没有访问。" if language == "zh" else "Hardly any visits of late."
    return (
        f"近期访问约 {round(visits)} 次。" if language == "zh" else f"About {_count(visits, 'visit')} in recent weeks."
    )


def _visit_trend(f: Facts, language: str) -> str:
    if f["visit_trend"] < -_EVEN:
        return "访问越来越少。" if language == "zh" else "Visits are getting rarer."
    if f["visit_trend"] > _EVEN:
        return "访问越来越多。" if language == "zh" else "Visits are getting more frequent."
    return "访问频率平稳。" if language == "zh" else "Visits are steady."


def _interest(f: Facts, language: str) -> str:
    views, searches = expm1(f["views_30"]), expm1(f["searches_30"])
    if language == "zh":
        return f"近期浏览商品约 {round(views)} 次,搜索约 {round(searches)} 次。"
    return f"Looked at about {_count(views, 'product')} and searched {_times(searches)} in recent weeks."


def _cart(f: Facts, language: str) -> str:
    if f["cart_open"] > _EVEN:
        return "购物车中有未结算的商品。" if language == "zh" else "Goods were left in the cart."
    added = expm1(f["cart_adds_30"])
    if language == "zh":
        return f"近期加入购物车约 {round(added)} 次。"
    return f"Put about {_count(added, 'item')} in the cart in recent weeks."


def _channel(f: Facts, language: str) -> str:
    share = round(100 * min(f["app_share"], 1.0))
    return f"约 {share}% 的活动来自应用。" if language == "zh" else f"About {share} % of activity is in the app."


def _voice(f: Facts, language: str) -> str:
    tone = f["sentiment"] + f["rating"] / 2
    if not f["reviews_known"]:
        return "没有评价或反馈。" if language == "zh" else "Nothing was said in reviews or messages."
    if tone < -_EVEN:
        return "评价或反馈偏负面。" if language == "zh" else "Reviews and messages sound unhappy."
    if tone > _EVEN:
        return "评价或反馈偏正面。" if language == "zh" else "Reviews and messages sound happy."
    return "评价或反馈语气中性。" if language == "zh" else "Reviews and messages sound neutral."


def _shop(f: Facts, language: str) -> str:
    if f["glob_trend"] < 0:
        return "全店近期订单减少。" if language == "zh" else "The whole shop has fewer orders of late."
    return "全店近期订单未减少。" if language == "zh" else "The whole shop has no fewer orders of late."


def _season(_: Facts, language: str) -> str:
    return "一年中的这个时节。" if language == "zh" else "The time of the year."


def _kind(_: Facts, language: str) -> str:
    return "评分时点的类型。" if language == "zh" else "The kind of moment at which the score was taken."


def _count(value: float, noun: str) -> str:
    rounded = max(round(value), 0)
    return f"{rounded} {noun}" if rounded == 1 else f"{rounded} {noun}s"


_SENTENCES: dict[str, Callable[[Facts, str], str]] = {
    "silence": _silence,
    "frequency": _frequency,
    "rhythm": _rhythm,
    "trend": _trend,
    "value": _value,
    "trouble": _trouble,
    "discount": _discount,
    "visits": _visits,
    "visit_trend": _visit_trend,
    "interest": _interest,
    "cart": _cart,
    "channel": _channel,
    "voice": _voice,
    "shop": _shop,
    "season": _season,
    "kind": _kind,
}
