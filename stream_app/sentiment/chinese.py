"""A small polarity lexicon for Chinese shop reviews: longest match, with negation and degree words before a match."""

import re

_GOOD = (  # noqa: SIM905 - a block of words reads better than a list of strings
    "好 很好 不错 满意 喜欢 推荐 赞 棒 优秀 漂亮 舒服 实惠 超值 划算 "
    "惊喜 值得 好用 好看 合适 快速 及时 贴心 热情 耐心 专业 完美 "
    "五星 "
    "好评 开心 高兴 感谢 谢谢 正品 物美价廉 回购 精致 方便 放心 牢固 新鲜 好吃 "
    "周到 给力 "
).split()
_BAD = (  # noqa: SIM905 - a block of words reads better than a list of strings
    "差 很差 糟糕 失望 难用 难看 破损 坏 坏了 假货 骗 骗人 欺骗 退货 "
    "退款 投诉 垃圾 后悔 慢 太慢 劣质 粗糙 异味 臭 气愤 生气 "
    "恶心 "
    "差评 无语 敷衍 拖延 漏发 错发 缺货 瑕疵 掉色 难吃 不满 不满意 上当 问题 "
    "故障 麻烦 浪费 "
).split()
_NEGATIONS = ("不", "没", "没有", "别", "无", "并非", "不是", "不太", "不够")
_DEGREES = {
    "很": 1.3,
    "非常": 1.6,
    "太": 1.4,
    "超": 1.4,
    "特别": 1.5,
    "极其": 1.7,
    "十分": 1.5,
    "有点": 0.7,
    "比较": 0.8,
}

_WEIGHTS = {**dict.fromkeys(_GOOD, 1.0), **dict.fromkeys(_BAD, -1.0)}
_WORDS = re.compile("|".join(sorted((re.escape(word) for word in _WEIGHTS), key=len, reverse=True)))
_REACH = 3
"""How many characters before a word a negation or a degree may stand."""
_SOFTENING = 4.0
"""Sum of weights s becomes s / sqrt(s^2 + 4): two clear words give 0.7."""


def chinese_polarity(text: str) -> float:
    """Return the polarity of a Chinese text, -1 to 1; 0 when no known word is in it."""
    total = 0.0
    for match in _WORDS.finditer(text):
        weight = _WEIGHTS[match.group()]
        before = text[max(0, match.start() - _REACH) : match.start()]
        if before.endswith(_NEGATIONS) or any(before.endswith(no + word) for no in ("不", "没") for word in _DEGREES):
            weight *= -0.8
        weight *= next((factor for word, factor in _DEGREES.items() if before.endswith(word)), 1.0)
        total += weight
    return float(total / (total * total + _SOFTENING) ** 0.5)
