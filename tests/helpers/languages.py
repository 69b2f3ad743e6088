"""Texts in twenty-two languages: words of each, between numbers, emoji, addresses and marks of direction."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import strategies as st

SETS = Path(__file__).parents[2] / "examples" / "languages"
"""Sets of thirty questions, written for llmkit, with a right reply to each in its language."""

FIRST = {
    "ar": "اشترت مريم تفاحة حمراء من السوق لأنها أرخص مُعَلِّم خمس ١٢",
    "de": "Maria kauft schöne rote Äpfel weil sie günstiger sind drei vierundzwanzig Straße",
    "hi": "राम ने बाज़ार से लाल सेब खरीदे क्योंकि वे सस्ते थे तीन १२ विद्यार्थी",
    "ja": "太郎は市場で赤いりんごを三つ買いました。 全部でいくつありますか カタカナ",
    "ko": "민수는 시장에서 빨간 사과를 샀습니다 왜냐하면 열두 세 값이",
    "ru": "Мария купила красные яблоки потому что они дешевле ещё двенадцать",
    "th": "สมชายซื้อแอปเปิ้ลสีแดงที่ตลาด เพราะว่าถูกกว่า สามผล ๕",
    "zh": "小明在市场上买了二百四十个苹果，因为比较便宜。 现在一共有几个 图书馆早上开门",
}
TWENTY = FIRST | {
    "am": "ማርያም ቀይ ፖም ገዛች ምክንያቱም ርካሽ",
    "bn": "মারিয়া বাজার থেকে লাল আপেল কিনল কারণ তারা সস্তা ১২ শিক্ষার্থী",
    "el": "Η Μαρία αγόρασε κόκκινα μήλα γιατί είναι φθηνότερα τρία",
    "es": "María compró manzanas rojas porque son más baratas señor tres docena",
    "fa": "مریم سیب‌های قرمز خرید چون ارزان‌تر بودند می‌خواهم ۱۲",
    "he": "מרים קנתה תפוחים אדומים בשוק כי הם זולים יותר שָׁלוֹם",
    "hy": "Մարիամը գնեց կարմիր խնձորներ որովհետև էժան են",
    "ka": "მარიამმა იყიდა წითელი ვაშლი რადგან იაფია",
    "ta": "மரியா சிவப்பு ஆப்பிள்களை வாங்கினாள் ஏனெனில் அவை மலிவானவை",
    "te": "మరియా ఎర్రటి ఆపిల్స్ కొన్నది ఎందుకంటే అవి చవకగా ఉన్నాయి",
    "tr": "Işıl pazardan kırmızı elma aldı çünkü İstanbul'da ucuzdu üç",
    "uk": "Марія купила червоні яблука бо вони дешевші їх п'ять",
    "vi": "Maria mua táo đỏ ở chợ vì chúng rẻ hơn người Việt",
    "pl": "Maria kupiła czerwone jabłka ponieważ są tańsze źdźbło trzy",
}
_OTHERS = [
    "12", "7.5", "$1,250", "१२", "٣٤", "👩‍👩‍👧", "👍🏽", "🇩🇪", "https://a.example/b?c=1", "{name}", "iPhone", "Вook",
    "\u200fab\u200f",
]  # fmt: skip
_SPACES = [" ", " ", " ", "\n", "\u00a0"]


def texts(code: str) -> st.SearchStrategy[str]:
    """Draws texts of a language's words, with other things between them now and then."""
    words = TWENTY[code].split()
    pieces = st.one_of(*[st.sampled_from(words)] * 4, st.sampled_from(_OTHERS))
    pairs = st.lists(st.tuples(pieces, st.sampled_from(_SPACES)), min_size=1, max_size=14)
    return pairs.map(lambda drawn: "".join(piece + space for piece, space in drawn))


def rows(code: str) -> list[dict[str, str]]:
    """Returns the thirty rows of a set."""
    return [json.loads(line) for line in (SETS / f"{code}.jsonl").read_text(encoding="utf-8").splitlines()]
