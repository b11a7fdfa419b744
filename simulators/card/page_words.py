"""The words of the report card's page, in English and in Chinese: one page, two languages, the same figures."""

from __future__ import annotations

import re

from simulators.card.page_zh import AFTER_ZH, HEAD_ZH, ZH
from simulators.card.report import Report

HEAD = """# Report card of the rules

Written by `lamplighter rules score`; the same figures stand in [report-card.json](report-card.json). Every rule that is
shipped is played, in virtual time, through the real engine and its root-cause stage, over simulated cities with faults
whose truth is known. Rules are tuned on seeds A (1000 and on); what is reported comes from seeds B (2000 and on).
[中文](report-card.zh.md)"""

AFTER = """## How it is counted

- **An alert is about a fault** when its rule may say that kind of fault (the list of its injector, or the rule's own
  `finds`), when both touch a device in common (the alert names the fault's entity, what it is part of, or a part of
  it), and when it is told while the fault lasts or within a grace after it: the rule's own waiting time and two report
  intervals, unless `config/floors.yaml` gives another. One alert may be about several faults.
- **Recall** counts faults that had to be said before their course ended and that at least one reading shows, and of
  those the ones with a notified alert, of their own or of the fault that they are part of. Behind a plus sign stand
  those that no reading shows or that had time left. A recall is **proved** where its whole interval lies above the
  floor, **refuted** where it lies below, and **open** between: so few faults could have turned out so either way.
- **Precision** counts notified alerts. An alert that another explains (the root-cause stage) is neither right nor
  wrong. An alert beside a confounder, or of a rule that must not say the fault at hand, is false. Courses are much
  richer in faults than a city, so precision in a city is lower: the rate of false alarms is the figure that carries
  over.
- **A device-day** is a day of a course on which the device reported. Intervals are exact at 95 %: Garwood's for rates,
  Clopper and Pearson's for shares.
- **Delay** runs from the first reading that shows the fault to the alert; the column beside it from the fault's true
  beginning. A crew may hear up to three minutes later, where an incident waits for what may explain it. Rules with a
  plain condition are held to `for` plus two of their devices' report intervals; those that gather nights, cycles or
  trips are not.
- **Incidents a fault**: alerts are gathered into incidents, for each of which a crew is called; this counts the
  incidents of one fault, over the faults that have any, and is held to its floor. **Alerts a fault** counts the alerts
  in them, without those that another explains; each alert is counted for one fault only. **Overlap** is the time in
  which fault and first alert both held, over the time in which either did (median).
- Neither point-adjusted nor windowed scores are used: they reward alerts at random."""


class Words:
    """The page's words in one language.

    Args:
        language: ``en`` or ``zh``. Reasons of exceptions, and names of rules and kinds, stay as they are written.
    """

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, text: str) -> str:
        """Return an English text of the page in this language."""
        return text if self.language == "en" else ZH[text]

    @property
    def head(self) -> str:
        """Return what stands above everything."""
        return HEAD if self.language == "en" else _unbroken(HEAD_ZH)

    @property
    def after(self) -> str:
        """Return how it is counted."""
        return AFTER if self.language == "en" else _unbroken(AFTER_ZH)


def _unbroken(text: str) -> str:
    """Return Chinese text without line breaks within a sentence, which would be shown as spaces."""
    return re.sub(r"(?<=[^\x00-\x7f])\n *(?=[^\s#\[-])", "", text)


def summary_zh(report: Report) -> str:
    """Return a short summary in Chinese."""
    card, floors = report.card, report.floors
    total = card.total
    judged = [one for one in card.kinds if one.recall.of]
    reached = sum((one.recall.share or 0.0) >= floors["recall"] for one in judged)
    rate = total.false_alarms
    told = (
        "–"
        if rate.rate is None or rate.high is None
        else f"{rate.rate:.2f}（95% 区间 {rate.low:.2f}～{rate.high:.2f}）"
    )
    open_ones = sum(not one.allowed for one in card.misses)
    clean = "全部达标。" if report.made.plan == "full" else "样本较小，未见可证实的不达标项。"
    below = clean if not card.misses else f"未达标 {len(card.misses)} 项，其中 {open_ones} 项尚无说明，见下表。"
    return (
        f"> **摘要**：全部规则在虚拟时间中对已知真值的模拟故障逐一评分（种子 {report.made.seeds}）。"
        f"{len(judged)} 类故障中 {reached} 类检出率达到 {floors['recall']:.0%}；"
        f"总检出率 {_percent(total.recall.share)}，"
        f"总精确率 {_percent(total.precision.share)}；每万设备日误报 {told}，限值 {floors['false_alarms']:g}。{below}"
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
