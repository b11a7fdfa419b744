// The words of incidents, flags, silences, duty and the alarm budget, in both languages; words.ts takes them in.
export const phrases = {
  zh: {
    incident: '事件', crew: '班组', devices: '处设施', alerts_count: '条告警', explained: '条已归因', explained_these: '由上述原因引起,不单独通知:', not_shown: '条未显示',
    cause_common_cause: '共同原因', cause_breaker: '断路器跳闸', cause_supply: '供电中断', cause_contactor: '接触器断开', cause_cable: '支路跳闸或电缆被盗', cause_cable_cut: '电缆断开', cause_phase_loss: '缺相', cause_communications: '通信中断', cause_dark: '成片灭灯',
    latched: '锁定', suppressed: '已归因', shelved: '已搁置', silenced: '已静默', out_of_service: '检修停用', flapping: '抖动', stale_held: '数据陈旧', until: '至',
    aside: '搁置、静默与检修中', more_acts: '更多操作', shelve: '搁置', unshelve: '取消搁置', reset: '复位', silence_like: '静默同类',
    hours_1: '1 小时', hours_4: '4 小时', hours_8: '8 小时', hours_24_long: '24 小时', days_3: '3 天', days_7: '7 天', how_long: '时长', why: '原因(必填)', why_optional: '说明(可不填)', reset_why: '现场情况(可不填)',
    quiets: '值班与静默', quiets_note: '静默与检修窗口只暂停通知,判定照常;结束时仍未解除的告警会补发通知。', quiet_new: '新建', silence: '静默', maintenance: '检修窗口',
    matchers: '匹配条件', matchers_more: '更多条件', rule: '规则', entity: '对象', kind: '类别', severity: '等级', wildcards: '可用 * 和 ?', begins: '开始(空为立即)', would_hide: '现会覆盖未解除告警', quiet_save: '生效', quiets_none: '没有静默或检修窗口',
    holds: '生效中', will_hold: '未开始', end_now: '结束', by: '操作人', on_duty: '当前值班', duty_none: '未设置值班表', nobody: '无人值班', fallback: '替补', gap: '无人时段', profiles: '预案与气象预警', warning: '预警等级',
    warning_none: '无', warning_blue: '蓝色', warning_yellow: '黄色', warning_orange: '橙色', warning_red: '红色', profile_on: '生效', profile_off: '未生效', profiles_none: '未设置预案', switch_to: '切换为',
    budget: '告警负荷', budget_short: '近 10 分钟通知', budget_note: 'EEMUA 191:每位操作员长期每 10 分钟 1 条;10 分钟 10 条即为告警洪水。', flood: '告警洪水', over_budget: '超过 1 条', within_budget: '正常', receiver: '接收人', last_10: '近 10 分钟', per_hour: '每小时(上限 6)', peak_10: '最差 10 分钟', flood_share: '洪水时间(应<1%)',
    split: '按级别(紧急与重要宜约占 5% 与 15%)', worst: '通知最多的告警', worst_share: '占全部', times: '次', chattering: '频繁抖动(一分钟内 3 次以上)', standing: '未解除', stale: '超过 24 小时', nobody_told: '该时段没有通知', all_told: '共通知',
  },
  en: {
    incident: 'Incident', crew: 'crew', devices: 'devices', alerts_count: 'alerts', explained: 'explained', explained_these: 'Explained by the above, nobody is told of them:', not_shown: 'not shown',
    cause_common_cause: 'Common cause', cause_breaker: 'Breaker tripped', cause_supply: 'Supply lost', cause_contactor: 'Contactor open', cause_cable: 'Circuit tripped or cable stolen', cause_cable_cut: 'Cable cut', cause_phase_loss: 'One phase lost', cause_communications: 'Communications lost', cause_dark: 'Lamps dark together',
    latched: 'Latched', suppressed: 'Explained', shelved: 'Shelved', silenced: 'Silenced', out_of_service: 'Out of service', flapping: 'Flapping', stale_held: 'Old data', until: 'until',
    aside: 'Shelved, silenced, out of service', more_acts: 'More actions', shelve: 'Shelve', unshelve: 'Take out', reset: 'Reset', silence_like: 'Silence like this',
    hours_1: '1 h', hours_4: '4 h', hours_8: '8 h', hours_24_long: '24 h', days_3: '3 days', days_7: '7 days', how_long: 'How long', why: 'Why', why_optional: 'Why (optional)', reset_why: 'What you found (optional)',
    quiets: 'Duty and silences', quiets_note: 'Silences and maintenance windows stop notices, not judging; what is open still when they end is told then.', quiet_new: 'New', silence: 'Silence', maintenance: 'Maintenance window',
    matchers: 'Matches', matchers_more: 'More conditions', rule: 'Rule', entity: 'About', kind: 'Kind', severity: 'Severity', wildcards: '* and ? stand for anything', begins: 'Begins (empty: now)', would_hide: 'Open alerts it would mean now', quiet_save: 'Put in force', quiets_none: 'No silence, no maintenance window',
    holds: 'Holds', will_hold: 'Not yet', end_now: 'End', by: 'By', on_duty: 'On duty now', duty_none: 'No roster is set', nobody: 'Nobody', fallback: 'fallback', gap: 'nobody from', profiles: 'Profiles and weather warning', warning: 'Warning level',
    warning_none: 'None', warning_blue: 'Blue', warning_yellow: 'Yellow', warning_orange: 'Orange', warning_red: 'Red', profile_on: 'in force', profile_off: 'not in force', profiles_none: 'No profile is set', switch_to: 'Switch to',
    budget: 'Alarm budget', budget_short: 'told in 10 min', budget_note: 'EEMUA 191: an operator bears one alarm in ten minutes for long; ten in ten minutes are a flood.', flood: 'Flood', over_budget: 'Above one', within_budget: 'Fine', receiver: 'Receiver', last_10: 'Last 10 min', per_hour: 'An hour (6 at most)', peak_10: 'Worst 10 min', flood_share: 'Time in flood (below 1%)',
    split: 'By severity (about 5% and 15% should be the gravest two)', worst: 'Told most often', worst_share: 'of all', times: 'times', chattering: 'Chattering (3 changes within a minute)', standing: 'Open', stale: 'for longer than 24 h', nobody_told: 'Nobody was told anything in this time', all_told: 'told in all',
  },
} as const
