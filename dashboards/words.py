"""The words on the boards, in English and Chinese; a board is built in one of them."""

from __future__ import annotations

from devices.kinds import Field, Kind

LANGUAGES = ("en", "zh")

WORDS = {
    "active": ("Active alerts", "活动告警"),
    "active_by_rule": ("Alerts by rule", "各规则告警"),
    "alert_map": ("Where alerts are active", "活动告警位置"),
    "alert_table": ("Which alerts are active", "活动告警列表"),
    "alerts": ("Alerts", "告警"),
    "all": ("All", "全部"),
    "batch": ("Readings judged a step", "每步判定读数"),
    "boards": ("Lamplighter boards", "点灯人看板"),
    "budget": ("Incidents and alarm budget", "事件与告警负荷"),
    "cabinet": ("Cabinet or station", "配电箱或泵站"),
    "coverage": ("Coverage", "覆盖率"),
    "device": ("Device", "设备"),
    "district": ("District", "区"),
    "duplicate": ("Duplicate", "重复"),
    "duplicates": ("Duplicates dropped", "重复读数"),
    "eemua": (
        "EEMUA 191: one alarm in ten minutes is manageable; ten are a flood",
        "EEMUA 191：每 10 分钟 1 条可长期承受，10 条为告警洪水",
    ),
    "entity": ("Facility", "设施"),
    "expected": ("Expected lit", "应亮"),
    "explained": ("Alerts that others explain", "已归因告警"),
    "find": ("Find device", "查找设备"),
    "flood_share": ("Time in alarm floods within 24 h", "24 小时内洪水时间占比"),
    "grid": ("Grid cell", "网格"),
    "highest": ("highest", "最高"),
    "house": ("Watching the watcher", "监视者自检"),
    "imbalance": ("Ledger imbalance (must be 0)", "账目差额（应为 0）"),
    "in": ("Readings received a second", "每秒接收读数"),
    "incidents": ("Open incidents", "未解除事件"),
    "journal": ("Journal on disk", "磁盘日志"),
    "kind": ("Kind", "类别"),
    "known": ("Known", "已知"),
    "lag": ("Lag from reading to judgement", "读数到判定的延迟"),
    "ledger": (
        "Ledger: received = stored + quarantined + duplicate + pending",
        "账目：接收 = 已存 + 隔离 + 重复 + 待处理",
    ),
    "lighting": ("Lighting rate", "亮灯率"),
    "lighting_city": ("Lighting rate of the city", "全市亮灯率"),
    "lighting_table": ("Lighting rate now, lowest first", "当前亮灯率（低→高）"),
    "lighting_trend": ("Lighting rate by district", "各区亮灯率"),
    "lit": ("Lit", "已亮"),
    "lowest": ("lowest", "最低"),
    "memory": ("Memory of the process", "进程内存"),
    "name": ("Name", "名称"),
    "of_one": ("One device", "单个设备"),
    "outbox": ("Notices waiting in the outbox", "待发通知"),
    "own_alerts": ("Alarms about Lamplighter itself", "点灯人自身告警"),
    "pending": ("Pending: in the journal, not yet stored", "待处理：已入日志、未入库"),
    "pending_short": ("Pending", "待处理"),
    "quarantine": ("Quarantined", "已隔离"),
    "quarantined": ("Put in quarantine", "隔离读数"),
    "rate": ("Rate", "亮灯率"),
    "rate_high": ("Upper bound", "上限"),
    "rate_low": ("Lower bound", "下限"),
    "received": ("Received", "接收"),
    "road": ("Road", "道路"),
    "rule": ("Rule", "规则"),
    "scope": ("Lighting rate by", "亮灯率统计口径"),
    "severity": ("Severity", "等级"),
    "stale": ("Alerts open for longer than 24 h", "超过 24 小时未解除"),
    "states": ("States", "状态"),
    "stored": ("Stored", "已存"),
    "told_10": ("Told within 10 minutes, busiest receiver", "近 10 分钟通知（最忙接收人）"),
    "told_hour": ("Told an hour, busiest receiver", "每小时通知（最忙接收人）"),
    "track": ("Track", "轨迹"),
}
_YES_NO = {"en": ("yes", "no"), "zh": ("是", "否")}
_JOIN = {"en": ", ", "zh": "、"}


class Words:
    """One language's words; ``words("lag")`` gives the text."""

    def __init__(self, language: str) -> None:
        if language not in LANGUAGES:
            raise ValueError(f"expected a language of {', '.join(LANGUAGES)}; found '{language}'")
        self.language = language
        self.number = LANGUAGES.index(language)

    def __call__(self, key: str) -> str:
        """Return the text under ``key``."""
        return WORDS[key][self.number]

    def of(self, thing: Kind | Field) -> str:
        """Return what people call a kind or a field."""
        return thing.en if self.language == "en" else thing.zh

    def yes_no(self) -> tuple[str, str]:
        """Return the words for 1 and 0."""
        return _YES_NO[self.language]

    def join(self, parts: list[str]) -> str:
        """Return a list as a person writes it."""
        return _JOIN[self.language].join(parts)
