"""The report card's page in Chinese: every text of it, by its English."""

from __future__ import annotations

HEAD_ZH = """# 规则成绩单

由 `lamplighter rules score` 生成；同样的数据见 [report-card.json](report-card.json)。
全部随附规则在虚拟时间中经真实引擎与根因环节，
在真值已知的模拟城市上逐一评分。规则只在种子 A（1000 起）上调整，成绩取自种子 B（2000 起）。
[English](report-card.md)"""

AFTER_ZH = """## 计分方法

- **告警与故障对应**：该规则可以说这类故障（见其注入器的列表，或规则自己的 `finds`）；
  两者涉及同一设备（告警对象就是故障对象，
  或包含它，或为其一部分）；且告警时间在故障期间或其后的宽限内：规则自身的等待时间加两个上报周期，
  `config/floors.yaml` 另有规定者除外。
  一条告警可以对应多个故障。
- **检出率**：只计在场景结束前必须说出、且至少有一条读数显示的故障；其中由自身或其上级故障得到通知的为检出。
  加号后为没有读数显示
  或尚未到期的故障。置信区间整体高于下限为**已证实**，整体低于下限为**不成立**，跨越下限为**未定**：故障太少，
  两种可能都有。
- **精确率**：只计已通知的告警。被其他告警解释的（根因环节）不计对错。由干扰项引起的、或该规则不应说此类故障的，
  计为误报。
  场景中的故障远比城市密集，城市中的精确率因此更低；可以外推的是误报率。
- **设备日**：设备至少上报一次的一天。区间均为 95% 精确区间：误报率用 Garwood 法，比例用 Clopper-Pearson 法。
- **延迟**：从第一条显示故障的读数到告警；旁边一列从故障真正开始算起。事件等待根因时，班组最多晚三分钟得知。
  简单条件规则的限值为 `for` 加两个上报周期；需积累夜间、周期或行程的规则不设限值。
- **每故障事件数**：告警归并为事件，每个事件派一次班组；此处为有告警的故障平均对应的事件数，受下限约束。
  **每故障告警数**
  为其中的告警数，不含被解释的；每条告警只归一个故障。**重叠度**：故障与首条告警同时成立的时间，
  占任一成立时间的比例（中位数）。
- 不使用“点调整”或窗口化计分：它们会给随机告警加分。"""

