"""What places are called in the simulated city: Chinese first, as on the street sign, English behind it."""

from __future__ import annotations

from typing import NamedTuple


class Stem(NamedTuple):
    """First part of a road's name, as ``人民`` and ``Renmin``."""

    zh: str
    en: str


_STEMS = (
    "人民 Renmin,解放 Jiefang,建设 Jianshe,和平 Heping,新华 Xinhua,文化 Wenhua,滨河 Binhe,朝阳 Chaoyang,光明 Guangming,"
    "友谊 Youyi,胜利 Shengli,团结 Tuanjie,幸福 Xingfu,平安 Pingan,工农 Gongnong,青年 Qingnian,学府 Xuefu,站前 Zhanqian,"
    "科技 Keji,创新 Chuangxin,金水 Jinshui,玉泉 Yuquan,凤凰 Fenghuang,龙泉 Longquan,梅园 Meiyuan,桂花 Guihua,"
    "松涛 Songtao,竹林 Zhulin,荷塘 Hetang,柳湖 Liuhu,枫林 Fenglin,银杏 Yinxing,海棠 Haitang,石桥 Shiqiao,"
    "双塔 Shuangta,古城 Gucheng,望江 Wangjiang,听涛 Tingtao,迎宾 Yingbin,兴业 Xingye,安居 Anju,长乐 Changle"
)
STEMS = tuple(Stem(*pair.split(" ")) for pair in _STEMS.split(","))
DISTRICTS = ("鼓楼区 Gulou", "临湖区 Linhu", "东山区 Dongshan", "新港区 Xingang")
STREETS = (
    "梅园街道 Meiyuan",
    "石桥街道 Shiqiao",
    "双塔街道 Shuangta",
    "柳湖街道 Liuhu",
    "枫林街道 Fenglin",
    "望江街道 Wangjiang",
)
PLAZA = "人民广场 Renmin Square"
LIGHTING = "城市照明管理处 City Lighting Office"
DRAINAGE = "城市排水管理处 City Drainage Office"
HAULAGE = "渣土运输管理处 Muck Haulage Office"
_RANKS = {"main": ("大道", "Avenue"), "secondary": ("路", "Road"), "branch": ("街", "Street")}
_PARTS = {
    "ew": (("西", "West"), ("中", "Middle"), ("东", "East")),
    "ns": (("南", "South"), ("中", "Middle"), ("北", "North")),
}


def road_name(line: int, rank: str, part: int, parts: int, *, heading: str) -> str:
    """Return the name of one section of a road line.

    Args:
        line: number of the line; lines beyond the known stems get a second round with an ordinal.
        rank: ``main``, ``secondary`` or ``branch``.
        part, parts: which section, counted from west or south, of how many.
        heading: ``ew`` or ``ns``.
    """
    stem, again = STEMS[line % len(STEMS)], line // len(STEMS)
    zh, en = (stem.zh + _ordinal_zh(again + 1), f"{stem.en} {again + 1}") if again else (stem.zh, stem.en)
    word_zh, word_en = _RANKS[rank]
    if parts == 1:
        return f"{zh}{word_zh} {en} {word_en}"
    if parts > 3:
        return f"{zh}{word_zh}{_ordinal_zh(part + 1)}段 {en} {word_en} Section {part + 1}"
    which = _PARTS[heading][part if parts == 3 else 2 * part]
    if rank == "main":
        return f"{zh}{word_zh}{which[0]}段 {en} {word_en} {which[1]}"
    return f"{zh}{which[0]}{word_zh} {en} {which[1]} {word_en}"


def plate(number: int) -> str:
    """Return a number plate of the simulated city."""
    return f"临A·D{number:04d}"


def _ordinal_zh(number: int) -> str:
    digits = "零一二三四五六七八九"
    if number < 10:
        return digits[number]
    if number < 20:
        return "十" + (digits[number - 10] if number > 10 else "")
    if number < 100:
        return digits[number // 10] + "十" + (digits[number % 10] if number % 10 else "")
    return str(number)