ZH = {
    "At a glance": "概览", "floor": "限值", "found (95 % interval)": "实测（95% 区间）",
    "{} of {} kinds": "{} / {} 类", "{} of {} rules": "{} / {} 条规则", "{} of {}": "{} / {}",
    "{} kinds proved, {} refuted, {} open": "{} 类已证实，{} 类不成立，{} 类未定",
    "recall, each kind of fault": "检出率（每类故障）", "the same, beyond chance": "同上，排除偶然",
    "recall, all faults together": "检出率（全部故障）",
    "precision, each rule that spoke": "精确率（每条有告警的规则）",
    "precision, all alerts together": "精确率（全部告警）",
    "false alarms in 10,000 device-days": "每万设备日误报", "false in 10,000 device-days": "每万设备日误报",
    "incidents a fault that was told": "每个已通知故障的事件数",
    "delay of immediate rules, 95 %": "即时规则延迟（95%）",
    "`for` + 2 reports": "`for` 加两个上报周期",
    "Below the floor": "未达标", "what": "对象", "figure": "指标", "found": "实测", "reason": "原因",
    "Nothing that so small a card can show: missed is what lies beyond its floor with the whole interval.":
        "样本较小，未见可证实的不达标项：只有区间整体越过限值才算不达标。",
    "Nothing: every rule and every kind of fault reaches its floor.": "无：每条规则、每类故障均达标。",
    "**no reason is written down**": "**尚无说明**",
    "kind": "故障", "rule": "规则", "all rules": "全部规则",
    "recall": "检出率", "precision": "精确率", "fragmentation": "每故障事件数", "delay": "延迟",
    "Too few faults to prove it": "故障太少、尚不能证实的类别",
    "Of no kind: each recall lies above its floor, or below it, with its whole interval.":
        "无：每类检出率的区间都整体高于或低于限值。",
    "{} of {} kinds: so few faults leave a recall on both sides of {} possible. With none missed it takes {}.":
        "{} / {} 类：故障数太少，检出率在 {} 两侧都有可能。若无一漏报，需要 {} 个故障。",
    "None had to be said of:": "没有必须说出的故障：",
    "Recall and precision by kind of fault": "各类故障的检出率与精确率", "Delays": "延迟", "False alarms": "误报",
    "By family": "按设施类别", "family": "类别", "device-days": "设备日", "faults": "故障数",
    "incidents a fault": "每故障事件数", "alerts a fault": "每故障告警数",
    "streetlights": "路灯", "drainage and pumps": "排水泵站", "slow seepage": "缓慢渗入", "manholes": "井盖",
    "muck trucks": "渣土车",
    "between devices and house": "设备与系统之间", "**all**": "**合计**",
    "By kind of fault": "按故障类别", "kind of fault": "故障类别", "must be said by": "应由何规则说出",
    "precision of that rule": "该规则精确率", "proof": "结论",
    "proved": "已证实", "refuted": "不成立", "open": "未定",
    "delay 50 % / 95 % / most": "延迟 50% / 95% / 最长", "limit": "限值", "95 % since it began": "自开始起 95%",
    "overlap": "重叠度",
    "By rule": "按规则", "alerts": "告警数", "true": "属实", "explained by others": "被其他告警解释",
    "Said nothing:": "未发告警：",
    "False alarms, by what was there": "误报时现场有什么", "what was there at the time": "当时现场",
    "There were none.": "无。", "confounder": "干扰项", "fault": "故障", "nothing": "什么也没有",
    "Faults that nobody was told of": "无人得知的故障", "such as": "例如",
    "Beside naive and random alerts": "与朴素规则、随机告警比较", "the rules": "本规则", "naive": "朴素",
    "random": "随机",
    "The same courses, the first of each family: the rules; naive ones, each threshold by itself without waiting, "
    "hysteresis, samples, guards or root cause (`config/naive_rules.yaml`); and as many alerts as the rules told, "
    "on devices and at times drawn by lot.":
        "同样的场景（每类第一个）：本规则；朴素规则，即各阈值单独判断，无等待、回差、次数、防护条件与根因"
        "（`config/naive_rules.yaml`）；以及数量相同、设备与时间随机抽取的告警。",
    "Rules that cannot do without their patience stand as they are:": "离不开等待的规则保持原样：",
    "What was played": "场景规模", "courses": "场景数", "seeds": "种子", "devices": "设备数", "days": "天数",
    "readings": "读数", "making them, CPU": "生成 CPU", "judging them, CPU": "判定 CPU",
    "full": "完整", "medium": "中等", "small": "小型", "speed": "测速",
    "Seeds {}, {} card, {} rules (`{}`), {} s with {} at a time on {}.":
        "种子 {}，{}成绩单，{} 条规则（`{}`），耗时 {} 秒，{} 个并行，机器：{}。",
    "Against other rules": "与另一套规则比较",
    "Beside `{}`, {} rules (`{}`), on the very same courses: {} rules differ, and {} kinds of faults.":
        "与 `{}`（{} 条规则，`{}`）在完全相同的场景上比较：{} 条规则、{} 类故障有差别。",
    "true alerts": "属实告警", "false alarms": "误报", "found now": "新检出", "lost": "不再检出", "sooner": "提前",
    "later": "推迟", "new": "新增", "gone": "移除", "changed": "修改", "as before": "未改",
    "recall before": "原检出率", "now": "现在", "delay 95 % before": "原延迟 95%", "incidents before": "原每故障事件数",
}  # fmt: skip
